/** One value sealed and opened: see spec/encryption.md, which other languages keep to as well. */

import { Refused } from "../core/refused.js";
import type { Key } from "./keys.js";

/** What is sealed: a value in an object, an item of a list, a chunk of a turn. */
export type Kind = "part" | "item" | "chunk";

const VERSION = "ayw1";
const NONCE = 12;

/** Where a value stands: it opens nowhere else. place: its pointer, its list's, or turn and number. */
export interface Place {
  session: string;
  kind: Kind;
  place: string;
}

/** JSON in ASCII, so that any string at all, lone surrogates included, is the same bytes in every language. */
const ascii = (value: unknown): Uint8Array<ArrayBuffer> =>
  new TextEncoder().encode(
    JSON.stringify(value).replace(/[\u007f-\uffff]/g, (unit) => "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0")),
  );

export const associated = ({ session, kind, place }: Place, id: string): Uint8Array<ArrayBuffer> =>
  ascii([VERSION, kind, session, place, id]);

function base64url(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
}

const bytesOf = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (character) => character.charCodeAt(0));

/** The token of a value, given as its JSON text. `nonce` is for the cases of the format alone. */
export async function seal(
  text: string,
  at: Place,
  { id, key }: Key,
  nonce = crypto.getRandomValues(new Uint8Array(NONCE)),
): Promise<string> {
  const parameters = { name: "AES-GCM", iv: nonce, additionalData: associated(at, id) };
  const sealed = new Uint8Array(await crypto.subtle.encrypt(parameters, key, new TextEncoder().encode(text)));
  const all = new Uint8Array(NONCE + sealed.length);
  all.set(nonce);
  all.set(sealed, NONCE);
  return `${VERSION}.${at.kind}.${id}.${base64url(all)}`;
}

/** Whether a text has the form of a token of this kind. */
export const isToken = (value: unknown, kind: Kind): value is string =>
  typeof value === "string" && value.startsWith(`${VERSION}.${kind}.`);

/** The JSON text in a token. Throws a `Refused`: wrong_key (no such key here) or tampered (anything else). */
export async function unseal(token: string, at: Place, keys: Map<string, CryptoKey>): Promise<string> {
  const refuse = (code: "wrong_key" | "tampered"): never => {
    throw new Refused(code, { kind: at.kind, place: at.place }, 422);
  };
  const [version, kind, id, body, more] = token.split(".");
  if (version !== VERSION || kind !== at.kind || more !== undefined || !/^[\w-]+$/.test(body ?? "")) refuse("tampered");
  const key = keys.get(id!) ?? refuse("wrong_key");
  try {
    const all = bytesOf(body!);
    const parameters = { name: "AES-GCM", iv: all.subarray(0, NONCE), additionalData: associated(at, id!) };
    return new TextDecoder().decode(await crypto.subtle.decrypt(parameters, key, all.subarray(NONCE)));
  } catch {
    return refuse("tampered");
  }
}

/** The random id that a token has. */
export const nonceOf = (token: string): string => token.slice(token.lastIndexOf(".") + 1).slice(0, 16);
