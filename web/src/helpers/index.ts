/** What apps around a session write by hand again and again. */

import { connect, type ConnectOptions } from "../core/open.js";
import { connectWithMore } from "./asking.js";

export { draftOf, type Draft } from "./drafts.js";
export { statisticsOf, type Statistics, type StatisticsOptions } from "./statistics.js";
export { formatDuration } from "./duration.js";
export { authorizedFetch } from "./fetching.js";
export { reconnecting, type Attempt, type Connection, type Reconnecting, type ReconnectingOptions } from "./reconnecting.js";
export { newsLine, type NewsLine } from "./news.js";
export { remembered, sessionFromUrl, type Remembered, type RememberedOptions } from "./remembered.js";
export { onlyTab } from "./tabs.js";
export { freshToken, type FreshToken, type FreshTokenOptions } from "./tokens.js";
export { branchesOf, mergeFork, originOf, type Merged, type Side } from "./branches.js";
export { costOf, PRICES, usageOf, type BudgetEvent, type Call, type Price, type Tokens, type Usage } from "./usage.js";

/** A code for all sessions of the guest whose token it is, good once and for ten minutes: ask before signing in. */
export async function offerSessions(options: ConnectOptions): Promise<string> {
  return (await connectWithMore(options).transport.call("offer", {})).code;
}

/** Takes over, as who signed in, what a code stands for. Keys that meet get a new one. */
export async function claimSessions(options: ConnectOptions, code: string): Promise<{ sessions: number; newKeys: number }> {
  const { sessions, new_keys: newKeys } = await connectWithMore(options).transport.call("claim", { code });
  return { sessions, newKeys };
}

/** Forgets all that is kept on this device of the person: for signing out, after the sessions were closed. */
export async function forget(options: ConnectOptions): Promise<void> {
  const { environment, person } = connect(options);
  await environment.journal(await person()).clear();
}
