/** What an app sees of answers in the making. */

import type { Changes, Json, Look } from "../core/types.js";

/** Answers that are being made, here or elsewhere. */
export interface Turns {
  /** Begins one, after saving. Rejects with turn_running if another is under way, unless `join`. */
  start(options?: TurnOptions): Promise<RunningTurn>;
  /** Asks whoever makes the answer to stop; by default the one that was begun or followed last. */
  stop(turn?: string): Promise<void>;
  /**
   * An answer as it is made, from its beginning (or after a number) to its end, through reloads and bad lines; by default
   * the one that runs, or that began last; nothing if there never was one. First how it is at once, be there a chunk or not.
   */
  follow(turn?: string, options?: { after?: number; signal?: AbortSignal }): AsyncGenerator<TurnProgress, void, void>;
}

export interface TurnOptions {
  /** The turn's id; the same again is the same turn. */
  id?: string;
  /** What a message made of the text chunks has besides its content. By default `{"role": "assistant"}`. */
  message?: Record<string, Json>;
  /** Seconds without a flush after which others take it for interrupted; renewed by itself. By default 30. */
  lease?: number;
  /** Take what is running already for ours, where it is. */
  join?: boolean;
}

/** An answer that is made here. */
export interface RunningTurn {
  readonly id: string;
  /** Aborted when somebody has asked to stop, or when the turn is not ours any more. */
  readonly signal: AbortSignal;
  /** Adds a piece: a text, or any JSON value. Sent after a second or 4 KB. */
  write(chunk: Json): void;
  /** Ends it: saves the message (by default made of the text chunks) and changes with it, all or nothing. */
  finish(options?: { message?: Json; changes?: Changes; status?: "done" | "stopped" | "failed" }): Promise<void>;
}

/** How far an answer has come. */
export interface TurnProgress {
  id: string;
  /** Number of the last chunk. */
  seq: number;
  /** The chunks that are new. */
  chunks: Json[];
  /** All text so far. */
  text: string;
  status: Look["status"];
  /** Once it is over: the number that has the message, and where it stands among the messages. */
  number: number | null;
  position: number | null;
}
