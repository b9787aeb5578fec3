/**
 * Which client holds which record. A living client holds a Web Lock named by its record, so a free lock is a dead one;
 * a frozen one keeps its lock and answers no ping: it is robbed. That is safe: what it was sending is sent again under
 * the same keys, and the store says whose the record is when it wakes up.
 */

import type { Channel, Clock, Locks, Page, RecordName } from "./types.js";

/** How often the others are asked whether they live, and how often they may stay silent: dead after 12 s. */
const BEAT = 4_000;
const MISSED = 3;

/** Somebody writes for the first time; are you there; I am. */
type Message = [kind: "hello", name: RecordName] | [kind: "ping" | "pong", id: string];

export interface HolderParts {
  name: string;
  clock: Clock;
  page: Page;
  channel: Channel;
  locks: Locks | undefined;
}

export interface Holders {
  isOwn(name: RecordName): boolean;
  /** Resolves when this page holds a record, its own or one that it took. */
  own(name: RecordName): Promise<unknown>;
  /** True if it could be had: nobody who lives holds it. */
  take(name: RecordName): Promise<boolean>;
  /** Lets go of a record that was taken from another. */
  release(name: RecordName): void;
  /** Calls back, holding it, with each record of this session whose client is gone from now on. */
  watch(session: string, gone: (name: RecordName) => void): void;
  /** Holds nothing of this session any more. */
  leave(session: string): void;
}

export function holdersOf({ name: journal, clock, page, channel, locks }: HolderParts): Holders {
  /** What lets go of a lock that this page has. */
  const held = new Map<string, () => void>();
  /** This page's own records, each with what resolves when it is held for the first time. */
  const mine = new Map<string, { name: RecordName; first: Promise<unknown> }>();
  /** Others that live: how many pings each has missed, and what ends the waiting for its lock. */
  const others = new Map<string, { name: RecordName; missed: number; stop: AbortController }>();
  const watched = new Map<string, (name: RecordName) => void>();
  let isBeating = false;

  const idOf = ({ session, client }: RecordName): string => `${journal} ${session} ${client}`;
  const post = (message: Message): void => channel.post(message);

  const letGo = (id: string): void => {
    held.get(id)?.();
    held.delete(id);
  };

  const request = (id: string, options: Parameters<Locks["request"]>[1]): Promise<boolean> =>
    new Promise((resolve) => {
      if (!locks) {
        if (!options.ifAvailable) held.set(id, () => {});
        return resolve(held.has(id));
      }
      let hold: (() => void) | undefined;
      locks
        .request(id, options, (lock) => {
          resolve(!!lock);
          return lock ? new Promise<void>((release) => held.set(id, (hold = release))) : Promise.resolve();
        })
        .catch(() => {
          // robbed; or it waits no longer, since another request of this page has robbed the holder
          if (hold && held.get(id) === hold) held.delete(id);
          resolve(false);
        });
    });

  const watch = (name: RecordName): void => {
    const id = idOf(name);
    if (others.has(id) || mine.has(id)) return;
    const stop = new AbortController();
    others.set(id, { name, missed: 0, stop });
    if (locks) void request(id, { signal: stop.signal }).then((got) => got && inherit(id));
    if (!isBeating) beat();
  };

  /** A lock of another is this page's now. */
  const inherit = (id: string): void => {
    const other = others.get(id);
    if (!other) return;
    others.delete(id);
    other.stop.abort();
    (watched.get(other.name.session) ?? (() => letGo(id)))(other.name);
  };

  const beat = (): void => {
    isBeating = others.size > 0;
    if (isBeating) clock.after(BEAT, beat);
    // the timers of a hidden page are no clock
    if (!page.hidden())
      others.forEach((other, id) => {
        if (other.missed++ < MISSED) post(["ping", id]);
        else void request(id, { steal: true }).then((got) => got && inherit(id));
      });
  };

  channel.listen((message) => {
    const [kind, what] = message as Message;
    if (kind === "hello") {
      if (watched.has(what.session)) watch(what);
    } else if (kind === "ping") {
      if (mine.has(what)) post(["pong", what]);
    } else {
      const other = others.get(what);
      if (other) other.missed = 0;
    }
  });
  page.listen((event) => {
    // Behind a page in the back/forward cache that keeps a lock the others would wait for ever.
    if (event === "leaving") held.forEach((_, id) => letGo(id));
    if (event === "back") mine.forEach((_, id) => void request(id, {}));
  });

  return {
    isOwn: (name) => mine.has(idOf(name)),
    async own(name) {
      const id = idOf(name);
      if (held.has(id)) return;
      if (!mine.has(id)) {
        const { session, client } = name;
        const first = request(id, {}).then(() => post(["hello", { session, client }]));
        mine.set(id, { name, first });
      }
      await mine.get(id)!.first;
    },
    async take(name) {
      const id = idOf(name);
      if (held.has(id)) return false;
      const got = await request(id, { ifAvailable: true });
      if (!got) watch(name);
      return got;
    },
    release(name) {
      const id = idOf(name);
      if (!mine.has(id)) letGo(id);
    },
    watch: (session, gone) => void watched.set(session, gone),
    leave(session) {
      watched.delete(session);
      others.forEach(({ name, stop }, id) => name.session === session && (others.delete(id), stop.abort()));
      mine.forEach(({ name }, id) => name.session === session && (mine.delete(id), letGo(id)));
    },
  };
}
