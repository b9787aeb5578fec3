/** The same messages in IndexedDB, kept by us and by others as their documentation says: `write` and, later, `read`. */

import Dexie from "dexie";
import { createStore } from "tinybase/store";
import { createIndexedDbPersister } from "tinybase/persisters/persister-indexed-db";
import { IndexeddbPersistence } from "y-indexeddb";
import * as Y from "yjs";
import { apply, diff } from "../../../../web/src/core/index.js";
import { defaultEnvironment } from "../../../../web/src/core/environment.js";

type Message = { id: string; role: string; content: string };

interface Kept {
  write(messages: Message[]): Promise<void>;
  /** How many there are, all of them in the hand. */
  read(): Promise<number>;
}

const messages = (count: number, words: number): Message[] =>
  Array.from({ length: count }, (_, i) => ({
    id: `message-${i}`,
    role: i % 2 ? "assistant" : "user",
    content: `${i} ${"word ".repeat(words)}`,
  }));

const SESSION = "01900000-0000-7000-8000-000000000001";

const journal = defaultEnvironment().journal("figures");

const kept: Record<string, Kept> = {
  asyouwere: {
    async write(messages) {
      const record = { session: SESSION, client: "client", number: 1, base: { messages }, sending: null, pending: null };
      await journal.write({ ...record, next: "next", at: Date.now() });
    },
    async read() {
      const record = await journal.load(SESSION);
      return (record!.base as { messages: Message[] }).messages.length;
    },
  },
  TinyBase: {
    async write(messages) {
      const store = createStore();
      store.setTable("messages", Object.fromEntries(messages.map((message, n) => [String(n), message])));
      await createIndexedDbPersister(store, "tinybase").save();
    },
    async read() {
      const store = createStore();
      await createIndexedDbPersister(store, "tinybase").load();
      return Object.keys(store.getTable("messages")).length;
    },
  },
  Dexie: {
    async write(messages) {
      await dexie().table("messages").bulkPut(messages.map((message, n) => ({ n, ...message })));
    },
    async read() {
      return (await dexie().table("messages").orderBy("n").toArray()).length;
    },
  },
  Yjs: {
    async write(messages) {
      const doc = new Y.Doc();
      const persistence = new IndexeddbPersistence("yjs", doc);
      await persistence.whenSynced;
      doc.getArray<Message>("messages").push(messages);
      await new Promise((ok) => setTimeout(ok, 2_000)); // nothing says when it is written
      await persistence.destroy();
    },
    async read() {
      const doc = new Y.Doc();
      await new IndexeddbPersistence("yjs", doc).whenSynced;
      return doc.getArray<Message>("messages").toArray().length;
    },
  },
};

const dexie = (): Dexie => {
  const db = new Dexie("dexie");
  db.version(1).stores({ messages: "n" });
  return db;
};

const timed = async (job: () => unknown): Promise<number> => {
  const begun = performance.now();
  await job();
  return performance.now() - begun;
};

const median = (times: number[]): number => times.sort((a, b) => a - b)[times.length >> 1]!;

Object.assign(window, {
  write: (name: string, count: number) => kept[name]!.write(messages(count, 30)),
  /** Milliseconds until all are there. */
  async read(name: string, count: number): Promise<number> {
    let found = 0;
    const took = await timed(async () => (found = await kept[name]!.read()));
    if (found !== count) throw new Error(`${name}: ${found} of ${count}`);
    return took;
  },
  /** Milliseconds to compare states of 1 MB in which one message changed: with shared references, and without any. */
  async compare(times: number): Promise<[number, number]> {
    const before = { messages: messages(1_000, 200), memory: { topic: "tea" } };
    const shared = apply(before, { set: { "/messages/500/content": "another" } });
    const copied = JSON.parse(JSON.stringify(shared)) as typeof shared; // strings, too, are others
    const took: [number[], number[]] = [[], []];
    for (let n = 0; n < times; n++) {
      // the clock has steps of 0.1 ms
      took[0].push((await timed(() => Array.from({ length: 20 }, () => diff(before, shared)))) / 20);
      took[1].push(await timed(() => diff(before, copied)));
    }
    return [median(took[0]), median(took[1])];
  },
});
