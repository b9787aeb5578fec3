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
  /** The token of the last request. @internal */
  _last?: string | null | undefined;
  headers?: Record<string, string>;
  /** Makes problem details of a refusal that is none. @internal */
  _problem?(body: Record<string, string>): Record<string, Json>;
  /** How long an answer may take to begin, in ms; ten times that for all of it. */
  timeout: number;
}

/** A refusal as problem details, or whatever else stands for one. */
async function refusal(response: Response, problem: Place["_problem"]): Promise<Refused> {
  const { status, headers } = response;
  const said = (await response.json().catch(() => null)) ?? {};
  const { code, detail, ...more } = (problem ? problem(said) : said) as Record<string, string>;
  const seconds = Number(headers.get("Retry-After") ?? more["retry_after"]);
  return new Refused(code ?? (status === 401 ? "invalid_token" : "http_" + status), more, status, detail, seconds * 1000 || undefined);
}

/**
 * One request, its answer as `read` takes it; the body of a GET goes into its query. Rejects with a `Refused`;
 * `network`: nobody answered, or too late.
 */
export async function request<T>(
  place: Place,
  method: string,
  path: string,
  body: object,
  read: (response: Response) => Promise<T> | T,
  { keepalive = false, signal }: CallOptions = {},
): Promise<T> {
  const { environment, url, token, headers, timeout } = place;
  const isGet = method === "GET";
  const stop = new AbortController();
  const late = new Promise<never>((_, reject) => (stop.signal.onabort = reject));
  const abort = (): void => stop.abort();
  let cancel = (): void => {};
  const allow = (milliseconds: number): void => {
    cancel();
    cancel = environment.clock.after(milliseconds, abort);
  };
  const attempt = async (again: boolean): Promise<T> => {
    // a page that is going can't wait for a token
    const bearer = typeof token !== "function" ? token : (keepalive && place._last) || (place._last = await token(again));
    const response = await environment.fetch(url + path + (isGet ? "?" + new URLSearchParams(body as Record<string, string>) : ""), {
      method,
      keepalive,
      signal: stop.signal,
      headers: { ...headers, ...(bearer && { Authorization: "Bearer " + bearer }), "Content-Type": "application/json" },
      body: isGet ? null : JSON.stringify(body),
    });
    if (response.status === 401 && !again && typeof token === "function") return attempt(true);
    allow(timeout * 10);
    if (!response.ok) throw await refusal(response, place._problem);
    return read(response);
  };
  signal?.addEventListener("abort", abort, { once: true });
  allow(timeout);
  try {
    return await Promise.race([attempt(false), late]);
  } catch (error) {
    throw error instanceof Refused ? error : new Refused("network");
  } finally {
    cancel();
  }
}
