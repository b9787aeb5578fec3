/** Which values of states, changes and answers are sealed, and doing it. */

import { below, keysOf } from "../core/pointers.js";
import { Refused } from "../core/refused.js";
import type { Changes, Delta, Json, Pointer, State } from "../core/types.js";
import { isList, isObject, member, OPENED_DEPTH, put, type Maybe } from "../core/values.js";
import type { Kind } from "./tokens.js";

/** Seals or opens the JSON of one value; `tokens` are of its kind. */
export type Each = (value: Json, kind: Kind, place: string) => Promise<Json>;

const parentOf = (pointer: Pointer): Pointer => pointer.slice(0, pointer.lastIndexOf("/"));

/** The value at a pointer; none if there is none. */
export const at = (state: Json, pointer: Pointer): Maybe =>
  keysOf(pointer).reduce<Maybe>(
    (value, key) => (isList(value) ? value[Number(key)] : isObject(value) ? member(value, key) : undefined),
    state,
  );

/** A value that stands at a pointer, with everything in it done that has an address or stands in a list. */
export async function within(value: Json, pointer: Pointer, each: Each): Promise<Json> {
  const isOpen = keysOf(pointer).length < OPENED_DEPTH;
  if (isOpen && isList(value)) return items(value, pointer, each);
  if (!isOpen || !isObject(value)) return each(value, "part", pointer);
  const keys = Object.keys(value);
  const done = await Promise.all(keys.map((key) => within(value[key]!, below(pointer, key), each)));
  const made: State = {};
  keys.forEach((key, index) => put(made, key, done[index]!));
  return made;
}

export const items = (list: Json[], pointer: Pointer, each: Each): Promise<Json[]> =>
  Promise.all(list.map((item) => each(item, "item", pointer)));

/** Changes, sealed. `after`: the state that they lead to, which says what is a list. */
export async function sealChanges(changes: Changes, after: State, each: Each): Promise<Changes> {
  const done: Changes = { ...changes };
  if (changes.set) {
    done.set = {};
    for (const [pointer, value] of Object.entries(changes.set)) {
      const list = parentOf(pointer);
      done.set[pointer] = await (isList(at(after, list)) ? each(value, "item", list) : within(value, pointer, each));
    }
  }
  if (changes.append) {
    done.append = {};
    for (const [pointer, list] of Object.entries(changes.append)) done.append[pointer] = await items(list, pointer, each);
  }
  return done;
}

/** What an answer sets at a pointer, opened: a sealed item is one, whatever its address looks like. */
export function opened(value: Json, pointer: Pointer, each: Each): Promise<Json> {
  const isItem = isObject(value) && Object.keys(value).join() === "encrypted" && String(value["encrypted"]).includes(".item.");
  return isItem ? each(value, "item", parentOf(pointer)) : within(value, pointer, each);
}

/** The changes of an answer, opened. */
export async function openDelta(delta: Delta, each: Each): Promise<Delta> {
  const all = Object.entries(delta.set).map(async ([pointer, value]) => [pointer, await opened(value, pointer, each)] as const);
  return { ...delta, set: Object.fromEntries(await Promise.all(all)) };
}

/** A value that nobody sealed. */
export function plain(kind: Kind, place: string): never {
  throw new Refused("tampered", { kind, place }, 422, "a value that is not sealed");
}
