/**
 * The journal of a browser. Each client's record is a row; its base is kept in pieces of 100 list items, of which a
 * write touches those that changed (references are compared). Who is dead is told by `Holders`.
 *
 * In the store `records` a row has the key [session, client], a small value its name, and what could not be read a
 * number; in `parts` a piece has [session, client, list, position of its first item].
 */

import { apply } from "./changes.js";
import { holdersOf, type Holders } from "./holders.js";
import { below } from "./pointers.js";
import { Refused } from "./refused.js";
import { done, storeOf, type Work } from "./store.js";
import type { Environment, Journal, JournalHealth, JournalRecord, Json, RecordName, State } from "./types.js";
import { isList, isObject, OPENED_DEPTH, type Maybe } from "./values.js";

/** Measured: 10,000 messages are read in 55 ms in pieces of 100, in 197 one by one. */
const PIECE = 100;
const TIMEOUT = 5_000;
/** The same where it has failed before: a store that hangs is not waited for again and again. */
const SHORT_TIMEOUT = 500;
/** For how long a client that was frozen is told that another has had its record: 7 days. */
const REMEMBERED = 7 * 86_400_000;

/**
 * What is stored of a record beside its base. by: the page that may write it; another that takes it over puts itself
 * there, which the first one sees when it wakes up. When the other is done with it only `by` and `at` are left.
 */
type Row = Omit<JournalRecord, "base"> & { by: string };
/** A piece of the base: its list and some items; the first one (`""`): all the rest, and how long the lists are. */
type Piece = [pointer: string, content: Json, lengths?: Record<string, number>];
type Lists = Map<string, Json[]>;
type Key = [session: string, client: string];

/** All keys that begin with these. */
const from = (...key: IDBValidKey[]): IDBKeyRange => IDBKeyRange.bound(key, [...key, []]);
const keyOf = ({ session, client }: RecordName): Key => [session, client];
const isWaiting = ({ sending, pending }: Pick<Row, "sending" | "pending">): boolean => !!(sending || pending);
const isFull = (error: unknown): boolean => (error as Error | null)?.name === "QuotaExceededError";
/** Null, or an object of objects: what changes are. */
const isChanges = (value: unknown): boolean =>
  value === null || (isObject(value as Maybe) && Object.values(value as State).every((of) => of && typeof of === "object"));

