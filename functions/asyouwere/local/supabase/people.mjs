// What lite's GoTrue lacks and apps use from the first day: anonymous sign-ins, and the service's list of users.

import { randomUUID } from "node:crypto";
import bcrypt from "bcryptjs";
import { Refused, callerOf } from "./keys.mjs";

const COLUMNS = [
  "id, aud, role, email, phone, email_confirmed_at, confirmed_at, last_sign_in_at, created_at, updated_at",
  "raw_app_meta_data as app_metadata, raw_user_meta_data as user_metadata, is_anonymous",
].join(", ");
const PAGE = 50;

/** sql: as the auth half logs in; ask(request): lite's own answer. Answers a request, or gives null if lite should. */
export function peopleOf(sql, ask) {
  return async (request) => {
    const { pathname, searchParams } = new URL(request.url);
    const [, id] = /^\/auth\/v1\/admin\/users(?:\/([0-9a-f-]{36}))?\/?$/i.exec(pathname) ?? [null];
    if (pathname.startsWith("/auth/v1/admin/")) await forbidOthers(request);
    if (/^\/auth\/v1\/admin\/users/.test(pathname)) return administer(sql, request, id, searchParams);
    if (request.method !== "POST" || !["/auth/v1/signup", "/auth/v1/verify"].includes(pathname)) return null;
    const body = await request.clone().json().catch(() => null);
    if (pathname.endsWith("/verify")) {
      // "email" is today's name of a code by mail; lite knows the one before
      return body?.type === "email" ? ask(again(request, { ...body, type: "magiclink" })) : null;
    }
    const nameless = body && !body.email && !body.phone && !body.password;
    return nameless ? signInAnonymously(sql, ask, request, body) : null;
  };
}

async function readBody(request) {
  const body = await request.json().catch(() => null);
  if (typeof body !== "object" || body === null) throw refusal(400, "bad_json", "Could not read the body as JSON");
  return body;
}

/** As GoTrue words it. */
function refusal(status, error_code, msg) {
  return new Refused(status, { code: status, error_code, msg, message: msg });
}

function again(request, body) {
  const headers = { "content-type": "application/json", apikey: request.headers.get("apikey") ?? "" };
  return new Request(request.url, { method: "POST", headers, body: JSON.stringify(body) });
}

async function forbidOthers(request) {
  const { role } = await callerOf(request);
  if (role !== "service_role") throw refusal(403, "not_admin", "User not allowed");
}

async function administer(sql, request, id, page) {
  const body = ["POST", "PUT"].includes(request.method) ? await readBody(request) : {};
  if (!id && request.method === "GET") {
    const size = Math.min(Number(page.get("per_page")) || PAGE, 1000);
    const skip = (Math.max(Number(page.get("page")) || 1, 1) - 1) * size;
    const text = `select ${COLUMNS} from auth.users order by created_at desc limit $1 offset $2`;
    const users = await sql.unsafe(text, [size, skip]);
    return Response.json({ users, aud: "authenticated" });
  }
  if (!id && request.method === "POST") return Response.json(await created(sql, body));
  if (id && request.method === "PUT") await changed(sql, id, body);
  const [user] = await sql.unsafe(`select ${COLUMNS} from auth.users where id = $1`, [id]);
  if (!user) throw refusal(404, "user_not_found", "User not found");
  if (request.method === "DELETE") await sql`delete from auth.users where id = ${id}`;
  return Response.json({ ...user, identities: [] });
}

async function created(sql, { id = randomUUID(), email, password, user_metadata = {}, app_metadata = {} }) {
  if (!email) throw refusal(422, "validation_failed", "Cannot create a user without an email");
  const address = email.toLowerCase();
  const [known] = await sql`select 1 from auth.users where email = ${address}`;
  if (known) throw refusal(422, "email_exists", "A user with this address has already been registered");
  const data = { ...user_metadata, email: address, email_verified: true, phone_verified: false, sub: id };
  await sql.begin(async (step) => {
    await step`
      insert into auth.users (id, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data)
      values (${id}, ${address}, ${password ? await bcrypt.hash(password, 10) : null}, now(),
        ${{ provider: "email", providers: ["email"], ...app_metadata }}, ${data})`;
    await step`
      insert into auth.identities (id, provider, provider_id, user_id, identity_data)
      values (${randomUUID()}, 'email', ${id}, ${id}, ${data})`;
  });
  const [user] = await sql.unsafe(`select ${COLUMNS} from auth.users where id = $1`, [id]);
  return { ...user, identities: [] };
}

async function changed(sql, id, { email, password, user_metadata = {}, app_metadata = {} }) {
  await sql`
    update auth.users set email = coalesce(${email?.toLowerCase() ?? null}, email),
      encrypted_password = coalesce(${password ? await bcrypt.hash(password, 10) : null}, encrypted_password),
      raw_user_meta_data = raw_user_meta_data || ${user_metadata}::jsonb,
      raw_app_meta_data = raw_app_meta_data || ${app_metadata}::jsonb, updated_at = now()
    where id = ${id}`;
}

/** A user without an address: signed up at lite under one that nobody knows, which is then taken away. */
async function signInAnonymously(sql, ask, request, { data = {} }) {
  const email = `${randomUUID()}@anonymous.example.org`;
  const response = await ask(again(request, { email, password: randomUUID(), data }));
  if (!response.ok) return response;
  const session = await response.json();
  const { id } = session.user;
  await sql`
    update auth.users set email = null, encrypted_password = null, is_anonymous = true, raw_app_meta_data = '{}',
      raw_user_meta_data = ${data} where id = ${id}`;
  await sql`delete from auth.identities where user_id = ${id}`;
  const known = { email: "", app_metadata: {}, user_metadata: data, identities: [], is_anonymous: true };
  return Response.json({ ...session, user: { ...session.user, ...known } });
}
