/** A journal that several clients share, as the tabs of a browser do; what is in it survives any of them. */

import type { Journal, Json, JournalRecord } from "../src/core/types.js";

/** The store of one browser. */
export interface Store {
  records: Map<string, JournalRecord>;
  /** The journal of a page load; `kill` ends the page: nothing is written any more, and others may adopt. */
  page(): Journal & { kill(): void; freeze(): void };
}

/** A page load, and the clients that were it. */
interface Me {
  own: Set<string>;
}

const copied = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

export function storeOf(): Store {
  const records = new Map<string, JournalRecord>(); // by client
  const values = new Map<string, Json>();
  const owners = new Map<string, object>(); // who holds a client's record
  const dead = new Set<object>();
  const hopes: { me: Me; session: string; later(record: JournalRecord): void }[] = [];
  const isWaiting = ({ sending, pending }: JournalRecord): boolean => Boolean(sending ?? pending);

  const orphans = (session: string, me: Me): JournalRecord[] =>
    [...records.values()]
      .filter((record) => record.session === session && isWaiting(record) && dead.has(owners.get(record.client)!))
      // nobody adopts what was its own: it goes on from what it has of it, until it hears that another has taken it
      .filter(({ client }) => !me.own.has(client))
      .sort((a, b) => b.at - a.at)
      .map((record) => (owners.set(record.client, me), copied(record)));

  return {
    records,
    page() {
      const me: Me = { own: new Set() };
      let isDead = false;
      const die = (): void => {
        dead.add(me);
        for (const heir of hopes.filter((hope) => !dead.has(hope.me))) {
          for (const record of orphans(heir.session, heir.me)) heir.later(record);
        }
      };
      return {
        kill() {
          isDead = true;
          die();
        },
        freeze: die,
        health: () => "ok",
        listen: () => () => {},
        async load(session) {
          const copies = [...records.values()].filter((record) => record.session === session);
          const newest = copies.sort((a, b) => b.number - a.number || b.at - a.at)[0];
          return newest ? copied(newest) : null;
        },
        async write(record, instead = []) {
          if (isDead) return new Promise(() => {}); // a page that is gone hears no more
          dead.delete(me); // one that was frozen is awake again
          const named = [record, ...instead].map(({ client }) => client);
          if (named.some((client) => owners.has(client) && owners.get(client) !== me)) return false;
          if (!owners.has(record.client)) me.own.add(record.client);
          for (const { client } of instead) records.delete(client);
          records.set(record.client, copied(record));
          owners.set(record.client, me);
          return true;
        },
        async adopt(session, later) {
          hopes.push({ me, session, later });
          return orphans(session, me);
        },
        get: async (name, first) => values.get(name) ?? (first !== undefined && values.set(name, first), first),
        put: async (name, value) => void (value === undefined ? values.delete(name) : values.set(name, value)),
        async clear() {
          records.clear();
          values.clear();
        },
        async close() {
          die();
        },
      };
    },
  };
}
