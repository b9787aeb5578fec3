/** Answers in the making: made here, or followed. */

import { Refused } from "./refused.js";
import { isPassing } from "./saving.js";
import type { Events, RunningTurn, TurnProgress, Turns } from "./surface.js";
import type { Environment, Json, Transport } from "./types.js";

/** What turns need of their session. */
export interface TurnParts {
  environment: Environment;
  transport: Transport;
  id(): string;
  /** What is waiting is saved before a turn begins, so that a question stands before its answer. */
  before(): Promise<void>;
  /** The state has changed by a turn's end. */
  after(): Promise<void>;
  emit(event: "turn", detail: Events["turn"]): void;
}

const FLUSH_AFTER = 1_000;
const FLUSH_AT = 4_096;

/** The turns of a session. */
export function turnsOf({ environment, transport, id, before, after, emit }: TurnParts): Turns {
  const { clock } = environment;
  let current: string | undefined;

  const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => void clock.after(milliseconds, resolve));

  /** Asks until answered: each of a turn's calls does no harm twice. */
  const insist = async <T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> => {
    for (let wait = 250; ; wait = Math.min(wait * 2, 5_000)) {
      try {
        return await call();
      } catch (error) {
        const refused = error as Refused;
        if (!isPassing(refused) || refused.status === 401 || signal?.aborted) throw error;
        await pause(refused.retryAfter ?? wait);
      }
    }
  };

  const run = (turn: string, from: number, lease: number): RunningTurn => {
    const over = new AbortController();
    let seq = from;
    let waiting: Json[] = [];
    let size = 0;
    let cancel = (): void => {};
    let flushing: Promise<void> = Promise.resolve();

    const of = (): { session_id: string; turn_id: string } => ({ session_id: id(), turn_id: turn });

    /** Sends what is there, one flush after the other. */
    const flush = (all = false): Promise<void> => {
      cancel();
      flushing = flushing.then(async () => {
        if (over.signal.aborted && !all) return;
        const chunks = waiting;
        const end = chunks.at(-1);
        waiting = [];
        // half a character waits for its other half
        if (!all && typeof end === "string" && /[\ud800-\udbff]$/.test(end)) {
          waiting = [end.slice(-1)];
          chunks[chunks.length - 1] = end.slice(0, -1);
        }
        size = 0;
        const { next_seq, stop } = await insist(() => transport.call("chunks", { ...of(), from_seq: seq, chunks }), over.signal);
        seq = next_seq;
        emit("turn", { turn, seq: seq - 1 });
        if (stop) over.abort(new Refused("stopped"));
        later(lease * 333);
      });
      flushing = flushing.catch((error: unknown) => over.abort(error));
      return flushing;
    };
    const later = (milliseconds: number): void => {
      cancel();
      if (!over.signal.aborted) cancel = clock.after(waiting.length ? Math.min(milliseconds, FLUSH_AFTER) : milliseconds, () => void flush());
    };
    later(lease * 333);

    return {
      id: turn,
      signal: over.signal,
      write(chunk) {
        const end = waiting.at(-1);
        if (typeof chunk === "string" && typeof end === "string") waiting[waiting.length - 1] = end + chunk;
        else waiting.push(chunk);
        const isFirst = !size;
        size += typeof chunk === "string" ? chunk.length : JSON.stringify(chunk).length;
        if (size >= FLUSH_AT || waiting.length >= 1_000) void flush();
        else if (isFirst) later(FLUSH_AFTER);
      },
      async finish(options = {}) {
        const status = options.status ?? (over.signal.aborted ? "stopped" : "done");
        await flush(true);
        cancel();
        if (over.signal.aborted && !(over.signal.reason instanceof Refused && over.signal.reason.code === "stopped")) {
          throw over.signal.reason;
        }
        await insist(() => transport.call("finish", { ...of(), ...options, status }));
        over.abort(new Refused("finished"));
        emit("turn", { turn, seq });
        await after().catch(() => {});
      },
    };
  };

  /** The events of a turn as looks at it. */
  async function* looks(turn: string, from: number, signal?: AbortSignal): AsyncGenerator<TurnProgress, void, void> {
    let text = "";
    let seq = from;
    for (;;) {
      let isOver = false;
      const news = async function* (): AsyncGenerator<Omit<TurnProgress, "text" | "id">> {
        if (transport.stream) {
          for await (const event of transport.stream(id(), turn, seq, signal ?? new AbortController().signal)) {
            if (event.kind === "chunk") yield { seq: event.seq, chunks: [event.chunk], status: "running", number: null, position: null };
            else yield { seq, chunks: [], status: event.status as TurnProgress["status"], number: event.number, position: event.position };
          }
          return;
        }
        const { chunks, next_seq, more, status, number, position } = await transport.call("turn", { session_id: id(), turn_id: turn, after: seq });
        yield { seq: next_seq - 1, chunks, status: more ? "running" : status, number, position };
        if (!chunks.length && !more && status === "running") await pause(environment.page.hidden() ? 2_000 : 250);
      };
      try {
        for await (const { chunks, ...rest } of news()) {
          if (rest.seq <= seq && rest.status === "running") continue;
          seq = Math.max(seq, rest.seq);
          text += chunks.filter((chunk) => typeof chunk === "string").join("");
          isOver = rest.status !== "running";
          emit("turn", { turn, seq });
          yield { ...rest, id: turn, chunks, text, seq };
        }
      } catch (error) {
        if (!isPassing(error as Refused)) throw error;
        await pause((error as Refused).retryAfter ?? 1_000);
      }
      if (signal?.aborted) return;
      if (isOver) break;
    }
    await after().catch(() => {});
  }

  return {
    async start({ id: turn = environment.uuid(), message, lease = 30, join = false } = {}) {
      await before();
      const begun = await insist(() =>
        transport.call("begin", {
          session_id: id(),
          turn_id: turn,
          lease_seconds: lease,
          on_running: join ? "join" : "refuse",
          ...(message && { message }),
        }),
      );
      current = begun.id;
      emit("turn", { turn: begun.id, seq: begun.next_seq - 1 });
      return run(begun.id, begun.next_seq, lease);
    },
    async stop(turn = current) {
      if (turn) await transport.call("stop", { session_id: id(), turn_id: turn });
    },
    async *follow(turn, { after: from = 0, signal } = {}) {
      const { id: which } = turn ? { id: turn } : await insist(() => transport.call("latest", { session_id: id(), after: from }), signal);
      current = which;
      yield* looks(which, from, signal);
    },
  };
}
