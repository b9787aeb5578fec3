/**
 * A small app: opens the session that its address names, `#{"url": …, "token": …, …}`, as it is loaded. `session`,
 * its `turns`, `events` (what it was told, in order), `say` and `reopen` are there for the tests.
 */

import * as asyouwere from "../../../../web/src/core/index.js";

import { defaultEnvironment } from "../../../../web/src/core/environment.js";
import { turnsOf } from "../../../../web/src/turns/index.js";

/**
 * tokens: an address that hands out tokens, as a sign-in service does. says, report: for a browser that nobody drives;
 * it says this by itself, and tells that address what it shows when that would survive a crash.
 */
type Options = asyouwere.OpenOptions & { tokens?: string; says?: string[]; report?: string };

const options = JSON.parse(decodeURIComponent(location.hash.slice(1) || "{}")) as Options;
const events: [string, unknown][] = [];
const reopen = (): asyouwere.Session =>
  asyouwere.open({
    ...options,
    ...(options.tokens && { token: async (refresh: boolean) => (await fetch(`${options.tokens}?refresh=${refresh}`)).text() }),
  });
const session = reopen();
for (const event of ["restored", "saved", "conflict", "expired", "reconnecting", "reconnected", "error"] as const)
  session.on(event, (detail) => events.push([event, JSON.parse(JSON.stringify(detail ?? null))]));

const messages = (): { content: string }[] => ((session.state as { messages?: [] }).messages ?? []);

// the most messages that were ever shown: nothing is shown twice in between
let most = 0;
session.subscribe(() => (most = Math.max(most, messages().length)));

Object.defineProperty(window, "most", { get: () => most });
const journal = defaultEnvironment().journal(JSON.parse(atob(options.token!.toString().split(".")[1]!)).sub);
const say = (content: string): void => session.append("/messages", [{ role: "user", content }]);
const said = (): string[] => messages().map(({ content }) => content);

const appended = (changes: asyouwere.Changes | null | undefined): number =>
  changes?.append?.["/messages"]?.length ?? (changes?.set?.["/messages"] as [] | undefined)?.length ?? 0;

/** Waits until so many messages would survive a crash. */
const journalled = async (wanted: number): Promise<void> => {
  for (;;) {
    const record = await journal.load(session.id);
    const base = (record?.base as { messages?: [] } | undefined)?.messages?.length ?? 0;
    if (base + appended(record?.sending?.changes) + appended(record?.pending) >= wanted) return;
    await new Promise((ok) => setTimeout(ok, 5));
  }
};

Object.assign(window, { session, reopen, turns: turnsOf(session), journal, events, say, said, journalled });

if (options.says) {
  await session.ready;
  options.says.forEach(say);
  await journalled(said().length);
  await fetch(options.report!, { method: "POST", mode: "no-cors", body: JSON.stringify(said()) });
}
