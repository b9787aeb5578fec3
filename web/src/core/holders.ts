/**
 * Which client holds which record. A living client holds a Web Lock named by its record, so a free lock is a dead one;
 * a frozen one keeps its lock and answers no ping: it is robbed. That is safe: what it was sending is sent again under
 * the same keys, and the store says whose the record is when it wakes up.
 */

import type { Channel, Environment, Locks, RecordName } from "./types.js";

/** How often the others are asked whether they live, and how often they may stay silent: dead after 12 s. */
const BEAT = 4_000;
const MISSED = 3;

/** Somebody writes for the first time; are you there; I am. */
type Message = [kind: "hello", name: RecordName] | [kind: "ping" | "pong", id: string];

export interface Holders {
  _isOwn(name: RecordName): boolean;
  /** Resolves when this page holds a record, its own or one that it took; with true if it is its own from now on. */
  _own(name: RecordName): Promise<unknown>;
  /**
   * Says that a record of one's own is there. Once it is written, not before: who looks for records at this moment finds
   * it, or hears of it.
   */
  _greet(name: RecordName): void;
  /** True if it could be had: nobody who lives holds it. */
  _take(name: RecordName): Promise<boolean>;
  /** Lets go of a record that was taken from another. */
  _release(name: RecordName): void;
  /** Calls back, holding it, with each record of this session whose client is gone from now on. */
  _watch(session: string, gone: (name: RecordName) => void): void;
  /** Holds nothing and hears nothing any more. */
  _end(): void;
}

/** Who holds the records of a journal of this name, for one who has opened a session: each of a page is another one. */
export function holdersOf(journal: string, { clock, page }: Environment, channel: Channel): Holders {
  const locks = navigator.locks as Locks | undefined;
  /** What lets go of a lock that is had here. */
  const held = new Map<string, () => void>();
  /** One's own records, each with what resolves when it is held for the first time. */
  const mine = new Map<string, Promise<unknown>>();
  /** Others that live: how many pings each has missed. */
  const others = new Map<string, { name: RecordName; _missed: number }>();
  let watched: string | undefined;
  let gone: (name: RecordName) => void;
  let isBeating = false;

  const idOf = ({ session, client }: RecordName): string => `${journal} ${session} ${client}`;
  const post = (message: Message): void => channel.post(message);

  const letGo = (id: string): void => {
    held.get(id)?.();
    held.delete(id);
  };

  /** Whether a lock was had; one that nobody wants any more when it comes is let go. */
  const request = (id: string, options: Parameters<Locks["request"]>[1], isWanted = () => true): Promise<boolean> =>
    new Promise((resolve) => {
      if (!locks) {
        if (!options.ifAvailable) held.set(id, () => {});
        return resolve(held.has(id));
      }
      let hold: (() => void) | undefined;
      locks
        .request(id, options, (lock) => {
          const isHad = !!lock && isWanted();
          resolve(isHad);
          return new Promise<void>((release) => (isHad ? held.set(id, (hold = release)) : release()));
        })
        .catch(() => {
          // robbed, maybe by another request of this page
          if (hold && held.get(id) === hold) held.delete(id);
          resolve(false);
        });
    });

  /** Gets a lock of another, when it is free or by force; then what it stands for is this page's. */
  const inherit = async (id: string, options: Parameters<Locks["request"]>[1]): Promise<void> => {
    const isHad = await request(id, options, () => options.steal || others.has(id));
    const other = others.get(id);
    if (!isHad || !other) return;
    others.delete(id);
    gone(other.name);
  };

  const watch = (name: RecordName): void => {
    const id = idOf(name);
    if (others.has(id) || mine.has(id)) return;
    others.set(id, { name, _missed: 0 });
    if (locks) void inherit(id, {});
    if (!isBeating) beat();
  };

  const beat = (): void => {
    isBeating = others.size > 0;
    if (isBeating) clock.after(BEAT, beat);
    // the timers of a hidden page are no clock
    if (!page.hidden())
      others.forEach((other, id) => {
        if (other._missed++ < MISSED) post(["ping", id]);
        else void inherit(id, { steal: true });
      });
  };

  channel.listen((message) => {
    const [kind, what] = message as Message;
    if (kind === "hello") {
      if (what.session === watched) watch(what);
    } else if (kind === "ping") {
      if (mine.has(what)) post(["pong", what]);
    } else {
      const other = others.get(what);
      if (other) other._missed = 0;
    }
  });
  const deaf = page.listen((event) => {
    // Behind a page in the back/forward cache that keeps a lock the others would wait for ever.
    if (event === "leaving") held.forEach((_, id) => letGo(id));
    if (event === "back") mine.forEach((_, id) => void request(id, {}));
  });

  return {
    _isOwn: (name) => mine.has(idOf(name)),
    async _own(name) {
      const id = idOf(name);
      if (held.has(id)) return;
      const own = mine.get(id);
      if (own) return void (await own);
      const first = request(id, {});
      mine.set(id, first);
      await first;
      return true;
    },
    _greet: ({ session, client }) => post(["hello", { session, client }]),
    async _take(name) {
      const id = idOf(name);
      if (held.has(id)) return false;
      const isHad = await request(id, { ifAvailable: true });
      if (!isHad) watch(name);
      return isHad;
    },
    _release(name) {
      const id = idOf(name);
      if (!mine.has(id)) letGo(id);
    },
    _watch(session, told) {
      watched = session;
      gone = told;
    },
    _end() {
      deaf();
      channel.close();
      others.clear();
      mine.clear();
      held.forEach((_, id) => letGo(id));
    },
  };
}
