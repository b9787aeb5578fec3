/**
 * An edited copy of a state, brought forward onto what the server has by now.
 *
 * A client goes on editing while its save is under way, and while others save. `sent` is the state that its edits
 * began from and that the server knows of, `theirs` what the server has now, `mine` the copy with the edits. Unlike
 * merging, which refuses what it can't bring together, this always ends with a state: `mine` stands, and each place
 * where that was not plain is told as a doubt. What `theirs` had there is in the session's history.
 *
 * 1. Objects open in both go key by key, as far as `sent` had none there as if it had been empty.
 * 2. Lists open in both go item by item as far as `sent` goes, what `theirs` appended comes next, what `mine` appended
 *    last. Items that `mine` cut off stay cut, items that `theirs` appended stay; that both happened is a doubt.
 * 3. Everything else goes as a whole: what only one side changed is taken, what both changed to the same once; of
 *    what both changed differently `mine` stands, and it is a doubt.
 *
 * The cases are in spec/cases/rebasing.json, for every language.
 */

import { below } from "./pointers.js";
import type { Json, Pointer, State } from "./types.js";
import { OPENED_DEPTH, isList, isObject, isSame, member, type Maybe } from "./values.js";

/**
 * Where the items that a save appended stand elsewhere than it had them, by the list's pointer: from item `first` of
 * `sent` on they stand `shift` further down in `theirs`, behind what others had appended before.
 */
export type Moved = Record<Pointer, readonly [first: number, shift: number]>;

/** A place where `mine` stands though `theirs` is something else; undefined: nothing there. */
export interface Doubt {
  /** Pointer into the result; of an item that `mine` has cut off, into `theirs`. */
  address: Pointer;
  base: Maybe;
  mine: Maybe;
  theirs: Maybe;
}

/**
 * `mine` as if it had been made from `theirs`, and what was not plain about that, from the root down. isYetToCome: a
 * container that `theirs` has not is on its way there, by another; so only the edits in it are taken.
 */
export function rebase(
  sent: State,
  theirs: State,
  mine: State,
  moved: Moved = {},
  isYetToCome = false,
): { state: State; doubts: Doubt[] } {
  const doubts: Doubt[] = [];

  const doubt = (address: Pointer, base: Maybe, mine: Maybe, theirs: Maybe): void => {
    doubts.push({ address, base, mine, theirs });
  };

  const values = (was: Maybe, their: Maybe, my: Maybe, at: Pointer, depth: number): Maybe => {
    if (my === was) return their;
    if (their === was) return my;
    if (depth < OPENED_DEPTH) {
      if (isYetToCome && their === undefined) their = isObject(was) ? {} : isList(was) ? [] : their;
      if (isObject(their) && isObject(my)) return objects(isObject(was) ? was : {}, their, my, at, depth);
      if (isList(their) && isList(my)) return lists(isList(was) ? was : [], their, my, at);
    }
    if (isSame(their, my)) return my;
    if (isSame(my, was)) return their;
    if (!isSame(their, was)) doubt(at, was, my, their);
    return my;
  };

  const objects = (was: State, their: State, my: State, at: Pointer, depth: number): State => {
    const members = Object.keys({ ...their, ...my }).map((key) => {
      return [key, values(member(was, key), member(their, key), member(my, key), below(at, key), depth + 1)] as const;
    });
    return shared(Object.fromEntries(members.filter(([, value]) => value !== undefined)) as State, their, my);
  };

  const lists = (was: Json[], their: Json[], my: Json[], at: Pointer): Json[] => {
    const [first, shift] = moved[at] ?? [was.length, 0];
    const begun = Math.max(was.length + shift, 0); // from here on theirs has what sent has not
    const others = their.slice(first, Math.max(first + shift, first));
    const result: Json[] = [];
    const take = (from: number, to: number): void => {
      for (let index = from; index < to; index++) {
        const place = index < first ? index : index + shift;
        const old = was[index];
        const theirItem = index < first && index >= first + shift ? undefined : their[place];
        const myItem = my[index];
        const value = myItem === old || isSame(myItem, old) ? theirItem : myItem;
        if (value === myItem && !isSame(theirItem, old) && !isSame(theirItem, myItem)) {
          doubt(below(at, myItem === undefined ? place : result.length), old, myItem, theirItem);
        }
        if (value !== undefined) result.push(value);
      }
    };
    if (my.length < was.length && (others.length || their.length > begun)) doubt(at, was, my, their);
    take(0, Math.min(first, was.length));
    result.push(...others);
    take(first, was.length);
    result.push(...their.slice(begun), ...my.slice(was.length));
    return shared(result, their, my);
  };

  return { state: values(sent, theirs, mine, "", 0) as State, doubts };
}

/** The one of some containers that is the result already, so that what did not change keeps its reference. */
const shared = <T extends State | Json[]>(result: T, ...candidates: T[]): T =>
  candidates.find((one) => {
    const keys = Object.keys(one) as (keyof T)[];
    return keys.length === Object.keys(result).length && keys.every((key) => one[key] === result[key]);
  }) ?? result;

/**
 * Where what a save appended came to stand. base: what the save was made from; sent: with it; theirs: what the server
 * has since. Found by value from the end on, so it holds for a later state of the server, too.
 */
export function moves(base: State, sent: State, theirs: State): Moved {
  const found: Moved = {};
  const look = (was: Maybe, my: Maybe, their: Maybe, at: Pointer, depth: number): void => {
    if (my === their || my === was || depth >= OPENED_DEPTH) return;
    if (isObject(my) && isObject(their)) {
      for (const key of Object.keys(my)) {
        look(isObject(was) ? member(was, key) : undefined, member(my, key), member(their, key), below(at, key), depth + 1);
      }
    } else if (isList(my) && isList(their)) {
      const first = isList(was) ? was.length : 0;
      if (my.length <= first) return;
      const last = their.length - my.length;
      let shift = last;
      const stands = (by: number): boolean => my.slice(first).every((item, index) => isSame(item, their[first + index + by]));
      while (first + shift >= 0 && !stands(shift)) shift--;
      if (first + shift < 0) shift = last;
      if (shift) found[at] = [first, shift];
    }
  };
  look(base, sent, theirs, "", 0);
  return found;
}
