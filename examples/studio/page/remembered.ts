/**
 * Which conversation this tab is in: a name, the key of its session. Remembered for the tab, or on this device for longer;
 * and it travels in the links, so that it is found where a browser keeps nothing.
 */

import type { OpenOptions } from "asyouwere";
import { signIn, token, user } from "../../signIn";

export interface Message {
  [key: string]: string;
  id: string;
  role: "user" | "assistant" | "system";
  content: string;
}

export interface Studio {
  messages: Message[];
  /** By a message's id. */
  deliveries?: Record<string, { status: "sending" | "sent" }>;
}

const KEPT = "studio conversation";
const { remember: place } = (await (await fetch("/settings.json")).json()) as { remember: "tab" | "device" };

/** Storage may be refused to a page, or be full. */
function storage<T>(use: (storage: Storage) => T): T | null {
  try {
    return use(place === "tab" ? sessionStorage : localStorage);
  } catch {
    return null;
  }
}

/** The name of the conversation; null: none was begun. */
export const remembered = new URLSearchParams(location.search).get("chat") ?? storage((kept) => kept.getItem(KEPT));
export const remember = (name: string): void => void storage((kept) => kept.setItem(KEPT, name));
if (remembered) remember(remembered);

export const forget = (): void => {
  storage((kept) => kept.removeItem(KEPT));
  location.assign(link("/home", null));
};

/** The address of one of our pages, in the same conversation. */
export function link(path: string, name: string | null = remembered): string {
  return `${path}?${new URLSearchParams({ user, ...(name && { chat: name }) })}`;
}

const { url } = await signIn();

/** How to open a conversation; it is made with its first message. */
export const options = (name: string): OpenOptions<Studio> => ({
  url,
  token,
  person: user,
  key: `studio ${name}`,
  fields: { name: "Studio" },
});

export const message = (content: string): Message => ({ id: crypto.randomUUID(), role: "user", content });
