// /auth/v1: lite's GoTrue, with tokens that asyouwere's functions accept.

import { appendFile } from "node:fs/promises";
import { App } from "@supabase/lite";
import bcrypt from "bcryptjs";
import { connect } from "./connections.mjs";
import { peopleOf } from "./people.mjs";
import { sign, useSecret, verify } from "./keys.mjs";

/** fetch(request): answers a request below /auth/v1; check(): rejects when Postgres does not answer. */
export async function createAuth({ authUrl, url, jwtSecret, issuer, demo, mailbox }) {
  useSecret(jwtSecret);
  const connection = connect(authUrl, 4);
  connection.rlsState = "inactive"; // this login switches to nobody
  const app = new App({
    connection,
    api: { enabled: false },
    auth: { enabled: true, jwt_secret: jwtSecret, site_url: url, email: { enable_confirmations: false } },
    storage: { enabled: false },
    studio: { enabled: false },
    db: { migrations: { enabled: false } },
    options: { server: { admin: false, apiKeys: false, disableStudio: true }, drivers: { email: mailTo(mailbox) } },
  });
  await signedUp(connection.driver, demo);
  const sql = connection.driver;
  const people = peopleOf(sql, (request) => app.fetch(request));
  return {
    fetch: async (request) => withIssuer((await people(request)) ?? (await app.fetch(request)), issuer, sql),
    check: () => connection.driver`select 1`,
  };
}

/** The demo user can also sign in with a password. */
async function signedUp(sql, { id, email, password }) {
  const [known] = await sql`select encrypted_password from auth.users where id = ${id}`;
  if (known?.encrypted_password && (await bcrypt.compare(password, known.encrypted_password))) return;
  const hash = await bcrypt.hash(password, 10);
  const provider = { provider: "email", providers: ["email"] };
  const data = { email, email_verified: true, phone_verified: false, sub: id };
  await sql`
    insert into auth.users (id, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data)
    values (${id}, ${email}, ${hash}, now(), ${provider}, ${data})
    on conflict (id) do update set email = excluded.email, encrypted_password = excluded.encrypted_password,
      email_confirmed_at = coalesce(users.email_confirmed_at, now()), aud = 'authenticated', role = 'authenticated',
      raw_app_meta_data = excluded.raw_app_meta_data, raw_user_meta_data = excluded.raw_user_meta_data`;
  await sql`
    insert into auth.identities (id, provider, provider_id, user_id, identity_data)
    values (${id}, 'email', ${id}, ${id}, ${data}) on conflict do nothing`;
}

/** lite's tokens name no issuer, and the functions want one, as from Supabase. */
async function withIssuer(response, issuer, sql) {
  const headers = new Headers(response.headers);
  headers.delete("content-length");
  const location = headers.get("location");
  if (location?.includes("#access_token=")) {
    const [page, fragment] = location.split("#");
    const values = new URLSearchParams(fragment);
    values.set("access_token", await reissued(values.get("access_token"), {}, issuer));
    headers.set("location", `${page}#${values}`);
    return new Response(null, { status: response.status, headers });
  }
  if (!response.ok || !headers.get("content-type")?.includes("json")) return response;
  const body = await response.json();
  const user = body?.user ?? body;
  // lite says of everybody that they are not anonymous
  if (user?.is_anonymous === false) {
    const [row] = await sql`select is_anonymous from auth.users where id = ${user.id}`;
    user.is_anonymous = row?.is_anonymous ?? false;
  }
  if (body?.access_token) body.access_token = await reissued(body.access_token, body.user, issuer);
  return new Response(JSON.stringify(body), { status: response.status, headers });
}

async function reissued(token, user, issuer) {
  const claims = await verify(token);
  const { app_metadata = {}, user_metadata = {}, is_anonymous = false } = user;
  const method = [{ method: is_anonymous ? "anonymous" : "password", timestamp: claims.iat }];
  if (is_anonymous) claims.email = "";
  return sign({ ...claims, iss: issuer, aal: "aal1", amr: method, app_metadata, user_metadata, is_anonymous });
}

/** Mail is not sent but kept in a file that only its owner reads. */
function mailTo(path) {
  return {
    send: ({ to, subject, text }) =>
      appendFile(path, `To: ${to}\nSubject: ${subject}\n\n${text}\n\n`, { mode: 0o600 }),
  };
}
