/** Which conversation a page is in, and how it is opened: by a name of its own, the key of its session. */

import type { OpenOptions } from "asyouwere";
import { newsLine, remembered } from "asyouwere/helpers";
import { signIn, token, user } from "../../signIn";

export interface Message {
  [key: string]: string;
  id: string;
  role: "user" | "assistant" | "system";
  content: string;
}

export interface Studio {
  messages: Message[];
  /** By a message's id: how far it has come to the agent. */
  deliveries?: Record<string, { status: "sending" | "sent" }>;
}

/** The name; remembered for the tab, or for longer, and in the links between our pages. */
export const chat = remembered(`studio of ${user}`, { param: "chat" });
export const link = (path: string): string => chat.link(`${path}?user=${user}`);

/** What the proxy has saved is looked at at once, not with the next poll. */
export const { listen, tell } = newsLine();

const { url } = await signIn();

export const options = (name: string): OpenOptions<Studio> => ({
  url,
  token,
  person: user,
  key: `studio ${name}`,
  fields: { name: "Studio" },
  listen,
});

export const message = (text: FormDataEntryValue | null): Message => ({ id: crypto.randomUUID(), role: "user", content: String(text) });
