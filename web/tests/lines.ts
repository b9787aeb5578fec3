/** Lines that lose what goes over them, clocks that wait for nobody. */

import type { Clock, Fetch } from "../src/core/types.js";
import { line } from "./server.js";

/** A line that does to each request what `fate` says: lose it, lose its answer, or send it twice. */
export const lossy =
  (fate: (url: string, init: RequestInit) => "pass" | "lost" | "unanswered" | "twice", fetch: Fetch = line): Fetch =>
  async (url, init) => {
    const what = fate(url, init);
    if (what === "lost") throw new TypeError("the line is dead");
    const answer = await fetch(url, init);
    if (what === "twice") return fetch(url, init);
    if (what === "unanswered") {
      await answer.arrayBuffer();
      throw new TypeError("the answer was lost");
    }
    return answer;
  };

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
export async function until(holds: () => boolean | Promise<boolean>, milliseconds = 10_000): Promise<void> {
  const end = Date.now() + milliseconds;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`did not come about: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
