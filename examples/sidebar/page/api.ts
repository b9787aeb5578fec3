import { authorizedFetch } from "asyouwere/helpers";
import { token } from "../../signIn";

/** One message as it is sent; its id is the page's own, and makes asking again harmless. */
export interface Outgoing {
  id: string;
  content: string;
  sessionId?: string | undefined;
}

async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const answer = await authorizedFetch(token)(path, init).catch(() => {
    throw new Error("We cannot be reached. Your message is kept.");
  });
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
