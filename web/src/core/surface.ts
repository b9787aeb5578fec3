/** What an app sees of a session. */

import type { CreatedSession, DifferenceList, SnapshotPage } from "../generated/schemas.js";
import type { PageOf } from "./operations.js";
import type { Doubt } from "./rebase.js";
import type { Refused } from "./refused.js";
import type { Failure, Json, JournalHealth, Pointer, State } from "./types.js";

/** How a session is doing. Another object whenever something in it has changed. */
export interface Status {
  /** Whether a save is on its way. */
  readonly isSaving: boolean;
  /** When the last save was answered, in ms since 1970; null: none yet in this page. */
  readonly lastSaved: number | null;
  /** How many saves were answered in this page. */
  readonly saveCount: number;
  /** What is not on the server yet: addresses, and bytes of JSON. Counted when asked for. */
  readonly waiting: { readonly changes: number; readonly bytes: number };
  /** Why the last request failed; null after one that succeeded. */
  readonly error: Failure | null;
  /** Whether the server can't be reached. */
  readonly offline: boolean;
  /** How the store of this device is, which keeps what is not saved yet: ok, full, or off. */
  readonly journal: JournalHealth;
  /** Whether the server has said what it has, in this page. Before that the state is the local copy. */
  readonly isRestored: boolean;
  /** Whether the state is not all there yet: only the memory and the last messages. */
  readonly isPartial: boolean;
  /** Whether the state was saved by a newer version of the app, which this one may not change. */
  readonly isReadOnly: boolean;
}

/** Everything at one moment. The same object until something changes. */
export interface Snapshot<S> {
  readonly id: string;
  readonly state: S;
  /** Number of the snapshot that the server had when last heard of. */
  readonly number: number;
  readonly status: Status;
}

/** What is told by `session.on(event, …)`. */
export interface Events {
  /** The state is there; from where it came. */
  restored: { from: "copy" | "server" };
  /** A save was answered; the number that the server has by now. */
  saved: { number: number };
  /** Both sides changed the same; mine stands, theirs is in the history. */
  conflict: { doubts: Doubt[] };
  /** The session is gone. What was not saved stays in the journal. */
  expired: { session: string };
  /** The server can't be asked just now; it is tried again. */
  reconnecting: { error: Failure };
  /** It can be asked again. */
  reconnected: object;
  /** A turn began, went on or ended, here or elsewhere. */
  turn: { turn: string; seq: number };
  /** What asking again can't help: a save that was refused, a record that can't be read, a `migrate` that throws. */
  error: { error: unknown };
}

/** Which snapshot: the latest if neither is given. */
export interface Version {
  number?: number;
  label?: string;
}

/** A session as it is restored, changed and saved. `S` is the app's own type of its state. */
export interface Session<S = State> extends Snapshot<S> {
  /**
   * Resolves when the state is there to be changed: the local copy, or else what the server has, all of it. Rejects if
   * there will be none. `isPartial` may be shown before.
   */
  readonly ready: Promise<void>;
  /**
   * Changes the state: `next` makes the new one from the old one, which it must not change in place. It is shown at once,
   * written down, and saved within seconds. Throws if it returns no object.
   */
  update(next: (state: S) => S): void;
  /** Sets the whole state, or what is at a pointer. */
  set(state: S): void;
  set(pointer: Pointer, value: Json): void;
  /** Puts items at the end of a list; makes it if there is none. Never in conflict with others who do the same. */
  append(list: Pointer, items: Json[]): void;
  /** Saves now. Resolves when all so far is on the server; rejects with why it is not (it is tried again anyway). */
  saveNow(): Promise<void>;
  /** Brings an old version to the front, as a new one: nothing is lost. */
  restore(version: Required<Pick<Version, "number">> | Required<Pick<Version, "label">>): Promise<void>;
  /** The state at a number or a label, to be looked at. */
  peek(version?: Version): Promise<S>;
  /** The kept snapshots, newest first. */
  history(page?: PageOf): Promise<SnapshotPage>;
  /** What changed between two numbers: each address with the value before and after. */
  diff(from: number, to: number): Promise<DifferenceList["differences"]>;
  /** Names a number, by default the latest after saving; a named one is never cleaned up. */
  label(label: string, number?: number): Promise<void>;
  /** A new session that begins with a number of this one, by default the latest after saving. */
  fork(options?: { number?: number; name?: string; key?: string }): Promise<CreatedSession>;
  /** Calls back after each change of the snapshot. Returns its undo. */
  subscribe(listener: () => void): () => void;
  /** Everything as it is now: the same object until something changes, as `useSyncExternalStore` wants it. */
  getSnapshot(): Snapshot<S>;
  /** Calls back when something happened. Returns its undo. */
  on<E extends keyof Events>(event: E, listener: (detail: Events[E]) => void): () => void;
  /** Saves what can be saved at once and stops, once. What can't stays in the journal. */
  close(): Promise<void>;
}

/** Whether an error is one of ours. */
export type { Refused };
