/** Answers in the making: made here, or followed. */

import { WAYS } from "../core/https.js";
import { Refused } from "../core/refused.js";
import { isPassing } from "../core/saving.js";
import type { Inner } from "../core/session.js";
import type { Session } from "../core/surface.js";
import type { Json, Look } from "../core/types.js";
import { streamOf } from "./stream.js";
import type { RunningTurn, Turns } from "./surface.js";

const MORE = {
  begin: "POST /sessions/:session_id/turns",
  latest: "GET /sessions/:session_id/turns/latest",
  turn: "GET /sessions/:session_id/turns/:turn_id",
  chunks: "POST /sessions/:session_id/turns/:turn_id/chunks",
  finish: "POST /sessions/:session_id/turns/:turn_id/finish",
  stop: "POST /sessions/:session_id/turns/:turn_id/stop",
};

const FLUSH_AFTER = 1_000; // ms
const FLUSH_AT = 4_096; // characters
const STOP = new Refused("stopped");

const known = new WeakMap<object, Turns>();

/** The turns of a session: asked for again, the same. */
export function turnsOf<S>(session: Session<S>): Turns {
  let turns = known.get(session);
  if (!turns) known.set(session, (turns = make(session as Session<S> & Inner)));
  return turns;
}

function make<S>(session: Session<S> & Inner): Turns {
  const { environment, transport, _look: look, _emit: emit } = session._inner;
  const { clock, page } = environment;
  const stream = streamOf(transport);
  Object.assign(WAYS, MORE);
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
  const settled = (): Promise<unknown> => insist(look).catch(() => {});

  const run = (turn: string, seq: number, lease: number): RunningTurn => {
    const over = new AbortController();
    const of = { session_id: session.id, turn_id: turn };
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
      await session.saveNow(); // so that a question stands before its answer
      const args = { session_id: session.id, turn_id, lease_seconds: lease, on_running: join ? "join" : "refuse" } as const;
      const begun = await insist(() => transport.call("begin", message ? { ...args, message } : args));
      current = begun.id;
      emit("turn", { turn: current, seq: begun.next_seq - 1 });
      return run(current, begun.next_seq, lease);
    },
    async stop(turn = current) {
      if (turn) await transport.call("stop", { session_id: session.id, turn_id: turn });
    },
    async *follow(which, { after: seq = 0, signal = new AbortController().signal } = {}) {
      let first: Look | null = null;
      if (!which) {
        const latest = await insist(() => transport.call("latest", { session_id: session.id, after: seq }));
        if (!latest) return;
        which = latest.id;
        first = latest;
      }
      const turn = which;
      const poll = (): Promise<Look> => transport.call("turn", { session_id: session.id, turn_id: turn, after: seq });
      current = turn;
      let text = "";
      let status: Look["status"] = "running";
      let isKnown = false;
      let isPoll = true; // at first, so that one that is over never looks as if it ran; and after a stream that ends before the turn
      while (status === "running" && !signal.aborted) {
        try {
          const looks = isPoll ? [first ?? (await poll())] : stream!(session.id, turn, seq, signal);
          isPoll = !isPoll || !stream;
          first = null;
          for await (const { chunks, next_seq, more, number, position, ...said } of looks) {
            if (!more) status = said.status;
            if (isKnown && next_seq - 1 <= seq && status === "running") await pause(page.hidden() ? 2_000 : 250); // nothing new
            else {
              isKnown = true;
              seq = next_seq - 1;
              text += chunks.filter((chunk) => typeof chunk === "string").join("");
              yield { id: turn, seq, chunks, text, status, number, position };
              emit("turn", { turn, seq });
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
