/**
 * The journal of a browser. Each client's record is a row; its base is kept in pieces of 100 list items, of which a
 * write touches those that changed (references are compared). Who is dead is told by `Holders`.
 */

import { Holders } from "./holders.js";
import { Refused } from "./refused.js";
import { ASIDE, beginning, done, PARTS, RECORDS, Store, VALUES } from "./store.js";
import type { Work } from "./store.js";
import { below, keysOf } from "./pointers.js";
import type { Channel, Clock, Journal, JournalHealth, JournalRecord, Json, Locks, Page, RecordName, State } from "./types.js";

/** Measured: 10,000 messages are read in 55 ms in pieces of 100, in 197 one by one. */
const PIECE = 100;
/** Deeper ones, and what is in items, are part of a piece. */
const OPENED = 3;
const TIMEOUT = 5_000;
/** For how long a client that was frozen is told that another has its record: 7 days. */
const REMEMBERED = 7 * 86_400_000;

/**
 * What is stored of a record beside its base. by: the page that may write it; another that takes it over puts itself
 * there, which the first one sees when it wakes up. taken: the other is done with it.
 */
type Row = Omit<JournalRecord, "base"> & { by: string; taken?: boolean };
/** A piece of the base: its list and some items; the first one (`""`): all the rest, and how long the lists are. */
type Piece = [pointer: string, content: Json, lengths?: Record<string, number>];
type Lists = Map<string, Json[]>;

const waiting = (of: Pick<JournalRecord, "sending" | "pending">): boolean => !!(of.sending || of.pending);
const newest = (a: Row, b: Row): number => b.number - a.number || b.at - a.at;
const isObject = (value: unknown): value is State => !!value && typeof value === "object" && !Array.isArray(value);
const isChanges = (value: unknown): boolean =>
  value === null || (isObject(value) && Object.values(value).every((of) => typeof of === "object" && !!of));

export interface JournalParts {
  /** The database: one a person. */
  name: string;
  factory: IDBFactory;
  clock: Clock;
  page: Page;
  uuid(): string;
  /** To the other tabs' journals of this person. */
  channel: Channel;
  locks: Locks | undefined;
}

export function indexedDbJournal(parts: JournalParts): Journal {
  return new IndexedDbJournal(parts);
}

