/** The servers that tests/web/servers.py has started, people who use them, and lines that lose answers. */

import { createHmac, randomUUID } from "node:crypto";
import { open, type ConnectOptions, type OpenOptions } from "../src/core/open.js";
import { supabase } from "../src/supabase/index.js";
import { memoryEnvironment } from "../src/core/memory.js";
import type { Environment, Fetch, State } from "../src/core/types.js";
import type { Session } from "../src/core/surface.js";

const given = (name: string): string => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run tests/web with pytest, or python -m tests.web.servers`);
  return value;
};

export const FUNCTIONS = given("ASYOUWERE_TEST_FUNCTIONS");
export const POSTGREST = given("ASYOUWERE_TEST_POSTGREST_URL");

/** A good token of a person or a role. */
export function tokenFor(claims: Record<string, unknown>): string {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  const common = { iss: given("ASYOUWERE_TEST_ISSUER"), aud: "authenticated", iat: now, exp: now + 3600 };
  const signed = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ role: "authenticated", ...common, ...claims })}`;
  return `${signed}.${createHmac("sha256", given("ASYOUWERE_TEST_SECRET")).update(signed).digest("base64url")}`;
}

/** Somebody new. */
export const person = (): string => tokenFor({ sub: randomUUID() });

/** Both ways to the server; every test of what a client does runs over both. */
export const ways = ["functions", "postgrest"] as const;
export type Way = (typeof ways)[number];

/** The options that go one of the ways. */
export const over = <O extends ConnectOptions>(way: Way, options: O): O =>
  way === "functions" ? { url: FUNCTIONS, ...options } : { ...options, ...supabase({ url: POSTGREST, key: "" }, options) };

/** PostgREST without the gateway that stands before it at Supabase, which takes the key away. */
export const line: Fetch = (url, init) => fetch(url.replace(POSTGREST + "/rest/v1", POSTGREST), init);

/** An environment with a line of its own. */
export const world = (changes: Partial<Environment> = {}): Environment => ({ ...memoryEnvironment(), fetch: line, ...changes });

/** A session over one of the ways that saves when told to, and looks when told to. */
export const opened = <S = State>(way: Way, options: OpenOptions<S>): Session<S> =>
  open<S>(over(way, { poll: 0, debounce: 3_600_000, maxWait: 3_600_000, environment: world(), ...options }));

/** Asks the functions, besides any client; again while they are busy, or the machine is too busy for a connection. */
export async function ask(token: string, method: string, path: string, body?: unknown, tries = 5): Promise<any> {
  const response = await fetch(FUNCTIONS + path, {
    method,
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  }).catch((error: unknown) => {
    if (!tries) throw error;
  });
  if (response && response.status !== 429) return response.status === 204 ? null : response.json();
  await response?.arrayBuffer();
  await new Promise((resolve) => setTimeout(resolve, 50));
  return ask(token, method, path, body, response ? tries : tries - 1);
}

/** The state that the server has. */
export const stateOf = async (token: string, session: string): Promise<State> =>
  (await ask(token, "POST", "/session-snapshot-restore", { session_id: session })).state;
