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
    known ??= reader.introspect().then(withMessages, (error) => {
      known = undefined;
      throw error;
    });
    return known;
  };
}

/** session_messages is a view whose session_id lite can't trace to the sessions by itself. */
function withMessages(schema) {
  const key = {
    schema: "public",
    table: "session_messages",
    column: "session_id",
    ref_schema: "public",
    ref_table: "free_agent_sessions",
    ref_column: "id",
    foreign_key_name: "session_messages_session_id_fkey",
    fk_def: "",
    on_update: "",
    on_delete: "",
  };
  return { ...schema, foreign_keys: [...schema.foreign_keys, key] };
}
