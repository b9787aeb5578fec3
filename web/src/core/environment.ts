/** What is there to run with. */

import { indexedDbJournal } from "./indexeddb.js";
import { memoryEnvironment } from "./memory.js";
import { browserFetch, browserPage, tabChannel } from "./page.js";
import type { Environment, Journal } from "./types.js";

let shared: Environment | undefined;

/** The environment of this page or process, made when it is first asked for. */
export const defaultEnvironment = (): Environment =>
  (shared ??= typeof document === "undefined" ? memoryEnvironment() : browserEnvironment());

/** What is missing (a page may be refused its storage) is as in a process: there until the page is gone. */
function browserEnvironment(): Environment {
  const memory = memoryEnvironment();
  const page = browserPage();
  const channel = (name: string) => tabChannel(name, page);
  const journals = new Map<string, Journal>();
  const journal = (person: string): Journal => {
    const name = `asyouwere ${person}`;
    let made = journals.get(person);
    if (!made) {
      const { clock, uuid } = memory;
      const parts = { name, clock, page, uuid, channel: channel(name), locks: navigator.locks };
      made = indexedDbJournal({ ...parts, factory: indexedDB });
      journals.set(person, made);
    }
    return made;
  };
  return {
    ...memory,
    ...(allowed(() => indexedDB) && { journal }),
    fetch: browserFetch,
    page,
    channel,
    tab: allowed(() => sessionStorage) ?? memory.tab,
  };
}

/** What may be touched, or undefined: storage that a page is refused throws. */
function allowed<T>(get: () => T): T | undefined {
  try {
    return get();
  } catch {
    return undefined;
  }
}
