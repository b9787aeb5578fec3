/** Answers in the making: made here, or followed. */

import { Refused } from "./refused.js";
import { isPassing } from "./saving.js";
import type { Events, RunningTurn, Turns } from "./surface.js";
import type { Environment, Json, Look, Transport } from "./types.js";

/** What turns need of their session. */
export interface TurnParts {
  environment: Environment;
  transport: Transport;
  id(): string;
  /** What is waiting is saved before a turn begins, so that a question stands before its answer. */
  _before(): Promise<void>;
  /** The state has changed by a turn's end. */
  _after(): Promise<unknown>;
  _emit(event: "turn", detail: Events["turn"]): void;
}

const FLUSH_AFTER = 1_000; // ms
const FLUSH_AT = 4_096; // characters
const STOP = new Refused("stopped");

/** The turns of a session. */
export function turnsOf({ environment, transport, id, _before: before, _after: after, _emit: emit }: TurnParts): Turns {
  const { clock, page } = environment;
  let current: string | undefined;

  const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => void clock.after(milliseconds, resolve));

  /** Asks until answered: none of a turn's calls does harm twice. For a good token it waits so many ms. */
  const insist = async <T>(call: () => Promise<T>, patience = 0): Promise<T> => {
    const end = clock.now() + patience;
    for (let wait = 250; ; wait = Math.min(wait * 2, 5_000)) {
      try {
        return await call();
      } catch (error) {
        const refused = error as Refused;
        if (!isPassing(refused) || (refused.status === 401 && clock.now() >= end)) throw error;
        await pause(refused.retryAfter ?? wait);
      }
    }
  };

  /** The turn is over, whatever becomes of the look for its message. */
  const settled = (): Promise<unknown> => insist(after).catch(() => {});

  const run = (turn: string, seq: number, lease: number): RunningTurn => {
    const over = new AbortController();
    const of = { session_id: id(), turn_id: turn };
    let waiting: Json[] = [];
    let size = 0;
    let cancel = (): void => {};
    let flushed = Promise.resolve();

    const arm = (milliseconds: number): void => {
      cancel();
      cancel = clock.after(milliseconds, () => void flush());
    };

    /** Not ours any more; one that somebody asked to stop still is. */
    const isOver = (): boolean => over.signal.aborted && over.signal.reason !== STOP;

    /** Sends what there is, one flush after the other; without any it renews the lease. */
    const flush = (isLast = false): Promise<void> =>
      (flushed = flushed
        .then(async () => {
          if (isOver()) return;
          const chunks = waiting;
          waiting = [];
          size = 0;
          const { next_seq, stop } = await insist(() => transport.call("chunks", { ...of, from_seq: seq, chunks }), lease * 1_000);
          seq = next_seq;
          emit("turn", { turn, seq: seq - 1 });
          if (stop) over.abort(STOP);
          if (!isLast) arm(size ? FLUSH_AFTER : lease * 333);
        })
        .catch((error: unknown) => over.abort(error)));
    arm(lease * 333);

    return {
      id: turn,
      signal: over.signal,
      write(chunk) {
        const end = waiting.at(-1);
        if (typeof chunk === "string" && typeof end === "string") waiting[waiting.length - 1] = end + chunk;
        else waiting.push(chunk);
        if (!size) arm(FLUSH_AFTER);
        size += JSON.stringify(chunk).length + 4; // so that there are never over 1,000 chunks
        if (size > FLUSH_AT) void flush();
      },
      async finish(options = {}) {
        await flush(true);
        cancel();
        if (isOver()) throw over.signal.reason;
        // the same however often it is asked for
        const end = { ...of, status: over.signal.aborted ? "stopped" : "done", ...options } as const;
        await insist(() => transport.call("finish", end), lease * 1_000);
        over.abort();
        emit("turn", { turn, seq: seq - 1 });
        await settled();
      },
    };
  };

  return {
    async start({ id: turn_id = environment.uuid(), message, lease = 30, join = false } = {}) {
      await before();
      const args = { session_id: id(), turn_id, lease_seconds: lease, on_running: join ? "join" : "refuse" } as const;
      const begun = await insist(() => transport.call("begin", message ? { ...args, message } : args));
      current = begun.id;
      emit("turn", { turn: current, seq: begun.next_seq - 1 });
      return run(current, begun.next_seq, lease);
    },
    async stop(turn = current) {
      if (turn) await transport.call("stop", { session_id: id(), turn_id: turn });
    },
    async *follow(which, { after: seq = 0, signal = new AbortController().signal } = {}) {
      const turn = which ?? (await insist(() => transport.call("latest", { session_id: id(), after: seq })))?.id;
      if (!turn) return;
      const look = (): Promise<Look> => transport.call("turn", { session_id: id(), turn_id: turn, after: seq });
      current = turn;
      let text = "";
      let status: Look["status"] = "running";
      let isLook = !transport.stream; // a stream that ends before the turn is followed by a look
      while (status === "running" && !signal.aborted) {
        try {
          const looks = isLook ? [await look()] : transport.stream!(id(), turn, seq, signal);
          isLook = !isLook || !transport.stream;
          for await (const { chunks, next_seq, more, number, position, ...said } of looks) {
            if (!more) status = said.status;
            if (next_seq - 1 <= seq && status === "running") await pause(page.hidden() ? 2_000 : 250); // nothing new
            else {
              seq = next_seq - 1;
              text += chunks.filter((chunk) => typeof chunk === "string").join("");
              emit("turn", { turn, seq });
              yield { id: turn, seq, chunks, text, status, number, position };
            }
          }
        } catch (error) {
          if (error instanceof Refused && !isPassing(error)) throw error;
          await pause(FLUSH_AFTER); // a line that broke, or a server that is busy
        }
      }
      if (status !== "running") await settled();
    },
  };
}
