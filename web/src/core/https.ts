/** The HTTPS functions. */

import type { Operation } from "./operations.js";
import { Refused } from "./refused.js";
import { request, type Place } from "./requests.js";
import type { Json, Look, Transport } from "./types.js";

/** The method, and what comes after the session and the turn; a whole address begins with a slash. */
const ROUTES: Record<Operation, string> = {
  create: "POST",
  get: "GET",
  change: "PATCH",
  list: "GET",
  remove: "DELETE",
  save: "POST /session-snapshot-save",
  restore: "POST /session-snapshot-restore",
  changes: "POST /session-snapshot-restore",
  parts: "POST /session-snapshot-restore",
  snapshots: "GET snapshots",
  diff: "GET diff",
  revert: "POST revert",
  label: "PUT label",
  fork: "POST fork",
  begin: "POST turns",
  chunks: "POST chunks",
  finish: "POST finish",
  stop: "POST stop",
  turn: "GET",
  latest: "GET turns/latest",
  offer: "POST offer",
  claim: "POST claim",
};

/** A transport to the functions at a URL such as `https://PROJECT.supabase.co/functions/v1`. */
export function httpsTransport(place: Place): Transport {
  return {
    call(operation, args, options) {
      const [method, end = ""] = ROUTES[operation].split(" ") as [string, string?];
      let { session_id, turn_id, ...body } = args as Record<string, string>;
      let path = end;
      if (end[0] === "/") body = args as typeof body;
      else {
        if (end === "turns") {
          body = { ...body, turn_id: turn_id! };
          turn_id = undefined;
        }
        const { number, ...named } = body;
        if (end === "label") body = named;
        path = ["/sessions", session_id, turn_id && "turns/" + turn_id, end === "label" && "snapshots/" + number, end]
          .filter(Boolean)
          .join("/");
      }
      const isGet = method === "GET";
      if (isGet) path += "?" + new URLSearchParams(body);
      return request(place, method, path, isGet ? undefined : body, (response) => response.json(), options);
    },

    async *stream(session, turn, after, signal) {
      const path = `/sessions/${session}/turns/${turn}?after=${after}`;
      const from = { ...place, headers: { Accept: "text/event-stream" } };
      const body = await request(from, "GET", path, undefined, ({ body }) => body, { signal });
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
            looks.push(lookOf(event, +id, JSON.parse(data) as Look));
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

const EVENT = /(?:event: (\w+)\n)?(?:id: (\d+)\n)?data: (.*)\n\n/g;

/** What an event says. Throws what was refused. */
function lookOf(event: string | undefined, id: number, said: Look): Look {
  if (event === "error") throw new Refused((said as Look & { code: string }).code, {}, +said.status);
  if (event) return { ...said, chunks: [], next_seq: id };
  return { chunks: [said as unknown as Json], next_seq: id + 1, status: "running", number: null, position: null };
}
