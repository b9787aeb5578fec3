/** Drafts of several tabs of one browser: each its own, none lost. */

import { describe, expect, test } from "vitest";
import { draftOf } from "../src/helpers/index.js";
import { noJournal } from "../src/core/memory.js";
import type { Journal, Json, Locks, PageEvent } from "../src/core/types.js";
import { world } from "./server.js";

/** One browser: what its tabs share, and tabs that can be closed, reloaded and duplicated. */
function browser() {
  const kept = new Map<string, Json>();
  const held = new Set<string>();
  const journal: Journal = {
    ...noJournal,
    get: async (name) => kept.get(name),
    put: async (name, value) => void (value === undefined ? kept.delete(name) : kept.set(name, value)),
  };

  const tab = (remembered: [string, string][] = [], refuses?: string) => {
    const listeners = new Set<(event: PageEvent) => void>();
    const memory = new Map(remembered);
    const locks: Locks = {
      async request(name, { ifAvailable, signal }, hold) {
        if (refuses) throw new DOMException("not here", refuses);
        while (held.has(name)) {
          if (ifAvailable) return hold(null);
          if (signal?.aborted) throw signal.reason;
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        held.add(name);
        mine.add(name);
        const result = await hold({});
        held.delete(name);
        return result;
      },
    };
    const mine = new Set<string>();
    const environment = world({
      journal: () => journal,
      page: { hidden: () => false, listen: (listener) => (listeners.add(listener), () => void listeners.delete(listener)) },
      tab: {
        getItem: (name) => memory.get(name) ?? null,
        setItem: (name, value) => void memory.set(name, value),
        removeItem: (name) => void memory.delete(name),
      },
    });
    return {
      memory,
      draft: (name = "s") => draftOf({ url: "http://nowhere.test", person: "ada", environment }, name, locks),
      say: (event: PageEvent) => listeners.forEach((listener) => listener(event)),
      /** Killed: nothing is said, the browser frees its locks. */
      kill: () => mine.forEach((name) => held.delete(name)),
    };
  };
  return { tab };
}

describe("draftOf", () => {
  test("two tabs: what is typed in one does not go over the other's", async () => {
    const { tab } = browser();
    const [one, two] = [tab().draft(), tab().draft()];
    expect([await one.read(), await two.read()]).toEqual(["", ""]);
    await one.write("half a thought");
    await two.write("another");
    expect([await one.read(), await two.read()]).toEqual(["half a thought", "another"]);
  });

  test("what a tab has left is found by the next, and by one that has nothing of its own", async () => {
    const { tab } = browser();
    const tabs = [tab(), tab(), tab()];
    const drafts = tabs.map((one) => one.draft());
    for (const [index, draft] of drafts.entries()) await draft.write(`text ${index}`);
    tabs[0]!.kill();
    tabs[2]!.say("leaving");
    const next = [tab().draft(), tab().draft(), tab().draft()];
    const found: string[] = [];
    for (const draft of next) found.push(await draft.read());
    expect(found).toEqual(["text 0", "text 2", ""]);
    expect(await drafts[1]!.read()).toBe("text 1");
  });

  test("a tab that is reloaded has its own again, though the page before holds it for a moment", async () => {
    const { tab } = browser();
    const [other, before] = [tab(), tab()];
    await other.draft().write("other");
    await before.draft().write("mine");
    const reading = tab([...before.memory]).draft().read();
    setTimeout(() => before.kill(), 50);
    expect(await reading).toBe("mine");
  });

  test("a tab that is duplicated has a place of its own", async () => {
    const { tab } = browser();
    const first = tab();
    await first.draft().write("mine");
    const copy = tab([...first.memory]).draft();
    expect(await copy.read()).toBe("");
    await copy.write("the copy's");
    expect(await first.draft().read()).toBe("mine");
  });

  test("who writes without having looked writes over nothing that was left", async () => {
    const { tab } = browser();
    const gone = tab();
    await gone.draft().write("left");
    gone.kill();
    const hasty = tab();
    await hasty.draft().write("hasty");
    expect(await tab().draft().read()).toBe("left");
    expect(await hasty.draft().read()).toBe("hasty");
  });

  test("closed and shown again in the same page it is the same; shown nowhere it can be found", async () => {
    const { tab } = browser();
    const page = tab();
    const draft = page.draft();
    await draft.write("here");
    draft.close();
    const again = page.draft();
    expect(await again.read()).toBe("here");
    again.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await tab().draft().read()).toBe("here");
    page.draft().close(); // never used: nothing to close
  });

  test.each(["SecurityError", "AbortError"])("a browser that refuses locks (%s) keeps it all the same", async (refuses) => {
    const { tab } = browser();
    const page = tab([], refuses);
    await page.draft().write("kept");
    expect(await page.draft().read()).toBe("kept");
    expect(await tab([...page.memory], refuses).draft().read()).toBe("kept");
  });
});
