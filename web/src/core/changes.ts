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
  const mine = new Set<Json>(); // containers made here, which may be changed in place
  let root: State = state;

  /** A container that may be changed, put in place of the one that is there. */
  const own = <T extends State | Json[]>(container: T, place: (copy: T) => void): T => {
    if (mine.has(container)) return container;
    const copy = (isList(container) ? container.slice() : { ...container }) as T;
    mine.add(copy);
    place(copy);
    return copy;
  };

  /** The container that a pointer's last key is in, to be changed; null if there is none and it is not to be made. */
  const holder = (keys: string[], make: boolean): State | Json[] | null => {
    let node: State | Json[] = own(root, (copy) => (root = copy));
    for (const key of keys.slice(0, -1)) {
      const inside: State | Json[] = node;
      let next: Maybe = isList(inside) ? inside[Number(key)] : member(inside, key);
      if (next === undefined && make && !isList(inside)) next = {};
      if (!isObject(next) && !isList(next)) {
        if (make) throw new Refused("missing_parent");
        return null;
      }
      node = own(next, (copy) => (isList(inside) ? (inside[Number(key)] = copy) : put(inside, key, copy)));
    }
    return node;
  };

  for (const pointer of changes.remove ?? []) {
    const keys = keysOf(pointer);
    const key = keys.at(-1)!;
    const node = holder(keys, false);
    if (isList(node)) node.length = Math.min(node.length, Number(key)); // only from the end
    else if (node) delete node[key];
  }
  for (const [pointer, value] of Object.entries(changes.set ?? {})) {
    const keys = keysOf(pointer);
    if (!keys.length) {
      root = value as State;
      continue;
    }
    const key = keys.at(-1)!;
    const node = holder(keys, true)!;
    if (!isList(node)) put(node, key, value);
    else if (!(Number(key) <= node.length)) throw new Refused("list_gap", { address: pointer });
    else node[Number(key)] = value;
  }
  for (const [pointer, items] of Object.entries("append" in changes ? (changes.append ?? {}) : {})) {
    const keys = keysOf(pointer);
    const key = keys.at(-1)!;
    const node = holder(keys, true)!;
    const list = isList(node) ? node[Number(key)] : (member(node, key) ?? []);
    if (!isList(list)) throw new Refused("not_a_list", { address: pointer });
    const place = (value: Json[]): void => void (isList(node) ? (node[Number(key)] = value) : put(node, key, value));
    if (!mine.has(list)) own(list, place).push(...items);
    else list.push(...items);
  }
  return root;
}
