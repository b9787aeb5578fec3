/**
 * Text that is not sent yet. Each tab has its own place for it, held by a Web Lock, so that what is typed in one tab never
 * goes over another's; a place that nobody holds is what a tab has left behind, and the next one finds it.
 */

import { allowed } from "../core/environment.js";
import { connect, type ConnectOptions } from "../core/open.js";
import type { Environment, Journal, Locks } from "../core/types.js";

/** Places by one name; tabs beyond that share the last one. */
const PLACES = 8;
/** How long a tab that is reloaded waits for its own place, in ms: the page before may hold it for a moment. */
const PATIENCE = 500;

/** Text that is not sent yet, kept through a reload and a crash. */
export interface Draft {
  /** This tab's text, or, if it has none, what a tab that is gone has left; "": nothing. */
  read(): Promise<string>;
  write(text: string): Promise<void>;
  /** Sends what there is; it is kept until that has succeeded, so a send that failed can be sent again. */
  send<T>(by: (text: string) => Promise<T>): Promise<T>;
  /** It is not shown here any more: what there is can be found by other tabs. A page that is left does so by itself. */
  close(): void;
}

/** What a page holds, for all who use the same name in it. */
interface Held {
  users: number;
  place: Promise<{ key: string; release(): void }>;
}

const pages = new WeakMap<Environment["tab"], Map<string, Held>>();

/** A draft by a name, such as the session's id. */
export function draftOf(options: ConnectOptions, name: string, locks: Locks | undefined = globalThis.navigator?.locks as Locks): Draft {
  const { environment, person } = connect(options);
  const { tab, page, clock } = environment;
  const found = person().then((whose) => ({ whose, journal: environment.journal(whose) }));
  let held = pages.get(tab)!;
  if (!held) pages.set(tab, (held = new Map()));
  let isUsed = false;

  const use = async (isReading: boolean): Promise<{ journal: Journal; key: string }> => {
    const { whose, journal } = await found;
    const id = `asyouwere draft ${whose} ${name}`;
    let mine = held.get(id);
    if (!mine) {
      held.set(id, (mine = { users: 0, place: claim(locks, id, name, tab, journal, isReading) }));
      const left = mine;
      // behind a page in the back/forward cache it can be had; should that come back, it takes what is free then
      const deaf = page.listen((event) => {
        if (event !== "leaving") return;
        deaf();
        drop(id, left);
      });
    }
    if (!isUsed) mine.users++;
    isUsed = true;
    return { journal, key: (await mine.place).key };
  };
  const drop = (id: string, mine: Held): void => {
    if (held.get(id) === mine) held.delete(id);
    void mine.place.then(({ release }) => release());
  };

  const read = async (): Promise<string> => {
    const { journal, key } = await use(true);
    return ((await journal.get(key)) as string | undefined) ?? "";
  };
  const write = async (text: string): Promise<void> => {
    const { journal, key } = await use(false);
    await journal.put(key, text || undefined);
  };
  return {
    read,
    write,
    async send(by) {
      const text = await read();
      const answer = await by(text);
      // what was typed meanwhile stays
      if ((await read()) === text) await write("");
      return answer;
    },
    close() {
      if (!isUsed) return;
      isUsed = false;
      void found.then(({ whose }) => {
        const id = `asyouwere draft ${whose} ${name}`;
        const mine = held.get(id);
        // later, for whoever shows it again at once
        if (mine && !--mine.users) clock.after(0, () => mine.users || drop(id, mine));
      });
    },
  };
}

/** Holds a place: this tab's own, or one that is free; who reads takes rather one with a text, who writes one without. */
async function claim(locks: Locks | undefined, id: string, name: string, tab: Environment["tab"], journal: Journal, isReading: boolean): Held["place"] {
  const own = Number(allowed(() => tab.getItem(id)) ?? NaN);
  const places = [...Array(PLACES).keys()];
  if (own in places) places.unshift(...places.splice(own, 1));
  let first: { place: number; release(): void } | undefined;
  for (const place of places) {
    const release = await hold(locks, `${id} ${place}`, place === own);
    if (!release) continue;
    const isFilled = !!(await journal.get(keyOf(name, place)));
    const isOwn = place === own && !isReading;
    if (isOwn || isFilled === isReading) {
      first?.release();
      first = { place, release };
      break;
    }
    if (first) release();
    else first = { place, release };
  }
  const { place, release } = first ?? { place: PLACES - 1, release: () => {} };
  allowed(() => tab.setItem(id, String(place)));
  return { key: keyOf(name, place), release };
}

const keyOf = (name: string, place: number): string => `draft ${name}${place ? ` ${place}` : ""}`;

/** What lets go of a lock again; null: another tab has it. Without locks, or where they are refused, all is free. */
function hold(locks: Locks | undefined, id: string, isWorthWaiting: boolean): Promise<(() => void) | null> {
  return new Promise((resolve) => {
    const held = (lock: unknown): Promise<void> => new Promise((release) => (lock ? resolve(release) : (resolve(null), release())));
    if (!locks) return resolve(() => {});
    const options = isWorthWaiting ? { signal: AbortSignal.timeout(PATIENCE) } : { ifAvailable: true };
    locks.request(id, options, held).catch((error: unknown) => resolve((error as Error)?.name === "SecurityError" ? () => {} : null));
  });
}
