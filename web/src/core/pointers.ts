/** JSON Pointers (RFC 6901), which name the parts of a state. */

import { Refused } from "./refused.js";
import type { Pointer } from "./types.js";

/** The keys of a pointer. Throws invalid_address. */
export function keysOf(pointer: Pointer): string[] {
  if (/^[^/]|~(?![01])/.test(pointer)) throw new Refused("invalid_address", { address: pointer });
  return pointer.split("/").slice(1).map((key) => key.replace(/~1/g, "/").replace(/~0/g, "~"));
}

/** The pointer of a member of what is at a pointer. */
export const below = (pointer: Pointer, key: string | number): Pointer =>
  `${pointer}/${String(key).replace(/~/g, "~0").replace(/\//g, "~1")}`;
