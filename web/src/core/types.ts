/**
 * The words of the package: states, what a client keeps, and the environment that it runs in.
 *
 * Everything that touches the world comes in through `Environment`, so that the core runs in a page, on a server, in
 * a worker and under a test's clock alike. Implementations carry; the core decides.
 */

import type { Operations } from "./operations.js";

/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** A session's state: a JSON object. Values are never changed in place; an equal reference means unchanged. */
export type State = { [key: string]: Json };

/** A JSON Pointer (RFC 6901), such as `/messages/3` or `/memory/topic`. */
export type Pointer = string;

/** Changes as a client sends them: no address lies in another; appended items come last. */
export interface Changes {
  set?: Record<Pointer, Json>;
  append?: Record<Pointer, Json[]>;
  remove?: Pointer[];
}

/** Changes as the server answers them: `remove` first, then `set`, each in its order. */
export interface Delta {
  set: Record<Pointer, Json>;
  remove: Pointer[];
}

/** The one save under way; not changed until it is answered. */
export interface Sending {
  /** The idempotency key; asked again with the same one. */
  key: string;
  changes: Changes;
}

/**
 * What one client (a page load, a process) keeps of a session. Self-contained: another client can finish what a dead
 * one began from the record alone. `base` shares references with the record written before, so an implementation
 * that compares references writes what has changed and no more.
 */
export interface JournalRecord {
  session: string;
  /** Whose record it is: an id made up at page load and kept nowhere else, so that a duplicated tab has its own. */
  client: string;
  /** The state that the server had at `number`; 0 and `{}`: before the first save. */
  number: number;
  base: State;
  sending: Sending | null;
  /** What the app has changed since: leads from base with `sending` done to what is on the screen. Null: nothing. */
  pending: Changes | null;
  /**
   * The idempotency key that `pending` will be sent with. A page that is closed sends before its journal is durable, so
   * whoever finishes what it left has to ask under this key; `idempotency_key_reused` then says that it came through,
   * with later edits than the record knows.
   */
  next: string;
  /** When it was written, in ms of the clock. */
  at: number;
}

/** ok; full: the store refuses more; off: there is none, or it is broken. Everything else works on without it. */
export type JournalHealth = "ok" | "full" | "off";

/** A record by its session and client. */
export type RecordName = Pick<JournalRecord, "session" | "client">;

/**
 * Where records live through a crash: what is in it is one person's; `Environment.journal` is given a name of whose.
 * No call rejects or hangs: a store that fails answers as if it were empty, and says so through `health`.
 */
export interface Journal {
  /** How the store is. */
  health(): JournalHealth;
  /** Called when the health changes, and with the error when a record could not be read: it was set aside, kept. */
  listen(listener: (health: JournalHealth, error?: unknown) => void): () => void;
  /**
   * The newest copy of a session, whoever's it is, to paint from; null: none. Of a record whose client still lives
   * only number and base are of use.
   */
  load(session: string): Promise<JournalRecord | null>;
  /**
   * Writes a client's record in place of the one before, and deletes those `instead` names, in one transaction.
   * Resolves when it is durable (or refused). A record with neither sending nor pending is a copy to paint from: the
   * newest of a session stays, older ones may go.
   *
   * False, and nothing is written: another client has taken this record over, or one of `instead` (this page was
   * frozen, or in the back/forward cache). What had been written there is the other's to send now: only edits made
   * since are this client's still. So what `adopt` gave is folded in once it is written, not before.
   */
  write(record: JournalRecord, instead?: RecordName[]): Promise<boolean>;
  /**
   * The records with something waiting whose clients are gone, newest first; from then on they are held by this
   * client, until it writes them or is gone itself. `later` is called with each whose client goes afterwards.
   */
  adopt(session: string, later: (record: JournalRecord) => void): Promise<JournalRecord[]>;
  /**
   * A small value beside the records (a remembered session id, a draft); undefined: none. Where there is none, `first` is
   * kept and is the value: of several who ask at once, one's.
   */
  get(name: string, first?: Json): Promise<Json | undefined>;
  /** Keeps a small value; undefined deletes it. */
  put(name: string, value: Json | undefined): Promise<void>;
  /** Forgets everything of this person: sign-out. */
  clear(): Promise<void>;
  /** This client is done with a session: it holds nothing of it any more. Its last record has been written. */
  close(session: string): Promise<void>;
}

