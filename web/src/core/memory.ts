/** A world without a browser: a journal in memory, no other tabs, a page that is always looked at. */

import type { Channel, Clock, Environment, Journal, Json, JournalRecord, Page } from "./types.js";

/** Lives as long as the process: each session's newest copy, and the small values. */
export function memoryJournal(): Journal {
  const kept = new Map<string, unknown>();
  return {
    health: () => "off",
    listen: () => () => {},
    load: async (session) => (kept.get("/" + session) as JournalRecord | undefined) ?? null,
    write: async (record) => Boolean(kept.set("/" + record.session, record)),
    adopt: async () => [],
    get: async (name) => kept.get(name) as Json | undefined,
    put: async (name, value) => void kept.set(name, value),
    clear: async () => kept.clear(),
    close: async () => {},
  };
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
};

export const noPage: Page = { hidden: () => false, listen: () => () => {} };

export const noChannel: Channel = { post() {}, listen() {}, close() {} };

/** A random UUID; `crypto.randomUUID` is there for secure pages only. */
export const uuid = (): string =>
  "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (digit) =>
    (Number(digit) ^ (crypto.getRandomValues(new Uint8Array(1))[0]! & (15 >> (Number(digit) / 4)))).toString(16),
  );

/** What the core runs with where there is no browser: Node, a worker, a server that renders. */
export function memoryEnvironment(): Environment {
  const journals: Record<string, Journal> = {};
  const kept = new Map<string, string>();
  return {
    fetch: (url, init) => fetch(url, init),
    clock: systemClock,
    page: noPage,
    journal: (person) => (journals["/" + person] ??= memoryJournal()),
    channel: () => noChannel,
    tab: {
      getItem: (name) => kept.get(name) ?? null,
      setItem: (name, value) => void kept.set(name, value),
      removeItem: (name) => void kept.delete(name),
    },
    uuid,
    random: Math.random,
  };
}
