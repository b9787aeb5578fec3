/**
 * What leads from one state to another, part by part, and doing it. States are never changed: a result shares with
 * what it was made from all that did not change, so comparing costs what changed.
 */

import { below, keysOf } from "./pointers.js";
import { Refused } from "./refused.js";
import type { Changes, Delta, Json, Pointer, State } from "./types.js";
import { OPENED_DEPTH, isList, isObject, isSame, member, put, type Maybe } from "./values.js";

/** The changes from one state to another; null if they are the same. */
export function diff(before: State, after: State): Changes | null {
  const set: Record<Pointer, Json> = {};
  const append: Record<Pointer, Json[]> = {};
  const remove: Pointer[] = [];

  const compare = (was: State, is: State, at: Pointer, depth: number): void => {
    if (was === is) return;
    for (const key of Object.keys(was)) {
      if (member(was, key) !== undefined && member(is, key) === undefined) remove.push(below(at, key));
    }
    for (const key of Object.keys(is)) {
      const value = member(is, key);
      const old = member(was, key);
      if (value === old || value === undefined) continue;
      const address = below(at, key);
      const opened = depth < OPENED_DEPTH;
      if (opened && isObject(old) && isObject(value)) compare(old, value, address, depth + 1);
      else if (opened && isList(old) && isList(value) && (value.length || !old.length)) compareLists(old, value, address);
      else if (!isSame(old, value)) set[address] = value;
    }
  };

  const compareLists = (was: Json[], is: Json[], at: Pointer): void => {
    const kept = Math.min(was.length, is.length);
    for (let index = 0; index < kept; index++) {
      if (was[index] !== is[index] && !isSame(was[index], is[index])) set[below(at, index)] = is[index]!;
    }
    if (is.length > kept) append[at] = is.slice(kept);
    for (let index = kept; index < was.length; index++) remove.push(below(at, index));
  };

  compare(before, after, "", 1);
  const changes: Changes = {};
  if (Object.keys(set).length) changes.set = set;
  if (Object.keys(append).length) changes.append = append;
  if (remove.length) changes.remove = remove;
  return Object.keys(changes).length ? changes : null;
}

/**
 * A state after changes: removed, then set in order, then appended. Missing objects on the way are made, and the
 * list that is appended to. Throws invalid_address, missing_parent, list_gap, not_a_list.
 */
export function apply(state: State, changes: Changes | Delta): State {
  const fresh = new Set<Maybe>(); // containers made here, which may be changed in place

  /** The node with another value at the rest of the keys; undefined takes what is there away, of a list all behind. */
  const edit = (node: Maybe, [key, ...rest]: string[], value: (old: Maybe) => Maybe): Maybe => {
    if (key === undefined) return value(node);
    if (node !== undefined && !isObject(node) && !isList(node)) throw new Refused("missing_parent");
    const old = node && member(node as State, key);
    const now = edit(old, rest, value);
    if (now === old) return node;
    const copy = fresh.has(node) ? node! : isList(node) ? [...node] : { ...node };
    fresh.add(copy);
    if (isList(copy)) {
      if (!(Number(key) <= copy.length)) throw new Refused("list_gap");
      if (now === undefined) copy.length = Number(key);
    }
    if (now !== undefined) put(copy as State, key, now);
    else if (isObject(copy)) delete copy[key];
    return copy;
  };

  const { remove = [], set = {}, append = {} } = changes as Changes;
  let root: Maybe = state;
  for (const pointer of remove) root = edit(root, keysOf(pointer), () => undefined);
  for (const pointer of Object.keys(set)) root = edit(root, keysOf(pointer), () => set[pointer]);
  for (const pointer of Object.keys(append)) {
    root = edit(root, keysOf(pointer), (list = []) => {
      if (!isList(list)) throw new Refused("not_a_list");
      return [...list, ...append[pointer]!];
    });
  }
  return root as State;
}
