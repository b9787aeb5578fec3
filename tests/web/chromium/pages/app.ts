/**
 * A small app: opens the session that its address names, `#{"url": …, "token": …, …}`, as it is loaded. `session`,
 * `events` (what it was told, in order) and `say` are there for the tests.
 */

import * as asyouwere from "../../../../web/src/core/index.js";

import { defaultEnvironment } from "../../../../web/src/core/environment.js";

type Options = asyouwere.OpenOptions & { tokens?: string };

const options = JSON.parse(decodeURIComponent(location.hash.slice(1) || "{}")) as Options;
const events: [string, unknown][] = [];
const session = asyouwere.open({
  ...options,
  // `tokens` is an address that hands out tokens, as a sign-in service does
  ...(options.tokens && { token: async (refresh: boolean) => (await fetch(`${options.tokens}?refresh=${refresh}`)).text() }),
});
for (const event of ["restored", "saved", "conflict", "expired", "reconnecting", "reconnected", "error"] as const)
  session.on(event, (detail) => events.push([event, JSON.parse(JSON.stringify(detail ?? null))]));

const messages = (): { content: string }[] => ((session.state as { messages?: [] }).messages ?? []);

// the most messages that were ever shown: nothing is shown twice in between
let most = 0;
session.subscribe(() => (most = Math.max(most, messages().length)));

Object.defineProperty(window, "most", { get: () => most });
Object.assign(window, {
  session,
  journal: defaultEnvironment().journal(JSON.parse(atob(options.token!.toString().split(".")[1]!)).sub),
  events,
  say: (content: string) => session.append("/messages", [{ role: "user", content }]),
  said: () => messages().map(({ content }) => content),
});
