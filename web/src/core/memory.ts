/** A world without a browser: nothing is kept, there are no other tabs, and the page is always looked at. */

import type { Clock, Environment, Journal } from "./types.js";

const nothing = (): void => {};
const never = async (): Promise<undefined> => undefined;

/** Keeps nothing. */
export const noJournal: Journal = {
  health: () => "off",
  listen: () => nothing,
  load: async () => null,
  write: async () => true,
  adopt: async () => [],
  get: never,
  put: never,
  clear: never,
  close: never,
};

export const systemClock: Clock = {
  now: () => Date.now(),
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
};

/** A random UUID, also on pages that are not secure, which have no `crypto.randomUUID`: a blob's address ends with one. */
export const uuid = (): string => crypto.randomUUID?.() ?? URL.createObjectURL(new Blob()).slice(-36);

/** What the core runs with where there is no browser: Node, a worker, a server that renders. */
export function memoryEnvironment(): Environment {
  const kept = new Map<string, string>();
  return {
    fetch: (url, init) => fetch(url, init),
    clock: systemClock,
    page: { hidden: () => false, listen: () => nothing },
    journal: () => noJournal,
    channel: () => ({ post: nothing, listen: nothing, close: nothing }),
    tab: {
      getItem: (name) => kept.get(name) ?? null,
      setItem: (name, value) => void kept.set(name, value),
      removeItem: (name) => void kept.delete(name),
    },
    uuid,
    random: Math.random,
  };
}
