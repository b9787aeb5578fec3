/** One request: with a token, in time, and with a `Refused` for whatever goes wrong. */

import { Refused } from "./refused.js";
import type { CallOptions, Environment, Json } from "./types.js";

/**
 * An access token, or what gets one; asked before each request, with `refresh` after one was refused. Nothing: the
 * request is made as nobody.
 */
export type Token = string | null | ((refresh: boolean) => string | null | undefined | Promise<string | null | undefined>);

/** Where requests go. */
export interface Place {
  environment: Environment;
  /** Without a slash at the end. */
  url: string;
  token?: Token | undefined;
  /** The token of the last request. */
  last?: string | null | undefined;
  headers?: Record<string, string>;
  /** How long an answer may take to begin, in ms; ten times that for all of it. */
  timeout: number;
}

/** A refusal as it was said: by the functions (problem details), by PostgREST (our code is the hint), or by neither. */
function refusal(status: number, body: unknown, wait: string | null): Refused {
  const said = (typeof body === "object" && body !== null ? body : {}) as Record<string, Json>;
  let { code, detail: sentence, ...detail } = said;
  if (typeof said["hint"] === "string" && /^PT\d/.test(String(code))) {
    code = said["hint"];
    sentence = said["message"];
    detail = JSON.parse((said["details"] as string) || "{}") as Record<string, Json>;
  } else if (typeof said["title"] !== "string") {
    code = status === 401 ? "invalid_token" : `http_${status}`;
    sentence = said["message"];
  }
  const seconds = Number(wait ?? detail["retry_after"]);
  return new Refused(String(code), detail, status, String(sentence ?? code), seconds > 0 ? seconds * 1000 : undefined);
}

/** One request, its answer as `read` takes it. Rejects with a `Refused`; `network`: nobody answered, or too late. */
export async function request<T>(
  place: Place,
  method: string,
  path: string,
  body: unknown,
  read: (response: Response) => Promise<T> | T,
  { keepalive = false, signal }: CallOptions = {},
): Promise<T> {
  const { environment, url, token, headers, timeout } = place;
  const stop = new AbortController();
  let fail: (reason: Refused) => void;
  let cancel = (): void => {};
  const expired = new Promise<never>((_, reject) => (fail = reject));
  const allow = (milliseconds: number): void => {
    cancel();
    cancel = environment.clock.after(milliseconds, () => {
      stop.abort();
      fail(new Refused("network", {}, 0, "no answer in time"));
    });
  };
  const attempt = async (again: boolean): Promise<T> => {
    // a page that is going can't wait for a token
    const bearer = typeof token !== "function" ? token : (keepalive && place.last) || (place.last = await token(again));
    const response = await environment.fetch(url + path, {
      method,
      keepalive,
      signal: stop.signal,
      headers: {
        ...headers,
        ...(bearer && { Authorization: `Bearer ${bearer}` }),
        ...(body !== undefined && { "Content-Type": "application/json" }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    if (response.status === 401 && !again && typeof token === "function") return attempt(true);
    allow(timeout * 10);
    if (!response.ok) {
      throw refusal(response.status, await response.json().catch(() => null), response.headers.get("Retry-After"));
    }
    return read(response);
  };
  signal?.addEventListener("abort", () => stop.abort());
  allow(timeout);
  try {
    return await Promise.race([attempt(false), expired]);
  } catch (error) {
    throw error instanceof Refused ? error : new Refused("network", {}, 0, String(error));
  } finally {
    cancel();
  }
}
