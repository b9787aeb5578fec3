// Connections to Postgres that hand values through as Postgres prints them.

import { createPostgresConnection } from "@supabase/lite/postgres";

const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const iso = (value) => value.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00");

// lite turns arguments into JSON text itself and its driver would do so once more; and the driver's dates are
// Postgres' own, which supabase-py refuses.
const types = {
  json: { to: 114, from: [114], serialize: text, parse: JSON.parse },
  jsonb: { to: 3802, from: [3802], serialize: text, parse: JSON.parse },
  timestamp: { to: 1114, from: [1114], serialize: (value) => value, parse: iso },
  timestamptz: { to: 1184, from: [1184], serialize: (value) => value, parse: iso },
};

/** url: a connection string; most: how many connections at once; parameters: settings of each of them. */
export function connect(url, most, parameters = {}) {
  const options = { types, max: most, idle_timeout: 30, connection: { application_name: "supabase", ...parameters } };
  const connection = createPostgresConnection({ url, postgresOptions: { ...options, onnotice: () => {} } });
  connection.config.url = ""; // lite shows its configuration at an address that we don't pass on; twice is safer
  return connection;
}
