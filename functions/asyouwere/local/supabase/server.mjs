// Supabase's API in front of the local Postgres, at one URL: /auth/v1 and /rest/v1 are @supabase/lite, /functions/v1
// is passed on to asyouwere's own functions server. Started by server.py, which writes the settings as one line of
// JSON to standard input and keeps that open: when it closes, whatever ended our parent, we end.
//
// lite would work with one all-powerful login. Here its two halves have one each: the REST half logs in as
// `authenticator`, which has no right of its own and becomes the caller's role in each transaction; the auth half
// logs in as `asyouwere_local_auth`, which sees the tables of the schema auth and nothing else.

import http from "node:http";
import readline from "node:readline";
import { getRequestListener } from "@hono/node-server";
import { createAuth } from "./auth.mjs";
import { Refused, forbidBadKey } from "./keys.mjs";
import { passOn } from "./passing.mjs";
import { createRest } from "./rest.mjs";

const EXPOSED = "Content-Range, Content-Location, Preference-Applied, X-Sb-Error-Code, Retry-After";
const METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

// lite logs whole errors, and Postgres' errors can quote what people wrote.
for (const level of ["log", "info", "warn", "error"]) {
  console[level] = (...values) => process.stderr.write(`${level}: ${values.map(brief).join(" ")}\n`);
}

const settings = await readSettings();
const rest = createRest(settings);
const auth = await createAuth(settings);

const apps = { "/auth/v1/": auth.fetch, "/rest/v1/": rest.fetch };
const listener = getRequestListener(answer, { overrideGlobalObjects: false });

const server = http.createServer((request, response) => {
  const preflight = request.method === "OPTIONS";
  if (!preflight && request.url.startsWith("/functions/v1/")) {
    passOn(request, response, settings.functionsPort);
  } else if (!preflight && settings.restPort && request.url.startsWith("/rest/v1/")) {
    // A PostgREST that somebody runs, instead of lite's.
    passOn(request, response, settings.restPort, request.url.slice("/rest/v1".length));
  } else {
    listener(request, response);
  }
});
// A state of 64 MB over a slow line takes longer than Node's five minutes; the functions have limits of their own.
server.requestTimeout = 0;
server.listen({ fd: settings.descriptor });

for (const name of ["SIGTERM", "SIGINT"]) process.on(name, () => process.exit(0));

function brief(value) {
  if (value instanceof Error) return `${value.name} ${value.code ?? ""}`.trim();
  return typeof value === "string" ? value.split("\n")[0].slice(0, 200) : typeof value;
}

/** Answers everything but the functions; a web Request in, a web Response out. */
async function answer(request) {
  const path = new URL(request.url).pathname;
  if (path === "/readyz") return ready();
  if (request.method === "OPTIONS" && request.headers.has("access-control-request-method")) {
    return preflight(request);
  }
  const prefix = Object.keys(apps).find((start) => path.startsWith(start));
  let response;
  try {
    if (prefix) {
      if (!path.startsWith("/auth/v1/.well-known/") && path !== "/auth/v1/verify") await forbidBadKey(request);
      response = await apps[prefix](request);
    } else {
      throw new Refused(404, { code: "not_found", message: `asyouwere's local Supabase has no ${path}` });
    }
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    response = Response.json(error.body, { status: error.status });
  }
  return open(response);
}

async function ready() {
  try {
    await Promise.all([rest.check(), auth.check()]);
    return Response.json({ status: "ok" });
  } catch {
    return Response.json({ status: "unavailable" }, { status: 503 });
  }
}

/** Any page may ask: what it may see is decided by the token it sends, and no cookie is ever looked at. */
function open(response) {
  const headers = new Headers(response.headers);
  headers.delete("set-cookie");
  headers.set("Access-Control-Allow-Origin", "*");
  headers.set("Access-Control-Expose-Headers", EXPOSED);
  return new Response(response.body, { status: response.status, headers });
}

function preflight(request) {
  const headers = new Headers({
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": METHODS,
    "Access-Control-Allow-Headers": request.headers.get("access-control-request-headers") ?? "*",
    "Access-Control-Max-Age": "86400",
  });
  return new Response(null, { status: 204, headers });
}

async function readSettings() {
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("close", () => process.exit(0));
  const line = await new Promise((resolve) => lines.once("line", resolve));
  return JSON.parse(line);
}
