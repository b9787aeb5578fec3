/**
 * A small chat as an app would have it: shows the last 100 messages, keeps what is typed in the session with every
 * keystroke, and notes when things happened (`marks`, in ms after the page's navigation began).
 */

import { open, type OpenOptions } from "../../../../web/src/core/index.js";

interface State {
  messages?: { role: string; content: string }[];
  draft?: string;
}

const SHOWN = 100;
const marks: Record<string, number> = { opened: performance.now() };
const long: number[] = [];
new PerformanceObserver((list) => long.push(...list.getEntries().map((entry) => entry.duration))).observe({ type: "longtask" });

const session = open<State>(JSON.parse(decodeURIComponent(location.hash.slice(1))) as OpenOptions<State>);
const list = document.querySelector("ol")!;
let shown: State["messages"];
let seen = 0;
const arrivals: number[] = [];

const show = (): void => {
  const { messages = [] } = session.state;
  if (messages === shown) return;
  shown = messages;
  if (messages.length > seen) arrivals.push(performance.timeOrigin + performance.now());
  seen = messages.length;
  const lines = messages.slice(-SHOWN).map(({ content }) => {
    const line = document.createElement("li");
    line.textContent = content;
    return line;
  });
  list.replaceChildren(...lines);
};

session.on("restored", ({ from }) => {
  marks[from] ??= performance.now();
  show();
});
session.subscribe(show);
document.querySelector("input")!.addEventListener("input", ({ target }) => {
  session.set("/draft", (target as HTMLInputElement).value);
});

Object.assign(window, {
  session,
  marks,
  long,
  arrivals,
  /** Says something; when it did, in ms since 1970. */
  say(content: string): number {
    const at = performance.timeOrigin + performance.now();
    session.append("/messages", [{ role: "user", content }]);
    return at;
  },
  /** When the first thing was painted, and when the first request began. */
  times: () => ({
    ...marks,
    painted: performance.getEntriesByName("first-contentful-paint")[0]?.startTime,
    request: performance.getEntriesByType("resource").find((entry) => (entry as PerformanceResourceTiming).initiatorType === "fetch")?.startTime,
  }),
  /** So many saves of one small change, each answered. */
  async save(times: number): Promise<void> {
    for (let n = 0; n < times; n++) {
      session.set("/draft", `draft ${n % 7}`);
      await session.saveNow();
    }
  },
});