/** A journal in the database of this name, which is one person's; for each session that is opened another one. */
export function indexedDbJournal(name: string, environment: Environment): Journal {
  const { clock } = environment;
  const store = storeOf(name);
  /** From the first record on until it is closed. */
  let holders: Holders | undefined;
  const holding = (): Holders => (holders ??= holdersOf(name, environment, environment.channel(name)));
  const me = environment.uuid();
  const listeners = new Set<(health: JournalHealth, error?: unknown) => void>();
  /** The base last written by each record of ours, to compare with. */
  const written = new Map<string, { base: State; _lists: Lists }>();
  let health: JournalHealth = "ok";

  const tell = (now: JournalHealth, error?: unknown): void => {
    if (now === health && !error) return;
    health = now;
    listeners.forEach((listener) => listener(now, error));
  };
  const failed = (error: unknown): void => tell(isFull(error) ? "full" : "off", error);

  const bounded = <T>(promise: Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      const cancel = clock.after(health === "off" ? SHORT_TIMEOUT : TIMEOUT, () => reject(new Refused("journal_timeout")));
      promise.then(resolve, reject).finally(cancel);
    });
  /** What is done in a transaction; undefined, and said, if the store fails. */
  const run = <T>(mode: IDBTransactionMode, work: Work<T>): Promise<T | void> =>
    bounded(store(mode, work)).catch(failed);

  const forget = (key: Key, records: IDBObjectStore, parts: IDBObjectStore): void => {
    records.delete(key);
    parts.delete(from(...key));
  };

  /** The keys and rows of a session, or of all. */
  const rowsOf = async (records: IDBObjectStore, ...session: string[]): Promise<[Key, Row][]> => {
    const range = from(...session);
    const keys = (await done(records.getAllKeys(range))) as Key[];
    const rows = await done<Row[]>(records.getAll(range));
    return keys.map((key, i) => [key, rows[i]!]);
  };

  /** Deletes what others left to paint from, which is older than a record. */
  const tidy = async ({ client, at }: JournalRecord, records: IDBObjectStore, parts: IDBObjectStore, ...session: string[]) => {
    for (const [key, row] of await rowsOf(records, ...session))
      if (key[1] !== client && !isWaiting(row) && row.at <= at) forget(key, records, parts);
  };

  /** The names of a session's records, newest first. */
  const namesOf = async (session: string): Promise<RecordName[]> => {
    const rows = await run("readonly", (records) => rowsOf(records, session));
    return (rows ?? [])
      .sort(([, a], [, b]) => b.number - a.number || b.at - a.at)
      .map(([[session, client]]) => ({ session, client }));
  };

  /**
   * A row with its base; null if there is none, or if they are not what was written: then they are set aside. With
   * `take` it is this page's from now on, if something is waiting in it.
   */
  const read = async (name: RecordName, take?: boolean): Promise<JournalRecord | null> => {
    const key = keyOf(name);
    const found = await run("readwrite", async (records, parts) => {
      const row = await done<Row | undefined>(records.get(key));
      const pieces = await done<Piece[]>(parts.getAll(from(...key)));
      if (!row || (row.by && !row.next) || (take && !isWaiting(row))) return null;
      if (take) records.put({ ...row, by: me }, key);
      try {
        if (!Number.isInteger(row.number) || ![row.pending, row.sending && row.sending.changes].every(isChanges)) throw row;
        return { ...row, base: joined(pieces as [Piece]) };
      } catch {
        records.put({ row, pieces }, clock.now());
        forget(key, records, parts);
        return false;
      }
    });
    if (found === false) tell(health, new Refused("journal_damaged", { session: name.session }));
    return found || null;
  };

  const writing = (record: JournalRecord, instead: RecordName[]): Work<boolean> => {
    const { base, ...row } = record;
    const key = keyOf(record);
    const id = key.join();
    // of a client that is gone, and nothing is left to do
    const isOver = !isWaiting(row) && !holding()._isOwn(record);
    return async (records, parts) => {
      const stored = await Promise.all([record, ...instead].map((one) => done<Row | undefined>(records.get(keyOf(one)))));
      if (stored.some((one) => one && one.by !== me)) return false;
      for (const one of isOver ? [record, ...instead] : instead) {
        forget(keyOf(one), records, parts);
        records.put({ by: me, at: row.at + REMEMBERED }, keyOf(one));
      }
      if (isOver) return true;
      const before = stored[0] && written.get(id);
      records.put({ ...row, by: me }, key);
      if (before?.base !== base) {
        const [rest, lists] = cutUp(base);
        if (!before) parts.delete(from(...key));
        const lengths: Record<string, number> = {};
        lists.forEach((items, pointer) => {
          lengths[pointer] = items.length;
          const old = before?._lists.get(pointer) ?? [];
          for (let at = 0; at < items.length; at += PIECE) {
            const piece = items.slice(at, at + PIECE);
            if (piece.some((item, i) => item !== old[at + i]) || old.length < at + PIECE)
              parts.put([pointer, piece], [...key, pointer, at]);
          }
        });
        before?._lists.forEach((_, pointer) =>
          parts.delete(IDBKeyRange.bound([...key, pointer, lengths[pointer] ?? 0], [...key, pointer, []])),
        );
        parts.put(["", rest, lengths], [...key, "", 0]);
        written.set(id, { base, _lists: lists });
      }
      if (!stored[0]) await tidy(record, records, parts, record.session);
      return true;
    };
  };

  /** A write, with room made for it if the store is full: copies of other sessions are only there to paint from. */
  const attempt = async (record: JournalRecord, instead: RecordName[]): Promise<boolean> => {
    const write = (): Promise<boolean> => store("readwrite", writing(record, instead));
    let isKept = true;
    try {
      isKept = await bounded(
        write().catch(async (error: unknown) => {
          written.clear();
          if (!isFull(error)) throw error;
          await store("readwrite", (records, parts) => tidy(record, records, parts));
          return write();
        }),
      );
      tell("ok");
      if (isKept) (isWaiting(record) ? instead : [record, ...instead]).forEach((one) => holders?._release(one));
    } catch (error) {
      written.clear();
      failed(error);
    }
    return isKept;
  };

  return {
    health: () => health,
    listen(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async load(session) {
      for (const name of await namesOf(session)) {
        const record = await read(name);
        if (record) return record;
      }
      return null;
    },
    async write(record, instead = []) {
      const isNew = await holding()._own(record);
      const isKept = await attempt(record, instead);
      if (isNew) holders?._greet(record);
      return isKept;
    },
    async adopt(session, later) {
      const take = async (name: RecordName): Promise<JournalRecord | null> => {
        const record = await read(name, true);
        if (!record) holders?._release(name);
        return record;
      };
      holding()._watch(session, async (name) => {
        const record = await take(name);
        if (record) later(record);
      });
      const taken: JournalRecord[] = [];
      for (const name of await namesOf(session)) {
        const record = (await holding()._take(name)) && (await take(name));
        if (record) taken.push(record);
      }
      return taken;
    },
    get: (name, first) =>
      run("readwrite", async (records) => {
        const kept = await done<Json | undefined>(records.get(name));
        return kept ?? (first && (records.put(first, name), first));
      }) as Promise<Json | undefined>,
    async put(name, value) {
      await run("readwrite", async (records) => {
        if (value === undefined) records.delete(name);
        else records.put(value, name);
      });
    },
    async clear() {
      await run("readwrite", async (records, parts) => {
        records.clear();
        parts.clear();
      });
    },
    async close() {
      holders?._end();
      holders = undefined;
    },
  };
}

/** A base without its long lists, and these. */
function cutUp(base: State): [rest: Json, lists: Lists] {
  const lists: Lists = new Map();
  const open = (value: Json, pointer: string, depth: number): Json => {
    if (depth > OPENED_DEPTH) return value;
    if (isList(value)) return value.length > PIECE ? (lists.set(pointer, value), []) : value;
    if (!isObject(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, of]) => [key, open(of, below(pointer, key), depth + 1)]));
  };
  return [open(base, "", 1), lists];
}

/** The base of its pieces. Throws if they are not all there. */
function joined([[, rest, lengths], ...pieces]: [Piece, ...Piece[]]): State {
  const append: Record<string, Json[]> = {};
  for (const [pointer, items] of pieces) (append[pointer] ??= []).push(...(items as Json[]));
  for (const pointer in { ...lengths, ...append })
    if (append[pointer]?.length !== lengths![pointer]) throw lengths;
  return apply(rest as State, { append });
}
