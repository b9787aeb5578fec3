/** What a supabase client brings along: where the project is, who is signed in, and realtime. */

import type { Place, Token } from "./requests.js";
import type { News, Transport } from "./types.js";

/** As much of supabase-js's client as is used; the package itself is not needed. */
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

/** A project by its URL and key, for those who don't use supabase-js. */
export interface SupabaseProject {
  url: string;
  /** The anon (publishable) key. */
  key: string;
}

export const isClient = (supabase: SupabaseClient | SupabaseProject): supabase is SupabaseClient => "auth" in supabase;

/** A client's project; it keeps both to itself for TypeScript only. */
export function projectOf(supabase: SupabaseClient | SupabaseProject): SupabaseProject {
  if (!isClient(supabase)) return supabase;
  const { supabaseUrl: url, supabaseKey: key } = supabase as unknown as { supabaseUrl: string; supabaseKey: string };
  return { url, key };
}

/** The token of whoever is signed in. */
export const tokenOf = (supabase: SupabaseClient): Token => async (refresh) => {
  const { data } = await (refresh ? supabase.auth.refreshSession() : supabase.auth.getSession());
  return data.session?.access_token;
};

/** Where a project's PostgREST is. Without a token it is asked as nobody, with the key. */
export const restOf = ({ url, key }: SupabaseProject, place: Omit<Place, "url" | "headers">): Place => ({
  ...place,
  url: url.replace(/\/$/, "") + "/rest/v1",
  headers: { apikey: key },
});

/** Listens to the private channel of a session, on which the database alone speaks. */
export const listenBy =
  (supabase: SupabaseClient): NonNullable<Transport["listen"]> =>
  (session, told) => {
    const channel = supabase.channel("asyouwere:" + session, { config: { private: true } });
    channel
      .on("broadcast", { event: "snapshot" }, ({ payload }) => told({ kind: "snapshot", ...payload } as unknown as News))
      .on("broadcast", { event: "turn" }, ({ payload }) => told({ kind: "turn", ...payload } as unknown as News))
      .subscribe((status) => status === "SUBSCRIBED" && told({ kind: "ready" }));
    return () => void supabase.removeChannel(channel as never);
  };
