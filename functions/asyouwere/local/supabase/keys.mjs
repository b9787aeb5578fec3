// Who is calling: every key and token here is a JWT signed (HS256) with the data folder's secret.

import { SignJWT, errors, jwtVerify } from "jose";

let secret;

/** An answer other than the one asked for: its status and JSON body. */
export class Refused extends Error {
  constructor(status, body) {
    super(body.message);
    this.status = status;
    this.body = body;
  }
}

export function useSecret(text) {
  secret = new TextEncoder().encode(text);
}

export async function verify(token) {
  return (await jwtVerify(token, secret, { algorithms: ["HS256"] })).payload;
}

export function sign(claims) {
  return new SignJWT(claims).setProtectedHeader({ alg: "HS256", typ: "JWT" }).sign(secret);
}

/** Raises Refused unless the request has a valid `apikey`, as a Supabase project does. */
export async function forbidBadKey(request) {
  const key = apiKey(request);
  if (!key) {
    const hint = "No `apikey` request header or url param was found.";
    throw new Refused(401, { message: "No API key found in request", hint });
  }
  try {
    await verify(key);
  } catch {
    throw new Refused(401, { message: "Invalid API key", hint: "Double check your Supabase `apikey`" });
  }
}

/** The claims of the caller: those of the bearer token, else of the key. Raises Refused as PostgREST does. */
export async function callerOf(request) {
  const header = request.headers.get("authorization") ?? "";
  const token = /^Bearer\s+(\S+)$/i.exec(header)?.[1] ?? apiKey(request);
  try {
    const claims = await verify(token);
    if (typeof claims.role === "string") return claims;
    return { ...claims, role: "anon" };
  } catch (error) {
    const late = error instanceof errors.JWTExpired;
    const message = late ? "JWT expired" : "JWT cannot be verified";
    throw new Refused(401, { code: late ? "PGRST303" : "PGRST301", details: null, hint: null, message });
  }
}

function apiKey(request) {
  return request.headers.get("apikey") ?? new URL(request.url).searchParams.get("apikey");
}
