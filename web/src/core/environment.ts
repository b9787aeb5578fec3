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
  const journal = (person: string): Journal => indexedDbJournal(`asyouwere ${person}`, world);
  const world: Environment = {
    ...memory,
    ...(allowed(() => indexedDB) && { journal }),
    fetch: browserFetch,
    page,
    channel: (name) => tabChannel(name, page),
    tab: allowed(() => sessionStorage) ?? memory.tab,
  };
  return world;
}

/** What may be touched, or undefined: storage that a page is refused throws, and so does a full one. */
export function allowed<T>(get: () => T): T | undefined {
  try {
    return get();
  } catch {
    return undefined;
  }
}
