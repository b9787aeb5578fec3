/** The HTTPS functions. */

import { request, type Place } from "./requests.js";
import type { Transport } from "./types.js";

/** A transport that says where it asks, for an entry that asks there for more. */
export interface Placed extends Transport {
  _place?: Place;
}

/**
 * Where each operation is asked, with what its address takes of the arguments; if it is not `POST` and its name. An entry
 * that not every page has adds its own.
 */
export const WAYS: { [operation: string]: string } = {
  create: "POST /sessions",
  list: "GET /sessions",
  get: "GET /sessions/:session_id",
  change: "PATCH /sessions/:session_id",
  remove: "DELETE /sessions/:session_id",
  snapshots: "GET /sessions/:session_id/snapshots",
  diff: "GET /sessions/:session_id/diff",
  label: "PUT /sessions/:session_id/snapshots/:number/label",
  save: "POST /session-snapshot-save",
  restore: "POST /session-snapshot-restore",
  changes: "POST /session-snapshot-restore",
  parts: "POST /session-snapshot-restore",
};

/** Method, address and the other arguments of an operation. */
export function wayOf(operation: string, args: object): [method: string, path: string, body: Record<string, string>] {
  const body = { ...args } as Record<string, string>;
  const [method, path] = (WAYS[operation] ?? "POST /sessions/:session_id/" + operation).split(" ") as [string, string];
  const taken = path.replace(/:(\w+)/g, (_, name: string) => {
    const value = body[name]!;
    delete body[name];
    return value;
  });
  return [method, taken, body];
}

/** A transport to the functions at a URL such as `https://PROJECT.supabase.co/functions/v1`. */
export const httpsTransport = (place: Place): Placed => ({
  call: (operation, args, options) => request(place, ...wayOf(operation, args), (response) => response.json(), options),
  _place: place,
});