class IndexedDbJournal implements Journal {
  #health: JournalHealth = "ok";
  readonly #listeners = new Set<(health: JournalHealth, error?: unknown) => void>();
  readonly #store: Store;
  readonly #holders: Holders;
  readonly #me: string;
  /** The base last written by each record of ours, to compare with. */
  readonly #written = new Map<string, { base: State; lists: Lists }>();
  readonly #queue = new Map<string, { record: JournalRecord; instead: RecordName[]; end: Promise<boolean> }>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(private readonly parts: JournalParts) {
    this.#store = new Store(parts.name, parts.factory);
    this.#holders = new Holders(parts);
    this.#me = parts.uuid();
  }

  health(): JournalHealth {
    return this.#health;
  }

  listen(listener: (health: JournalHealth, error?: unknown) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async load(session: string): Promise<JournalRecord | null> {
    for (const row of await this.#rows(session)) {
      const record = await this.#read(row);
      if (record) return record;
    }
    return null;
  }

  write(record: JournalRecord, instead: RecordName[] = []): Promise<boolean> {
    const name = nameOf(record);
    const queued = this.#queue.get(name);
    if (queued) {
      // what waits behind a write is replaced by what came after it
      queued.record = record;
      queued.instead.push(...instead);
      return queued.end;
    }
    const next = { record, instead: [...instead], end: Promise.resolve(true) };
    next.end = this.#last.then(async () => {
      await this.#holders.own(record);
      this.#queue.delete(name);
      return this.#attempt(next.record, next.instead);
    });
    this.#last = next.end;
    this.#queue.set(name, next);
    return next.end;
  }

  async adopt(session: string, later: (record: JournalRecord) => void): Promise<JournalRecord[]> {
    const take = async (name: RecordName): Promise<JournalRecord | null> => {
      const record = await this.#read(name, true);
      if (!record) this.#holders.release(name);
      return record;
    };
    this.#holders.watch(session, async (name) => {
      const record = await take(name);
      if (record) later(record);
    });
    const taken: JournalRecord[] = [];
    for (const row of await this.#rows(session)) {
      const record = (await this.#holders.take(row)) && (await take(row));
      if (record) taken.push(record);
    }
    return taken;
  }

  async get(name: string): Promise<Json | undefined> {
    return this.#run("readonly", (store) => done<Json | undefined>(store(VALUES).get(name)));
  }

  async put(name: string, value: Json | undefined): Promise<void> {
    await this.#run("readwrite", async (store) => {
      if (value === undefined) store(VALUES).delete(name);
      else store(VALUES).put(value, name);
    });
  }

  async clear(): Promise<void> {
    this.#written.clear();
    await this.#run("readwrite", async (store) => {
      for (const name of [RECORDS, PARTS, VALUES, ASIDE]) store(name).clear();
    });
  }

  async close(session: string): Promise<void> {
    await this.#last;
    this.#holders.leave(session);
  }

  /** A write, with room made for it if the store is full. */
  async #attempt(record: JournalRecord, instead: RecordName[]): Promise<boolean> {
    const write = (): Promise<boolean> => this.#store.run("readwrite", this.#writing(record, instead));
    const name = nameOf(record);
    try {
      const kept = await this.#bounded(
        write().catch(async (error: unknown) => {
          this.#written.delete(name);
          if (!isFull(error)) throw error;
          await this.#makeRoom(record.session);
          return write();
        }),
      );
      this.#tell("ok");
      if (kept) instead.forEach((one) => this.#holders.release(one));
      if (!waiting(record)) this.#holders.release(record);
      return kept;
    } catch (error) {
      this.#written.delete(name);
      this.#tell(isFull(error) ? "full" : "off", error);
      return true;
    }
  }

  #writing(record: JournalRecord, instead: RecordName[]): Work<boolean> {
    const { base, ...row } = record;
    const name = nameOf(record);
    const key = keyOf(record);
    // of a client that is gone, and nothing is left to do
    const isOver = !waiting(row) && !this.#holders.isOwn(record);
    return async (store) => {
      const [records, pieces] = [store(RECORDS), store(PARTS)];
      const stored = await Promise.all(
        [record, ...instead].map((one) => done<Row | undefined>(records.get(keyOf(one)))),
      );
      if (stored.some((one) => one && one.by !== this.#me)) return false;
      const [own] = stored;
      const before = own && this.#written.get(name);
      for (const one of isOver ? [record, ...instead] : instead) {
        records.put({ session: one.session, client: one.client, by: this.#me, at: row.at, taken: true }, keyOf(one));
        pieces.delete(beginning(...keyOf(one)));
      }
      if (isOver) return true;
      records.put({ ...row, by: this.#me }, key);
      if (before?.base !== base) {
        const cut = cutUp(base);
        if (!before) pieces.delete(beginning(...key));
        pieces.put(["", cut.rest, Object.fromEntries([...cut.lists].map(([at, items]) => [at, items.length]))], [...key, "", 0]);
        for (const [pointer, items] of cut.lists) putList(pieces, key, pointer, before?.lists.get(pointer), items);
        for (const pointer of before?.lists.keys() ?? [])
          if (!cut.lists.has(pointer)) pieces.delete(beginning(...key, pointer));
        this.#written.set(name, { base, lists: cut.lists });
      }
      // what others left to paint from is older than this
      if (!own)
        for (const row of await done<Row[]>(records.getAll(beginning(record.session))))
          if (row.client !== record.client && (row.taken ? row.at < record.at - REMEMBERED : !waiting(row)))
            remove(store, row);
      return true;
    };
  }

  /** Copies of other sessions, with nothing waiting, are only there to paint from. */
  async #makeRoom(session: string): Promise<void> {
    await this.#store.run("readwrite", async (store) => {
      for (const row of await done<Row[]>(store(RECORDS).getAll()))
        if (row.session !== session && !waiting(row)) remove(store, row);
    });
  }

  /** The rows of a session, newest first. */
  async #rows(session: string): Promise<Row[]> {
    const rows = await this.#run("readonly", async (store) => {
      const range = beginning(session);
      const keys = await done(store(RECORDS).getAllKeys(range));
      const values = await done<Row[]>(store(RECORDS).getAll(range));
      return values.map((row, i): Row => ({ ...row, session, client: (keys[i] as string[])[1]! }));
    });
    return (rows ?? []).filter((row) => !row.taken).sort(newest);
  }

  /**
   * A row with its base; null if there is none, or if they are not what was written: then they are set aside. With
   * `take` it is this page's from now on, if something is waiting in it.
   */
  async #read(name: RecordName, take = false): Promise<JournalRecord | null> {
    const key = keyOf(name);
    const read = await this.#run(take ? "readwrite" : "readonly", async (store) => {
      const [row, pieces] = await Promise.all([
        done<Row | undefined>(store(RECORDS).get(key)),
        done<Piece[]>(store(PARTS).getAll(beginning(...key))),
      ]);
      if (!row || row.taken || (take && !waiting(row))) return null;
      if (take) store(RECORDS).put({ ...row, by: this.#me }, key);
      return [row, pieces] as const;
    });
    if (!read) return null;
    const [row, pieces] = read;
    try {
      if (!Number.isInteger(row.number) || !isChanges(row.sending?.changes ?? null) || !isChanges(row.pending))
        throw new Error("not a record");
      return { ...row, base: joined(pieces) };
    } catch (error) {
      await this.#run("readwrite", async (store) => {
        store(ASIDE).put({ row, pieces });
        remove(store, name);
      });
      this.#tell(this.#health, new Refused("journal_damaged", { session: name.session }, 0, String(error)));
      return null;
    }
  }

  /** What is done in a transaction; undefined, and said, if the store fails. */
  async #run<T>(mode: IDBTransactionMode, work: Work<T>): Promise<T | undefined> {
    try {
      return await this.#bounded(this.#store.run(mode, work));
    } catch (error) {
      this.#tell(isFull(error) ? "full" : "off", error);
      return undefined;
    }
  }

  #bounded<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const cancel = this.parts.clock.after(TIMEOUT, () => reject(new Error("IndexedDB does not answer")));
      promise.then(resolve, reject).finally(cancel);
    });
  }

  #tell(health: JournalHealth, error?: unknown): void {
    if (health === this.#health && !error) return;
    this.#health = health;
    for (const listener of this.#listeners) listener(health, error);
  }
}

