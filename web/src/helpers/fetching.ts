import type { Token } from "../core/requests.js";

/**
 * `fetch` for a server of the app's own, with the person's token; once more with another token where one is refused, so
 * the body must not be a stream.
 */
export function authorizedFetch(token: Token, fetch = globalThis.fetch): typeof globalThis.fetch {
  return async (input, init = {}) => {
    const ask = async (refresh: boolean): Promise<Response> => {
      const current = typeof token === "function" ? await token(refresh) : token;
      const headers = new Headers(init.headers);
      if (current) headers.set("Authorization", `Bearer ${current}`);
      return fetch(input, { ...init, headers });
    };
    const answer = await ask(false);
    return answer.status === 401 && typeof token === "function" ? ask(true) : answer;
  };
}
