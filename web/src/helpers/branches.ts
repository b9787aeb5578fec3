/** Branches: a session forked, changed on its own, and merged back into where it came from. */

import type { ConnectOptions } from "../core/open.js";
import { Refused } from "../core/refused.js";
import type { ForkOrigin, ListedSession } from "../generated/schemas.js";
import { connectWithMore } from "./asking.js";

/** Whose stands: the branch's, or that of the session it was forked from. */
export type Side = "fork" | "origin";

/** How a merge went: the number that it made there, or the addresses that both have changed; then nothing was written. */
export type Merged = { number: number; conflicts?: undefined } | { number?: undefined; conflicts: string[] };

/** Where a session was forked from; `origin_id` null: nowhere. */
export function originOf(options: ConnectOptions, session_id: string): Promise<ForkOrigin> {
  return connectWithMore(options).transport.call("origin", { session_id });
}

/** The person's own forks of a session whose key begins with its id and a slash, last active first; at most 200. */
export async function branchesOf(options: ConnectOptions, session_id: string): Promise<ListedSession[]> {
  return (await connectWithMore(options).transport.call("list", { key_prefix: session_id + "/", limit: 200 })).sessions;
}

/**
 * Merges what a fork has changed since it was forked, or merged last, into its origin; save the fork before. `choices`
 * say whose stands at an address and in it, `prefer` everywhere else.
 */
export async function mergeFork(
  options: ConnectOptions,
  session_id: string,
  { choices = {}, ...how }: { choices?: Record<string, Side>; prefer?: Side; label?: string } = {},
): Promise<Merged> {
  const { environment, transport } = connectWithMore(options);
  try {
    return await transport.call("merge", { session_id, choices, ...how, idempotency_key: environment.uuid() });
  } catch (error) {
    if (error instanceof Refused && error.code === "conflict") return { conflicts: error.detail["addresses"] as string[] };
    throw error;
  }
}
