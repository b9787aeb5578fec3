/** The HTTPS functions. */

import type { Operation } from "./operations.js";
import { Refused } from "./refused.js";
import { request, type Place } from "./requests.js";
import type { Json, Look, Transport } from "./types.js";

const SESSION = "/sessions/{session_id}";
const TURN = SESSION + "/turns/{turn_id}";

const ROUTES: Record<Operation, string> = {
  create: "POST /sessions",
  find: "GET /sessions/by-key",
  get: "GET " + SESSION,
  change: "PATCH " + SESSION,
  list: "GET /sessions",
  remove: "DELETE " + SESSION,
  save: "POST /session-snapshot-save",
  restore: "POST /session-snapshot-restore",
  changes: "POST /session-snapshot-restore",
  parts: "POST /session-snapshot-restore",
  snapshots: `GET ${SESSION}/snapshots`,
  diff: `GET ${SESSION}/diff`,
  revert: `POST ${SESSION}/revert`,
  label: `PUT ${SESSION}/snapshots/{number}/label`,
  fork: `POST ${SESSION}/fork`,
  begin: `POST ${SESSION}/turns`,
  chunks: `POST ${TURN}/chunks`,
  finish: `POST ${TURN}/finish`,
  stop: `POST ${TURN}/stop`,
  turn: "GET " + TURN,
  latest: `GET ${SESSION}/turns/latest`,
  offer: "POST /sessions/offer",
  claim: "POST /sessions/claim",
};

/** A transport to the functions at a URL such as `https://PROJECT.supabase.co/functions/v1`. */
export function httpsTransport(place: Place): Transport {
  return {
    call(operation, args, options) {
      const [method, route] = ROUTES[operation].split(" ") as [string, string];
      const rest: Record<string, string> = { ...(args as object) };
      const path = route.replace(/\{(\w+)\}/g, (_, name: string) => {
        const value = rest[name]!;
        delete rest[name];
        return value;
      });
      const isGet = method === "GET";
      const query = isGet ? "?" + new URLSearchParams(rest) : "";
      return request(place, method, path + query, isGet ? undefined : rest, (response) => response.json(), options);
    },

    async *stream(session, turn, after, signal) {
      const path = TURN.replace("{session_id}", session).replace("{turn_id}", turn) + "?after=" + after;
      const from = { ...place, headers: { Accept: "text/event-stream" } };
      const body = await request(from, "GET", path, undefined, ({ body }) => body, { signal });
      if (!body) return; // over, and all is known; or a fetch that can't stream
      const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
      const stop = (): void => void reader.cancel().catch(() => {});
      let cancel = (): void => {};
      let text = "";
      try {
        for (;;) {
          cancel = place.environment.clock.after(45_000, stop); // there is a sign of life every 15 s
          const { done, value } = await reader.read();
          cancel();
          if (done) return;
          const events = (text + value).split("\n\n");
          text = events.pop()!;
          for (const event of events) {
            const said = eventOf(event);
            if (said) yield said;
          }
        }
      } finally {
        cancel();
        stop();
      }
    },
  };
}

/** One event of the stream; undefined: only a sign of life. Throws what the stream says was refused. */
function eventOf(text: string): Look | undefined {
  const fields = Object.fromEntries(text.split("\n").map((line) => line.split(/: ?(.*)/s))) as Record<string, string>;
  const { id, event, data } = fields;
  if (!data) return undefined;
  const said = JSON.parse(data) as Look & { code: string };
  if (event === "error") throw new Refused(said.code, {}, Number(said.status));
  if (event) return { ...said, chunks: [], next_seq: Number(id) };
  return { chunks: [said as unknown as Json], next_seq: Number(id) + 1, status: "running", number: null, position: null };
}
