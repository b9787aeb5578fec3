/** Two pages and a session in the address: all the routing that there is. */

import { useSyncExternalStore } from "react";

export interface Place {
  page: "home" | "generate";
  session: string | null;
}

const listeners = new Set<() => void>();
let place = read();

function read(): Place {
  const session = new URLSearchParams(location.search).get("session");
  return { page: location.pathname === "/generate" && session ? "generate" : "home", session };
}

function changed(): void {
  place = read();
  for (const listener of listeners) listener();
}

addEventListener("popstate", changed);

/** The address of a place, for links. */
export function addressOf(session: string | null): string {
  return session ? `/generate?session=${encodeURIComponent(session)}` : "/home";
}

/** Go there without loading anything anew. */
export function go(session: string | null, options: { replace?: boolean } = {}): void {
  history[options.replace ? "replaceState" : "pushState"](null, "", addressOf(session));
  changed();
}

export function usePlace(): Place {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    () => place,
  );
}
