/** JSON values, compared and told apart as the server does: objects open down to depth 3, lists met on the way. */

import type { Json, State } from "./types.js";

/** A value, or that there is none: an absent member and one that is `undefined` are the same. */
export type Maybe = Json | undefined;

/** The depth from which on containers are kept whole; the state itself is at 0. */
export const OPENED_DEPTH = 3;

export const isList = Array.isArray as (value: Maybe) => value is Json[];

/** What is no object, `Object` makes one of. */
export const isObject = (value: Maybe): value is State => Object(value) === value && !isList(value);

/** The value of an object's own member; none for what objects inherit, such as `constructor`. */
export const member = (object: State, key: string): Maybe => (Object.hasOwn(object, key) ? object[key] : undefined);

/** Sets an object's own member in place, `__proto__` included. */
export const put = (object: State, key: string, value: Json): void =>
  void Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });

/** Whether two values are the same JSON, whatever the order of keys. What is one reference is not looked into. */
export function isSame(a: Maybe, b: Maybe): boolean {
  if (a === b) return true;
  if (isList(a)) return isList(b) && a.length === b.length && a.every((item, index) => isSame(item, b[index]));
  // a member that is undefined counts as absent, so counting keys would not do
  return isObject(a) && isObject(b) && Object.keys({ ...a, ...b }).every((key) => isSame(member(a, key), member(b, key)));
}
