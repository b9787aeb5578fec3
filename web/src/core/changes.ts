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
  const changes: Changes = {};
  const set = (address: Pointer, value: Json): void => void ((changes.set ??= {})[address] = value);
  const remove = (address: Pointer): void => void (changes.remove ??= []).push(address);

  const compare = (was: State, is: State, at: Pointer, depth: number): void => {
    for (const key of Object.keys({ ...was, ...is })) {
      const value = member(is, key);
      const old = member(was, key);
      if (value === old) continue;
      const address = below(at, key);
      if (value === undefined) remove(address);
      else if (depth < OPENED_DEPTH && isObject(old) && isObject(value)) compare(old, value, address, depth + 1);
      else if (depth < OPENED_DEPTH && isList(old) && isList(value) && (value.length || !old.length)) {
        old.forEach((item, index) => {
          if (index >= value.length) remove(below(address, index));
          else if (!isSame(item, value[index])) set(below(address, index), value[index]!);
        });
        if (value.length > old.length) (changes.append ??= {})[address] = value.slice(old.length);
      } else if (!isSame(old, value)) set(address, value);
    }
  };

  if (before !== after) compare(before, after, "", 1);
  return Object.keys(changes).length ? changes : null;
}

/**
 * A state after changes: removed, then set in order, then appended. Missing objects on the way are made, and the
 * list that is appended to. Throws invalid_address for what can't be there.
 */
export function apply(state: State, changes: Changes | Delta): State {
  const fresh = new Set<Maybe>(); // containers made here, which may be changed in place

  /** The node with another value at the rest of the keys; undefined takes what is there away, of a list all behind. */
  const edit = (node: Maybe, [key, ...rest]: string[], value: (old: Maybe) => Maybe): Maybe => {
    if (key === undefined) return value(node);
    if (node !== undefined && !isObject(node) && !isList(node)) throw new Refused("invalid_address");
    const old = node && member(node as State, key);
    const now = edit(old, rest, value);
    if (now === old) return node;
    const copy = fresh.has(node) ? node! : isList(node) ? [...node] : { ...node };
    fresh.add(copy);
    if (isList(copy) && !(+key <= copy.length)) throw new Refused("invalid_address"); // a list has no gaps
    if (now !== undefined) put(copy as State, key, now);
    else if (isList(copy)) copy.length = +key;
    else delete (copy as State)[key];
    return copy;
  };

  const { remove = [], set = {}, append = {} } = changes as Changes;
  let root: Maybe = state;
  for (const pointer of remove) root = edit(root, keysOf(pointer), () => undefined);
  for (const pointer of Object.keys(set)) root = edit(root, keysOf(pointer), () => set[pointer]);
  for (const pointer of Object.keys(append)) {
    root = edit(root, keysOf(pointer), (list = []) => {
      if (!isList(list)) throw new Refused("invalid_address");
      return [...list, ...append[pointer]!];
    });
  }
  return root as State;
}
