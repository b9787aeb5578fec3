/** Opening: which server, which person, which session. */

import type { Behaviour, Found, Surroundings } from "./behaviour.js";
import { allowed, defaultEnvironment } from "./environment.js";
import { httpsTransport } from "./https.js";
import type { Token } from "./requests.js";
import { createSession } from "./session.js";
import type { Session } from "./surface.js";
import type { Environment, Journal, State, Transport } from "./types.js";

/** Where and as whom. */
export interface ConnectOptions {
  /** Address of the HTTPS functions, such as `https://PROJECT.supabase.co/functions/v1`. */
  url?: string;
  /** An access token, or a function that gets one: called before each request, with `true` after one was refused. */
  token?: Token;
  /** Milliseconds until an answer has to begin. By default 30,000. */
  timeout?: number;
  /** Another way to ask a server than the functions: `supabase()` of `asyouwere/supabase` makes one. */
  transport?: Transport;
  /** What tells of news at once. */
  listen?: Transport["listen"];
  /**
   * Whose local copies these are, by any name; by default the token's subject. With a name the local copy is painted
   * before there is a token.
   */
  person?: string;
  /** What stands for the browser's or the process' own: storage, clock, network. In tests, or in Node for a journal. */
  environment?: Partial<Environment>;
}

/** Which session; without any of these a new one. */
export interface WhichSession {
  /** Its id. */
  session?: string | undefined;
  /** The person's one session of this key (a character, a configuration); made if there is none. */
  key?: string;
  /** This tab's own session, by a name: the same after a reload, another in another tab. */
  tab?: string;
}

/** Where and as whom, which session, and how it behaves. `S` is the app's own type of its state. */
export type OpenOptions<S = State> = ConnectOptions & WhichSession & Behaviour<S>;

/** A server and a person. */
export interface Connection extends Surroundings {
  /** Whose; resolves when it is known. */
  person(): Promise<string>;
}

/** What a token says; nothing if it can't be read. */
export function claimsOf(token: string | null | undefined): { sub?: string; exp?: number } {
  try {
    return JSON.parse(atob(token!.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/"))) as { sub: string };
  } catch {
    return {};
  }
}

/** What the options name. */
export function connect({ url, token, timeout = 30_000, transport, listen, person, environment }: ConnectOptions): Connection {
  const world = { ...defaultEnvironment(), ...environment };
  if (!transport && !url) throw new TypeError("no url");
  const made = transport ?? httpsTransport({ environment: world, token, timeout, url: url!.replace(/\/$/, "") });
  return {
    environment: world,
    transport: listen ? { ...made, listen } : made,
    person: async () => person ?? claimsOf(typeof token === "function" ? await token(false) : token).sub ?? "",
  };
}

/** Finds out which session it is. What it was found by is remembered. */
async function find({ environment, person }: Connection, { session, key, tab }: WhichSession): Promise<Found> {
  const { tab: tabs, uuid } = environment;
  const whose = await person();
  const journal: Journal = environment.journal(whose);
  const channel: Found["channel"] = (id) => environment.channel(`asyouwere ${whose} ${id}`);
  if (session) return { id: session, journal, channel };
  const name = `asyouwere ${whose} ${tab}`;
  const made = uuid();
  const kept = key !== undefined ? await journal.get("key " + key, made) : tab !== undefined && tabs.getItem(name);
  const id = (kept as string) || made;
  const moved = (to: string): void => {
    if (key !== undefined) void journal.put("key " + key, to);
    else if (tab !== undefined) allowed(() => tabs.setItem(name, to));
  };
  if (!kept) moved(id);
  return { id, journal, channel, _moved: moved, _make: key === undefined ? {} : { key } };
}

/**
 * Opens a session. Returns at once; `session.ready` resolves when its state is there, from this device or the server.
 * From then on it saves by itself, until `close`.
 */
export function open<S = State>(options: OpenOptions<S>): Session<S> {
  const connection = connect(options);
  return createSession<S>(options, connection, find(connection, options));
}
