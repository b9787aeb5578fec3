/** The page of a browser, the way to its other tabs, and the last requests of a page that is left. */

import type { Channel, Fetch, Page, PageEvent } from "./types.js";

/**
 * What the browser's events say, by their types. No `unload`: it keeps a page out of the back/forward cache, and is not
 * fired where it matters.
 */
const said = (event?: PageTransitionEvent): { [type: string]: string | false | undefined } => ({
  visibilitychange: document.visibilityState,
  pagehide: "leaving",
  pageshow: event?.persisted && "back",
  online: "online",
  offline: "offline",
});

export const browserPage = (): Page => ({
  hidden: () => document.visibilityState === "hidden",
  listen(listener) {
    const listening = new AbortController();
    const hear = (event: Event): void => {
      const name = said(event as PageTransitionEvent)[event.type];
      if (name) listener(name as PageEvent);
    };
    // what is told to the document comes to the window as well
    for (const type in said()) addEventListener(type, hear, listening);
    return () => listening.abort();
  },
});

/** A BroadcastChannel that is closed while its page is in the back/forward cache, which it would end. */
export function tabChannel(name: string, page: Page): Channel {
  const listeners = new Set<(message: unknown) => void>();
  let channel: BroadcastChannel | null;
  const open = (): void => {
    channel = new BroadcastChannel(name);
    channel.onmessage = ({ data }) => listeners.forEach((listener) => listener(data));
  };
  const close = (): void => {
    channel?.close();
    channel = null;
  };
  open();
  const deaf = page.listen((event) => (event === "leaving" ? close() : event === "back" && open()));
  return {
    post: (message) => channel?.postMessage(message),
    listen: (listener) => void listeners.add(listener),
    close() {
      deaf();
      close();
    },
  };
}

/** What the closing requests of a page may have under way together (Fetch standard, 4.6: 64 kibibytes). */
const KEEPALIVE_BYTES = 65_536;
let underway = 0;

/**
 * `fetch`, whose requests with `keepalive` share 65,536 bytes: one that does not fit goes without. It may then not
 * arrive; what it says is in the journal, and is asked again under its key when the page is opened next.
 */
export const browserFetch: Fetch = (url, init) => {
  let bytes = init.keepalive ? new Blob([init.body as string]).size : 0;
  if (underway + bytes > KEEPALIVE_BYTES) bytes = 0;
  underway += bytes;
  return fetch(url, { ...init, keepalive: bytes > 0 }).finally(() => (underway -= bytes));
};
