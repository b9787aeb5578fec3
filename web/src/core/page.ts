/** The page of a browser, the way to its other tabs, and the last requests of a page that is left. */

import type { Channel, Fetch, Page, PageEvent } from "./types.js";

/** No `unload`: it keeps a page out of the back/forward cache, and is not fired where it matters. */
export function browserPage(): Page {
  return {
    hidden: () => document.visibilityState === "hidden",
    listen(listener) {
      const listening = new AbortController();
      const on = (target: EventTarget, event: string, what: (event: Event) => PageEvent | null): void =>
        target.addEventListener(event, (e) => void ((w) => w && listener(w))(what(e)), { signal: listening.signal });
      on(document, "visibilitychange", () => (document.visibilityState === "hidden" ? "hidden" : "visible"));
      on(window, "pagehide", () => "leaving");
      on(window, "pageshow", (event) => ((event as PageTransitionEvent).persisted ? "back" : null));
      on(window, "online", () => "online");
      on(window, "offline", () => "offline");
      return () => listening.abort();
    },
  };
}

/** A BroadcastChannel that is closed while its page is in the back/forward cache, which it would end. */
export function tabChannel(name: string, page: Page): Channel {
  const listeners = new Set<(message: unknown) => void>();
  let channel: BroadcastChannel | null;
  const open = (): void => {
    channel = new BroadcastChannel(name);
    channel.onmessage = (event) => listeners.forEach((listener) => listener(event.data));
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
export const browserFetch: Fetch = async (url, init) => {
  if (!init.keepalive) return fetch(url, init);
  const bytes = new TextEncoder().encode(String(init.body ?? "")).length;
  if (underway + bytes > KEEPALIVE_BYTES) return fetch(url, { ...init, keepalive: false });
  underway += bytes;
  try {
    const answer = await fetch(url, init);
    // Chromium counts a request until its answer is read.
    return new Response(await answer.arrayBuffer(), answer);
  } finally {
    underway -= bytes;
  }
};
