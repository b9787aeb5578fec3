import type { Locks } from "../core/types.js";

/**
 * Resolves when this tab is the one of all in this browser that has the name, and keeps it until it is gone: for what
 * only one may do. `waiting` is called if another has it now. Without locks (a page that is refused storage) it has it.
 */
export function onlyTab(name: string, waiting: () => void = () => {}, locks: Locks | undefined = globalThis.navigator?.locks): Promise<void> {
  return new Promise((resolve) => {
    const keep = (): Promise<void> => {
      resolve();
      return new Promise(() => {});
    };
    const ask = async (): Promise<void> => {
      if (!locks) return resolve();
      await locks.request(name, { ifAvailable: true }, async (lock) => (lock ? keep() : waiting()));
      await locks.request(name, {}, keep); // where another had it
    };
    ask().catch(() => resolve());
  });
}
