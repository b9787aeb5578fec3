// /rest/v1: lite's PostgREST, as the caller.

import { App } from "@supabase/lite";
import { connect } from "./connections.mjs";
import { callerOf, useSecret } from "./keys.mjs";

/** fetch(request): answers a request below /rest/v1; check(): rejects when Postgres does not answer. */
export function createRest({ apiUrl, jwtSecret }) {
  useSecret(jwtSecret);
  const connection = connect(apiUrl, 10);
  // Else lite would grant the API's roles everything on every table that has row level security.
  connection.rlsState = "active";
  connection.introspect = schemaReader(apiUrl);
  const app = new App({
    connection,
    auth: { enabled: false },
    storage: { enabled: false },
    studio: { enabled: false },
    db: { migrations: { enabled: false } },
    options: { server: { admin: false, apiKeys: false, middlewares: [identify], disableStudio: true } },
  });
  return { fetch: (request) => app.fetch(request), check: () => connection.driver`select 1` };
}

/** Before lite looks: the caller is who our check says, and lite's own looks nothing up. */
async function identify(context, next) {
  let claims;
  try {
    claims = await callerOf(context.req.raw);
  } catch (error) {
    return Response.json(error.body, { status: error.status });
  }
  context.set("jwt", claims);
  context.set("apiKeyType", claims.role === "service_role" ? "secret" : "publishable");
  context.set("ignoreAuthorization", true);
  if (claims.sub) context.set("userId", claims.sub);
  await next();
}

/**
 * What lite knows of the schema. `authenticator` itself sees no table, so a connection that has become service_role
 * reads the catalog, once, and again after `notify pgrst`, as PostgREST does.
 */
function schemaReader(url) {
  const reader = connect(url, 1, { role: "service_role" });
  let known;
  reader.driver.listen("pgrst", () => (known = undefined)).catch(() => {});
  return () => {
    known ??= reader.introspect().then(withViewsKeys, (error) => {
      known = undefined;
      throw error;
    });
    return known;
  };
}

// What lies under what, from a view or to one. PostgREST is told by functions of a row (17_embeds.sql), which
// lite does not know; to it they are foreign keys.
const VIEWS_KEYS = [
  ["session_messages", "free_agent_sessions"],
  ["session_messages", "sessions_list"],
  ["session_snapshots", "sessions_list"],
  ["session_members", "sessions_list"],
];

function withViewsKeys(schema) {
  const keys = VIEWS_KEYS.map(([table, ref_table]) => ({
    ...{ schema: "public", table, column: "session_id", ref_schema: "public", ref_table, ref_column: "id" },
    ...{ foreign_key_name: `${table}_${ref_table}_embed`, fk_def: "", on_update: "", on_delete: "" },
  }));
  return { ...schema, foreign_keys: [...schema.foreign_keys, ...keys] };
}
