/** The cases of spec/, which every language runs. */

import { readFileSync } from "node:fs";

export const cases = <T>(name: string): (T & { name: string })[] =>
  JSON.parse(readFileSync(new URL(`../../spec/cases/${name}.json`, import.meta.url), "utf8")) as (T & { name: string })[];

/** Freezes a value and all in it: whoever changes it in place is found out. */
export function frozen<T>(value: T): T {
  if (typeof value === "object" && value !== null) Object.values(Object.freeze(value)).forEach(frozen);
  return value;
}
