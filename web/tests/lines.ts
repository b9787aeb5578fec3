/** Lines that lose what goes over them, clocks that wait for nobody, the tabs of a browser. */

import type { Channel, Clock, Fetch } from "../src/core/types.js";
import { line } from "./server.js";

const isStream = (answer: Response): boolean => !!answer.headers.get("Content-Type")?.startsWith("text/event-stream");

/** Reads an answer that nobody is given; of an event stream, which goes on, nothing. */
const drop = async (answer: Response): Promise<unknown> => (isStream(answer) ? answer.body!.cancel() : answer.arrayBuffer());

/** A line that does to each request what `fate` says: lose it, lose its answer, or send it twice. */
export const lossy =
  (fate: (url: string, init: RequestInit) => "pass" | "lost" | "unanswered" | "twice", fetch: Fetch = line): Fetch =>
  async (url, init) => {
    const what = fate(url, init);
    if (what === "lost") throw new TypeError("the line is dead");
    const answer = await fetch(url, init);
    if (what === "pass") return answer;
    await drop(answer);
    if (what === "twice") return fetch(url, init);
    throw new TypeError("the answer was lost");
  };

/** An answer that breaks off after so many pieces of an event stream; any other as it is. */
export function cut(answer: Response, pieces: number): Response {
  if (!isStream(answer)) return answer;
  let left = pieces;
  const shears = new TransformStream<Uint8Array, Uint8Array>({
    transform: (piece, out) => (left-- > 0 ? out.enqueue(piece) : out.error(new TypeError("the line broke"))),
  });
  return new Response(answer.body!.pipeThrough(shears), { status: answer.status, headers: answer.headers });
}

/** The tabs of a browser: what one says all others hear, as soon as a message gets there. */
export function tabs(): (name: string) => Channel {
  const open = new Set<{ name: string; hear?: (message: unknown) => void }>();
  return (name) => {
    const me: { name: string; hear?: (message: unknown) => void } = { name };
    open.add(me);
    return {
      post: (message) => open.forEach((one) => one !== me && one.name === name && queueMicrotask(() => one.hear?.(structuredClone(message)))),
      listen: (hear) => void (me.hear = hear),
      close: () => void open.delete(me),
    };
  };
}

/** A clock that stands until it is told to go on; what is due then happens in order. */
export function standingClock(): Clock & { pass(milliseconds: number): Promise<void> } {
  let now = 1_000_000;
  let count = 0;
  const due = new Map<number, { at: number; callback: () => void }>();
  return {
    now: () => now,
    after(milliseconds, callback) {
      const name = count++;
      due.set(name, { at: now + milliseconds, callback });
      return () => void due.delete(name);
    },
    async pass(milliseconds) {
      const end = now + milliseconds;
      for (;;) {
        const next = [...due].filter(([, { at }]) => at <= end).sort(([a, x], [b, y]) => x.at - y.at || a - b)[0];
        if (!next) break;
        due.delete(next[0]);
        now = Math.max(now, next[1].at);
        next[1].callback();
        for (let turns = 0; turns < 20; turns++) await Promise.resolve();
      }
      now = end;
    },
  };
}

/** Real time, a hundred times as fast. */
export const hurriedClock: Clock = {
  now: () => Date.now(),
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds / 100);
    return () => clearTimeout(timer);
  },
};

/** Waits until something holds. */
export async function until(holds: () => boolean | Promise<boolean>, milliseconds = 30_000): Promise<void> {
  const end = Date.now() + milliseconds;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`did not come about: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
