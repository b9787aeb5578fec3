/** The HTTPS functions. */

import { Refused } from "./refused.js";
import { request, type Place } from "./requests.js";
import type { Look, Transport } from "./types.js";

/** Where each operation is asked, with what its address takes of the arguments; if it is not `POST` and its name; an entry that few pages use adds its own. */
export const WAYS: { [operation: string]: string } = {
  create: "POST /sessions",
  list: "GET /sessions",
  get: "GET /sessions/:session_id",
  change: "PATCH /sessions/:session_id",
  remove: "DELETE /sessions/:session_id",
  snapshots: "GET /sessions/:session_id/snapshots",
  diff: "GET /sessions/:session_id/diff",
  label: "PUT /sessions/:session_id/snapshots/:number/label",
  turn: "GET /sessions/:session_id/turns/:turn_id",
  begin: "POST /sessions/:session_id/turns",
  latest: "GET /sessions/:session_id/turns/latest",
  offer: "POST /sessions/offer",
  claim: "POST /sessions/claim",
  save: "POST /session-snapshot-save",
  restore: "POST /session-snapshot-restore",
  changes: "POST /session-snapshot-restore",
  parts: "POST /session-snapshot-restore",
};

/** Method, address and the other arguments of an operation. */
function wayOf(operation: string, args: object): [method: string, path: string, body: Record<string, string>] {
  const body = { ...args } as Record<string, string>;
  const way = WAYS[operation] ?? `POST /sessions/:session_id${"turn_id" in body ? "/turns/:turn_id/" : "/"}${operation}`;
  const [method, path] = way.split(" ") as [string, string];
  const taken = path.replace(/:(\w+)/g, (_, name: string) => {
    const value = body[name]!;
    delete body[name];
    return value;
  });
  return [method, taken, body];
}

/** A transport to the functions at a URL such as `https://PROJECT.supabase.co/functions/v1`. */
export function httpsTransport(place: Place): Transport {
  return {
    call: (operation, args, options) => request(place, ...wayOf(operation, args), (response) => response.json(), options),

    async *stream(session_id, turn_id, after, signal) {
      const from = { ...place, headers: { Accept: "text/event-stream" } };
      const body = await request(from, ...wayOf("turn", { session_id, turn_id, after }), ({ body }) => body, { signal });
      // none: it is over, and all is known; or this fetch can't stream
      const reader = body?.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
      const stop = (): void => void reader?.cancel().catch(() => {});
      let text = "";
      try {
        while (reader) {
          const cancel = place.environment.clock.after(45_000, stop); // there is a sign of life every 15 s
          const { done, value } = await reader.read();
          cancel();
          if (done) return;
          const looks: Look[] = [];
          text = (text + value).replace(EVENT, (_, event: string | undefined, id: string, data: string) => {
            const said = JSON.parse(data) as Look & { code: string };
            if (event === "error") throw new Refused(said.code, {}, +said.status);
            const end = { status: "running", number: null, position: null } as const;
            looks.push(event ? { ...said, chunks: [], next_seq: +id } : { ...end, chunks: [said as never], next_seq: +id + 1 });
            return "";
          });
          yield* looks;
        }
      } finally {
        stop();
      }
    },
  };
}

/** One event: a chunk, or by its name an end, or what was refused. */
const EVENT = /(?:event: (\w+)\n)?(?:id: (\d+)\n)?data: (.*)\n\n/g;