/** What the tabs of a browser say to each other; structured clones, never to oneself. */
export interface Channel {
  post(message: unknown): void;
  /** `close` stops the listening too. */
  listen(listener: (message: unknown) => void): void;
  close(): void;
}

/** The part of `navigator.locks` that a journal needs to tell the dead from the living. */
export interface Locks {
  request<T>(
    name: string,
    options: { ifAvailable?: boolean; steal?: boolean; signal?: AbortSignal },
    hold: (lock: unknown) => Promise<T>,
  ): Promise<T>;
}

/** Time. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls back once, after so many milliseconds. Returns what cancels it. */
  after(milliseconds: number, callback: () => void): () => void;
}

/**
 * What happens to the page. hidden: maybe the last moment to save; leaving: `pagehide`; visible: looked at again;
 * back: out of the back/forward cache (after `visible` or instead of it); online, offline: as the browser believes.
 */
export type PageEvent = "hidden" | "visible" | "leaving" | "back" | "online" | "offline";

/** The page, as far as it concerns a session. */
export interface Page {
  hidden(): boolean;
  listen(listener: (event: PageEvent) => void): () => void;
}

/** `fetch`, or what stands for it. A request with `keepalive` that does not fit may be sent without. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** All of the world that the core touches. `defaultEnvironment()` makes one of what is there. */
export interface Environment {
  fetch: Fetch;
  clock: Clock;
  page: Page;
  /** A journal of one person, asked for by each who opens something: the same name, the same records and values. */
  journal(person: string): Journal;
  /** A channel to the other tabs by name. */
  channel(name: string): Channel;
  /** What this tab remembers through a reload (`sessionStorage`), a duplicated tab too. */
  tab: Pick<Storage, "getItem" | "setItem" | "removeItem">;
  /** A new random UUID. */
  uuid(): string;
  /** From 0 to below 1: jitter. */
  random(): number;
}

/** A refusal, or a failure to ask. */
export interface Failure {
  /** A stable code of `spec/errors.json`; `network` if nobody answered, `http_500` and the like if it was no answer of ours. */
  code: string;
  /** HTTP status; 0 if nobody answered. */
  status: number;
  message: string;
  /** What else the answer says, such as `address` or `latest`. */
  detail: Record<string, Json>;
  /** How long to wait, in ms, if the answer says. */
  retryAfter?: number | undefined;
}

/** Options of one call. */
export interface CallOptions {
  /** The page is going: let the request outlive it. */
  keepalive?: boolean;
  signal?: AbortSignal;
  /** The state that a save leads to, for a transport that has to know what stands where. */
  state?: State;
}

/**
 * What the core asks of a server, by name, with the argument names of `spec/openapi.json` (in PostgREST's functions
 * the same with `p_` before them). See `operations.ts` for each one's arguments and answer.
 */
export interface Transport {
  /** Rejects with a `Refused`. */
  call<O extends keyof Operations>(
    operation: O,
    args: Operations[O]["args"],
    options?: CallOptions,
  ): Promise<Operations[O]["answer"]>;
  /** A turn as it goes on, from after a number; it may end before the turn does. Without it turns are polled. */
  stream?(session: string, turn: string, after: number, signal: AbortSignal): AsyncIterable<Look>;
  /** Calls back when the server tells of news of a session; `ready` when it has begun to listen. Returns its undo. */
  listen?(session: string, told: (news: News) => void): () => void;
}

/** What is new of a turn. */
export interface Look {
  chunks: Json[];
  next_seq: number;
  more?: boolean;
  status: "running" | "done" | "stopped" | "failed" | "interrupted";
  number: number | null;
  position: number | null;
}

/** What realtime says: there is a newer snapshot, or a turn went on; or only that it listens from now on. */
export type News = { kind: "ready" } | { kind: "snapshot"; number: number } | { kind: "turn"; turn: string; seq: number };
