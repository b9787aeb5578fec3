/**
 * A Supabase project without functions: PostgREST by `fetch`, and realtime by a supabase client if there is one.
 *
 *     const session = open({ ...supabase(createClient(url, key)), key: "trip" });
 *
 * supabase-js is not bundled, and not needed: `supabase({ url, key })` with a `token` does without.
 */

import { defaultEnvironment } from "../core/environment.js";
import type { ConnectOptions } from "../core/open.js";
import type { Token } from "../core/requests.js";
import type { News, Transport } from "../core/types.js";
import { postgrestTransport } from "./postgrest.js";

/** As much of supabase-js's client as is used. */
export interface SupabaseClient {
  auth: {
    getSession(): Promise<{ data: { session: { access_token: string } | null } }>;
    refreshSession(): Promise<{ data: { session: { access_token: string } | null } }>;
  };
  channel(name: string, options: { config: { private: boolean } }): RealtimeChannel;
  removeChannel(channel: never): unknown;
}

interface RealtimeChannel {
  on(type: "broadcast", filter: { event: string }, heard: (message: { payload: Record<string, never> }) => void): RealtimeChannel;
  subscribe(told?: (status: string) => void): unknown;
}

/** A project by its URL and anon (publishable) key. */
export interface SupabaseProject {
  url: string;
  key: string;
}

const isClient = (project: SupabaseClient | SupabaseProject): project is SupabaseClient => "auth" in project;

/** The token of whoever is signed in. */
const tokenOf = (client: SupabaseClient): Token => async (refresh) => {
  const { data } = await (refresh ? client.auth.refreshSession() : client.auth.getSession());
  return data.session?.access_token;
};

/** Listens to the private channel of a session, on which the database alone speaks. */
const listenBy =
  (client: SupabaseClient): NonNullable<Transport["listen"]> =>
  (session, told) => {
    const channel = client.channel("asyouwere:" + session, { config: { private: true } });
    const tell = (kind: string) => ({ payload }: { payload: object }) => told({ kind, ...payload } as News);
    channel
      .on("broadcast", { event: "snapshot" }, tell("snapshot"))
      .on("broadcast", { event: "turn" }, tell("turn"))
      .subscribe((status) => status === "SUBSCRIBED" && told({ kind: "ready" }));
    return () => void client.removeChannel(channel as never);
  };

/**
 * The options by which `open` asks a project's PostgREST, as whoever is signed in at its client. With `url` the
 * functions are asked, and only the token and realtime are the client's.
 */
export function supabase(
  project: SupabaseClient | SupabaseProject,
  options: Pick<ConnectOptions, "url" | "token" | "timeout" | "environment"> = {},
): ConnectOptions {
  const client = isClient(project) ? project : undefined;
  const token = options.token ?? (client && tokenOf(client));
  const listen = client && { listen: listenBy(client) };
  const given = { ...options, ...(token !== undefined && { token }) };
  if (options.url) return { ...given, ...listen };
  // TypeScript alone keeps both from us
  const { supabaseUrl, supabaseKey } = project as unknown as { supabaseUrl: string; supabaseKey: string };
  const { url, key } = client ? { url: supabaseUrl, key: supabaseKey } : (project as SupabaseProject);
  const transport = postgrestTransport({
    environment: { ...defaultEnvironment(), ...options.environment },
    url: url.replace(/\/$/, "") + "/rest/v1",
    token,
    headers: { apikey: key },
    timeout: options.timeout ?? 30_000,
  });
  return { ...given, ...listen, transport };
}
