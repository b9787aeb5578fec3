import { describe, expect, test } from "vitest";
import { apply, diff } from "../src/core/changes.js";
import { below, keysOf } from "../src/core/pointers.js";
import { rebase, type Doubt, type Moved } from "../src/core/rebase.js";
import type { Changes, Json, State } from "../src/core/types.js";
import { OPENED_DEPTH, isList, isObject } from "../src/core/values.js";
import { cases, frozen } from "./cases.js";

describe("pointers", () => {
  for (const { name, pointer, refused } of cases<{ pointer: string; refused?: string }>("pointers")) {
    // how long an address may be is the server's to say
    if (refused === "invalid_address") test(`${name}: refused`, () => expect(() => keysOf(pointer)).toThrow(refused));
    else if (!refused) test(name, () => expect(keysOf(pointer).reduce(below, "")).toBe(pointer));
  }
});

/** A state's parts: what has an address of its own. */
function partsOf(state: State): Record<string, string> {
  const parts: Record<string, string> = {};
  const open = (value: Json, at: string, depth: number): void => {
    if (depth < OPENED_DEPTH && isObject(value)) {
      if (depth) parts[at] = "{}";
      for (const key of Object.keys(value)) open(value[key]!, below(at, key), depth + 1);
    } else if (depth < OPENED_DEPTH && isList(value)) {
      parts[at] = "[]";
      value.forEach((item, index) => (parts[below(at, index)] = JSON.stringify(item)));
    } else parts[at] = JSON.stringify(value);
  };
  open(state, "", 0);
  return parts;
}

describe("splitting", () => {
  for (const { name, state, parts } of cases<{ state: string; parts: Record<string, string> }>("splitting")) {
    if (/"a":1,"a"/.test(state)) continue; // JavaScript knows no key that stands twice
    test(`${name}: a change of each part is a change at its address`, () => {
      const whole = JSON.parse(state) as State;
      expect(partsOf(whole)).toEqual(parts);
      for (const address of Object.keys(parts)) {
        const changed = apply(whole, { set: { [address]: "changed" } });
        expect(diff(whole, changed)).toEqual({ set: { [address]: "changed" } });
      }
    });
  }
});

describe("diffing", () => {
  for (const { name, old, new: after, changes } of cases<{ old: State; new: State; changes: Changes }>("diffing")) {
    test(name, () => {
      expect(diff(frozen(old), frozen(after)) ?? {}).toEqual(changes);
      expect(apply(old, changes)).toEqual(after);
    });
  }
});

describe("changing", () => {
  type Case = { state: State; changes: string; after?: State; refused?: string };
  for (const { name, state, changes, after } of cases<Case>("changing")) {
    if (after) test(name, () => expect(apply(frozen(state), frozen(JSON.parse(changes) as Changes))).toEqual(after));
  }
});

describe("merging", () => {
  type Case = { base: State; theirs: State; changes: Changes; merged?: State; conflicts?: string[] };
  for (const { name, base, theirs, changes, merged, conflicts } of cases<Case>("merging")) {
    test(`${name}: rebased as the server merges`, () => {
      const { state, doubts } = rebase(frozen(base), frozen(theirs), frozen(apply(base, changes)));
      if (merged) expect({ state, doubts }).toEqual({ state: merged, doubts: [] });
      else expect(doubts.length, `${conflicts}`).toBeGreaterThan(0);
    });
  }
});

describe("rebasing", () => {
  type Case = { sent: State; theirs: State; mine: State; moved?: Moved; result: State; doubts: Doubt[] };
  const byAddress = (a: Doubt, b: Doubt): number => (a.address < b.address ? -1 : 1);
  for (const { name, sent, theirs, mine, moved, result, doubts } of cases<Case>("rebasing")) {
    test(name, () => {
      const found = rebase(frozen(sent), frozen(theirs), frozen(mine), moved);
      expect(found.state).toEqual(result);
      expect(found.doubts.sort(byAddress)).toEqual(doubts.sort(byAddress));
    });
    test(`${name}: nothing of ours leaves theirs, nothing of theirs leaves ours`, () => {
      expect(rebase(sent, theirs, sent, moved).state).toBe(theirs);
      expect(rebase(sent, sent, mine).state).toBe(mine);
    });
  }
});

describe("numbers", () => {
  for (const { name, text, refused } of cases<{ text: string; refused?: string }>("numbers")) {
    if (refused) continue; // decided by the server
    test(`${name}: a part with it that is not touched is not sent`, () => {
      const state = JSON.parse(`{"kept":[${text}],"touched":1}`) as State;
      expect(diff(state, { ...state, touched: 2 })).toEqual({ set: { "/touched": 2 } });
    });
  }
});
