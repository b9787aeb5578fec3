import { token } from "../../signIn";

/** One message as it is sent; its id is the page's own, and makes asking again harmless. */
export interface Outgoing {
  id: string;
  content: string;
  sessionId?: string | undefined;
}

async function ask(path: string, init: RequestInit = {}, again = false): Promise<Response> {
  const headers = { ...init.headers, Authorization: `Bearer ${await token(again)}` };
  const answer = await fetch(path, { ...init, headers }).catch(() => {
    throw new Error("We cannot be reached. Your message is kept.");
  });
  // The token ran out on its way: another one, once.
  if (answer.status === 401 && !again) return ask(path, init, true);
  if (answer.ok) return answer;
  const { detail } = await answer.json().catch(() => ({ detail: "That went wrong. Your message is kept." }));
  throw new Error(detail);
}

/** Sends a message. Without a session id a new session is made; the answer says which one to go on in. */
export async function chat({ id, content, sessionId }: Outgoing): Promise<{ reply: string; imageUrl?: string; sessionId: string }> {
  const body = { messages: [{ role: "user", id, content }], context: { title: document.title }, ...(sessionId && { sessionId }) };
  const answer = await ask("/api/chat", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  return answer.json();
}

/** Gives the conversation to the browser as a file. */
export async function download(sessionId: string, format: "json" | "pdf"): Promise<void> {
  const answer = await ask(`/api/sessions/${sessionId}/export?format=${format}`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = `conversation.${format}`;
  link.click();
  URL.revokeObjectURL(link.href);
}
