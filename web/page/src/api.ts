/** What the page asks of the functions besides what the package does: sharing, and starting the agent. */

import type { Facts } from "./facts";
import { signedIn, token } from "./people";
import { recordedFetch } from "./traffic";

export const FUNCTIONS_URL = `${location.origin}/functions/v1`;

/** A refusal, with the code that the server gave and its sentence. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    readonly status: number,
    message: string,
    readonly detail: Record<string, unknown>,
  ) {
    super(message);
  }
}

async function ask<T>(url: string, method: string, body?: unknown, bearer?: string): Promise<T> {
  const send = async (fresh: boolean): Promise<Response> => {
    const init = {
      method,
      headers: { Authorization: `Bearer ${bearer ?? (await token(fresh))}`, ...(body !== undefined && { "Content-Type": "application/json" }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    };
    return recordedFetch(url, init).catch(() => {
      throw new ApiError("network", 0, "The server can't be reached. What you wrote is kept here.", {});
    });
  };
  let response = await send(false);
  if (response.status === 401) response = await send(true);
  const answer = (await response.json().catch(() => ({}))) as Record<string, unknown>;
  if (!response.ok) {
    const said = String(answer["detail"] ?? answer["title"] ?? `The server answered ${response.status}.`);
    throw new ApiError(String(answer["code"] ?? `http_${response.status}`), response.status, said, answer);
  }
  return answer as T;
}

export interface Member {
  user_id: string;
  role: "owner" | "editor" | "viewer";
  accepted_at: string | null;
}

export interface Invitation {
  session_id: string;
  role: string;
  name: string | null;
}

const functions = <T>(method: string, path: string, body?: unknown): Promise<T> => ask<T>(`${FUNCTIONS_URL}/${path}`, method, body);
const of = (session: string): string => `sessions/${encodeURIComponent(session)}`;

export const api = {
  /** Asks the agent on this machine to answer; resolves when it has begun. */
  answer: (session: string, turn: string) => ask<{ id: string }>("/page/answer", "POST", { session, turn }),
  rename: (session: string, name: string) => functions("PATCH", of(session), { name }),
  facts: (session: string) => functions<Facts>("GET", of(session)),
  members: async (session: string) => (await functions<{ members: Member[] }>("GET", `${of(session)}/members`)).members,
  invite: (session: string, user: string, role: "viewer" | "editor") =>
    functions("PUT", `${of(session)}/members/${encodeURIComponent(user)}`, { role }),
  putOut: (session: string, user: string) => functions("DELETE", `${of(session)}/members/${encodeURIComponent(user)}`),
  /** Leaves a session that somebody else shares; `me` is whose token it is. */
  leave: async (session: string) => functions("DELETE", `${of(session)}/members/${(await signedIn()).id}`),
  invitations: async () => (await functions<{ invitations: Invitation[] }>("GET", "sessions/invitations")).invitations,
  accept: (session: string) => functions("POST", `${of(session)}/invitation`, {}),
  offer: async () => (await functions<{ code: string }>("POST", "sessions/offer", {})).code,
  /** The answers that run for what was claimed go on, with this token. */
  carryOn: (bearer: string) => ask<{ answers: number }>("/page/carry-on", "POST", {}, bearer),
  /** Takes over what a code stands for, as whom this token is. */
  claim: (code: string, bearer: string) => ask<{ sessions: number }>(`${FUNCTIONS_URL}/sessions/claim`, "POST", { code }, bearer),
};

