/** The HTTPS functions. */

import { Refused } from "./refused.js";
import { request, type Place } from "./requests.js";
import type { Json, Look, Transport } from "./types.js";

const GETS = /^(get|list|snapshots|diff|turn|latest)$/;
/** The methods that are neither GET nor POST. */
const METHODS: { [operation: string]: string } = { change: "PATCH", label: "PUT", remove: "DELETE" };
/** What comes after the session and the turn, if not the operation's name; a whole address begins with a slash. */
const ENDS: { [operation: string]: string } = {
  create: "",
  list: "",
  get: "",
  change: "",
  remove: "",
  turn: "",
  begin: "turns",
  latest: "turns/latest",
  save: "/session-snapshot-save",
  restore: "/session-snapshot-restore",
  changes: "/session-snapshot-restore",
  parts: "/session-snapshot-restore",
};

/** A transport to the functions at a URL such as `https://PROJECT.supabase.co/functions/v1`. */
export function httpsTransport(place: Place): Transport {
  return {
    call(operation, args, options) {
      const method = METHODS[operation] ?? (GETS.test(operation) ? "GET" : "POST");
      let path = ENDS[operation] ?? operation;
      let body = args as Record<string, string>;
      if (path[0] !== "/") {
        /** Takes a member of the arguments into the path. */
        const step = (name: string, before = ""): string => {
          const { [name]: value, ...rest } = body;
          body = rest;
          return value === undefined ? "" : `${before}/${value}`;
        };
        path = "/sessions" + step("session_id") + (operation === "begin" ? "" : step("turn_id", "/turns")) +
          (operation === "label" ? step("number", "/snapshots") : "") + (path && "/" + path);
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
