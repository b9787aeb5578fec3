import { authorizedFetch } from "asyouwere/helpers";
import { token } from "../../signIn";

/** What the proxy says went wrong; detail is for people. */
export class Problem extends Error {
  constructor(
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }
}

async function post<T>(path: string, body: object, key: string): Promise<T> {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
  const answer = await authorizedFetch(token)(path, { method: "POST", headers, body: JSON.stringify(body) }).catch(() => {
    throw new Problem("network", "We cannot be reached. Your message is kept.");
  });
  if (answer.ok) return (await answer.json()) as T;
  const { code, detail } = await answer.json().catch(() => ({ code: `http_${answer.status}`, detail: "That went wrong. Your message is kept." }));
  throw new Problem(code, detail);
}

/** Asks for the reply to a message; with the id of one that was asked before, it is the same message. */
export function chat(config_id: string, session_id: string | undefined, id: string, input: string): Promise<{ session_id: string; reply: string }> {
  return post("/api/chat", { config_id, session_id, input }, id);
}
