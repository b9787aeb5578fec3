/**
 * Which client holds which record. A living client holds a Web Lock named by its record, so a free lock is a dead one;
 * a frozen one keeps its lock and answers no ping: it is robbed. That is safe: what it was sending is sent again under
 * the same keys, and `taken` in the store tells it when it wakes up.
 */

import type { Channel, Clock, Locks, Page, RecordName } from "./types.js";

/** How often the others are asked whether they live, and how often they may stay silent: dead after 12 s. */
const BEAT = 4_000;
const MISSED = 3;

type Message = { hello: RecordName } | { ping: string } | { pong: string };
type Gone = (name: RecordName) => void;

export interface HolderParts {
  name: string;
  clock: Clock;
  page: Page;
  channel: Channel;
  locks: Locks | undefined;
}

export class Holders {
  /** What lets go of a lock that this page has. */
  readonly #held = new Map<string, () => void>();
  /** This page's own records, each with what resolves when it is held for the first time. */
  readonly #own = new Map<string, { name: RecordName; held: Promise<unknown> }>();
  /** Others that live: how many pings each has missed, and what ends the waiting for its lock. */
  readonly #others = new Map<string, { name: RecordName; missed: number; stop: AbortController }>();
  readonly #watched = new Map<string, Gone>();
  #cancelBeat: (() => void) | null = null;

  constructor(private readonly parts: HolderParts) {
    parts.channel.listen((message) => this.#hear(message as Message));
    parts.page.listen((event) => {
      // Behind a page in the back/forward cache that keeps a lock the others would wait for ever.
      if (event === "leaving") this.#held.forEach((_, id) => this.#letGo(id));
      if (event === "back") this.#own.forEach(({ name }) => void this.take(name, {}));
    });
  }

  isOwn(name: RecordName): boolean {
    return this.#own.has(this.#id(name));
  }

  /** Resolves when this page holds a record, its own or one that it took. */
  async own(name: RecordName): Promise<void> {
    const id = this.#id(name);
    if (this.#held.has(id)) return;
    let own = this.#own.get(id);
    if (!own) {
      const hello: Message = { hello: { session: name.session, client: name.client } };
      const held = this.take(name, {}).then(() => this.parts.channel.post(hello));
      this.#own.set(id, (own = { name, held }));
    }
    await own.held;
  }

  /** True if it could be had: nobody who lives holds it. */
  async take(name: RecordName, options: Parameters<Locks["request"]>[1] = { ifAvailable: true }): Promise<boolean> {
    const { locks } = this.parts;
    const id = this.#id(name);
    if (this.#held.has(id)) return false;
    let got = !options.ifAvailable;
    if (!locks) {
      if (got) this.#held.set(id, () => {});
    } else
      got = await new Promise<boolean>((resolve) => {
        locks
          .request(id, options, (lock) => {
            resolve(!!lock);
            return lock ? new Promise<void>((release) => this.#held.set(id, release)) : Promise.resolve();
          })
          // robbed, or it waits no longer
          .catch(() => resolve(this.#held.delete(id) && false));
      });
    if (!got && options.ifAvailable) this.#watch(name);
    return got;
  }

  /** Lets go of a record that was taken from another. */
  release(name: RecordName): void {
    if (!this.isOwn(name)) this.#letGo(this.#id(name));
  }

  /** Calls back, holding it, with each record of this session whose client is gone from now on. */
  watch(session: string, gone: Gone): void {
    this.#watched.set(session, gone);
  }

  /** Holds nothing of this session any more. */
  leave(session: string): void {
    this.#watched.delete(session);
    for (const [id, { name, stop }] of this.#others) if (name.session === session) this.#others.delete(id), stop.abort();
    for (const [id, { name }] of this.#own) if (name.session === session) this.#own.delete(id), this.#letGo(id);
  }

  #id(name: RecordName): string {
    return [this.parts.name, name.session, name.client].join(" ");
  }

  #letGo(id: string): void {
    this.#held.get(id)?.();
    this.#held.delete(id);
  }

  #watch(name: RecordName): void {
    const id = this.#id(name);
    if (this.#others.has(id) || this.#own.has(id)) return;
    const stop = new AbortController();
    this.#others.set(id, { name, missed: 0, stop });
    if (this.parts.locks)
      void this.take(name, { signal: stop.signal }).then((got) => got && this.#others.has(id) && this.#gone(id));
    this.#cancelBeat ??= this.parts.clock.after(BEAT, () => this.#beat());
  }

  /** It is held by this page now. */
  #gone(id: string): void {
    const other = this.#others.get(id)!;
    this.#others.delete(id);
    other.stop.abort();
    const told = this.#watched.get(other.name.session);
    if (told) told(other.name);
    else this.#letGo(id);
  }

  #beat(): void {
    this.#cancelBeat = this.#others.size ? this.parts.clock.after(BEAT, () => this.#beat()) : null;
    // the timers of a hidden page are no clock
    if (this.parts.page.hidden()) return;
    for (const [id, other] of this.#others) {
      if (other.missed++ < MISSED) this.parts.channel.post({ ping: id });
      else void this.take(other.name, { steal: true }).then((got) => got && this.#others.has(id) && this.#gone(id));
    }
  }

  #hear(message: Message): void {
    if ("hello" in message) {
      if (this.#watched.has(message.hello.session)) this.#watch(message.hello);
    } else if ("ping" in message) {
      if (this.#own.has(message.ping)) this.parts.channel.post({ pong: message.ping });
    } else if ("pong" in message) {
      const other = this.#others.get(message.pong);
      if (other) other.missed = 0;
    }
  }
}