const keyOf = (name: RecordName): [string, string] => [name.session, name.client];
const nameOf = (name: RecordName): string => keyOf(name).join(" ");
const remove = (store: (name: string) => IDBObjectStore, name: RecordName): void => {
  store(RECORDS).delete(keyOf(name));
  store(PARTS).delete(beginning(...keyOf(name)));
};
const isFull = (error: unknown): boolean => (error as DOMException | null)?.name === "QuotaExceededError";

/** A base without its long lists, and these. */
function cutUp(base: State): { rest: State; lists: Lists } {
  const lists: Lists = new Map();
  const open = (value: Json, pointer: string, depth: number): Json => {
    if (Array.isArray(value)) {
      if (value.length <= PIECE) return value;
      lists.set(pointer, value);
      return [];
    }
    if (depth === OPENED || !isObject(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, of]) => [key, open(of, below(pointer, key), depth + 1)]));
  };
  return { rest: open(base, "", 0) as State, lists };
}

function putList(pieces: IDBObjectStore, key: [string, string], pointer: string, before: Json[] = [], items: Json[]): void {
  if (before === items) return;
  for (let at = 0; at < items.length; at += PIECE) {
    const piece = items.slice(at, at + PIECE);
    const old = before.slice(at, at + PIECE);
    if (piece.length !== old.length || piece.some((item, i) => item !== old[i]))
      pieces.put([pointer, piece], [...key, pointer, at]);
  }
  if (before.length > items.length)
    pieces.delete(IDBKeyRange.bound([...key, pointer, items.length], [...key, pointer, []]));
}

/** The base of its pieces. Throws if they are not all there. */
function joined([first, ...pieces]: Piece[]): State {
  const [pointer, rest, lengths] = first ?? [];
  if (pointer !== "" || !isObject(rest)) throw new Error("no base");
  const listAt = (at: string): Json[] =>
    keysOf(at).reduce<unknown>((value, key) => (value as State)[key], rest) as Json[];
  for (const [at, items] of pieces) for (const item of items as Json[]) listAt(at).push(item);
  for (const [at, length] of Object.entries(lengths ?? {}))
    if (listAt(at).length !== length) throw new Error("the base is not whole");
  return rest;
}
