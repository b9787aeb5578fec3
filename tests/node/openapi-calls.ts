// Calls with openapi-fetch and the types that openapi-typescript makes of spec/openapi.json. tsc --strict checks them,
// the test runs them: node calls.js URL TOKEN prints what it saw as JSON.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Problem = components["schemas"]["Problem"];

declare const process: { argv: string[] };
const [, , baseUrl = "", token = ""] = process.argv;
const api = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

/** The data of a response; a problem is thrown by its code. */
function done<T>(response: { data?: T; error?: Problem }): T {
  if (response.error !== undefined) throw new Error(response.error.code);
  return response.data as T;
}

const made = done(await api.POST("/sessions", { body: { name: "before" } }));
const path = { session_id: made.id };
await api.PATCH("/sessions/{session_id}", {
  params: { path },
  body: { status: "running", visibility: "public", archived: true, model: "large-1" },
});
const before = done(await api.GET("/sessions/{session_id}", { params: { path } }));
done(await api.PATCH("/sessions/{session_id}", { params: { path }, body: { name: "after" } }));
const after = done(await api.GET("/sessions/{session_id}", { params: { path } }));

const saved = done(
  await api.POST("/session-snapshot-save", {
    params: { header: { "Idempotency-Key": "k" } },
    body: { session_id: made.id, state: { messages: ["one"], memory: { topic: "tea" } } },
  }),
);
const later = done(
  await api.POST("/session-snapshot-save", {
    body: {
      session_id: made.id,
      base: saved.number,
      label: "second",
      changes: { set: { "/memory/topic": "coffee" }, append: { "/messages": ["two"] } },
    },
  }),
);
const since = done(
  await api.POST("/session-snapshot-restore", { body: { session_id: made.id, since: saved.number } }),
);
const differences = done(
  await api.GET("/sessions/{session_id}/diff", { params: { path, query: { from: 1, to: later.number } } }),
);
const page = done(await api.GET("/sessions", { params: { query: { limit: 1, archived: "all" } } }));
const removed = await api.DELETE("/sessions/{session_id}/snapshots/{number}/label", {
  params: { path: { ...path, number: later.number } },
});
const refused = await api.GET("/sessions/{session_id}", {
  params: { path: { session_id: "00000000-0000-4000-8000-000000000000" } },
});
const code: components["schemas"]["ErrorCode"] | undefined = refused.error?.code;

console.log(
  JSON.stringify({
    created: made.created,
    before,
    after,
    changes: "changes" in since ? since.changes?.set : null,
    addresses: differences.differences.map((difference) => difference.address),
    sessions: page.sessions.length,
    removed: removed.response.status,
    code,
  }),
);
