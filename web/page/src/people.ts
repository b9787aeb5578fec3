/**
 * Who uses the page. Remembered in this browser, in IndexedDB: what is in localStorage is lost when the browser is killed
 * within seconds, and a guest who is forgotten has lost everything. The token is only in memory.
 */

import { get, set } from "idb-keyval";
import { useEffect, useSyncExternalStore } from "react";

export interface Person {
  id: string;
  name: string;
  guest: boolean;
}

/** How to sign in again: as a demo user, or as the same guest. `was`: the guest whose sessions came along. */
type Remembered = { user: string; was?: string | undefined } | { guest: string | null };

interface SignedIn {
  person: Person;
  was: string | null;
  /** The demo users, whom one can be or share with. */
  people: Person[];
  token: string;
  expiresAt: number;
}

const KEY = "person";
const EARLY = 60_000;

let current: SignedIn | null = null;
let signingIn: Promise<SignedIn> | null = null;
const listeners = new Set<() => void>();

// A browser that keeps nothing: the person is who they are until they reload.
const remembered = async (): Promise<Remembered> => (await get<Remembered>(KEY).catch(() => undefined)) ?? { guest: null };
const remember = (who: Remembered): Promise<void> => set(KEY, who).catch(() => {});

async function ask(who: Remembered): Promise<SignedIn> {
  const response = await fetch("/page/sign-in", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(who),
  });
  if (!response.ok) throw new Error(`signing in was answered with ${response.status}`);
  const told = (await response.json()) as { token: string; expires_at: number; user: Person; people: Person[] };
  const was = ("was" in who && who.was) || null;
  return { person: told.user, was, people: told.people, token: told.token, expiresAt: told.expires_at * 1000 };
}

const elsewhere = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("asyouwere-page");
// Another tab has signed in as somebody: this one shows the same person's sessions.
elsewhere?.addEventListener("message", ({ data }) => data !== current?.person.id && location.reload());

async function enter(who: Remembered, prepare?: (token: string) => Promise<void>): Promise<SignedIn> {
  const entered = await ask(who);
  await prepare?.(entered.token);
  await remember(entered.person.guest ? { guest: entered.person.id } : who);
  current = entered;
  for (const listener of listeners) listener();
  return entered;
}

/** The token of whoever is signed in, a new one before it runs out. `fresh`: the one before was refused. */
export async function token(fresh = false): Promise<string> {
  if (!fresh && current && current.expiresAt - EARLY > Date.now()) return current.token;
  signingIn ??= remembered()
    .then((who) => enter(who))
    .finally(() => (signingIn = null));
  return (await signingIn).token;
}

/** Who is signed in. */
export async function signedIn(): Promise<Person> {
  await token();
  return current!.person;
}

/**
 * Sign in as a demo user, or as a new guest. `was`: the guest whose sessions come along. `prepare`: done with the new token,
 * before anybody sees the new person.
 */
export async function signIn(user: string | null, was?: string, prepare?: (token: string) => Promise<void>): Promise<void> {
  const { person } = await enter(user === null ? { guest: null } : { user, was }, prepare);
  elsewhere?.postMessage(person.id);
}

/** Whose token is this: who signs in may have been the guest `was`. */
export const cameFrom = (): string | null => current?.was ?? null;

const UNSAVED = "asyouwere-page-unsaved";
const PATIENCE = 5_000;

/** Says to the other tabs whether this one has something that is not saved yet, which it could not save as somebody else. */
export function useUnsaved(isUnsaved: boolean): void {
  useEffect(() => {
    if (!isUnsaved || !navigator.locks) return;
    const saved = new AbortController();
    const held = new Promise<void>((resolve) => saved.signal.addEventListener("abort", () => resolve()));
    navigator.locks.request(UNSAVED, { mode: "shared", signal: saved.signal }, () => held).catch(() => {});
    return () => saved.abort();
  }, [isUnsaved]);
}

/** Resolves when all tabs have saved what there is; rejects if that takes long. */
export async function allSaved(): Promise<void> {
  await navigator.locks?.request(UNSAVED, { signal: AbortSignal.timeout(PATIENCE) }, () => {}).catch(() => {
    throw new Error("Something is not saved yet, here or in another tab. Sign in when it is.");
  });
}

const NOBODY: { me: Person | null; others: Person[] } = { me: null, others: [] };
let seen = NOBODY;

/** Who is signed in (null until that is known), and the demo users. */
export function usePeople(): typeof NOBODY {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    () => {
      // a renewed token is no other person
      if (current && current.person.id !== seen.me?.id) seen = { me: current.person, others: current.people };
      return seen;
    },
  );
}
