import { claimsOf } from "../core/open.js";
import { systemClock } from "../core/memory.js";
import type { Clock } from "../core/types.js";

export interface FreshTokenOptions {
  /** A token that there is already, from the page or from before a reload; looked at first. */
  first?: string | null;
  /** How long before its end a token counts as over, in ms. By default 60,000; less for one that is short-lived. */
  margin?: number;
  clock?: Pick<Clock, "now">;
}

/** A token for `open({ token })`. */
export interface FreshToken {
  /** The token that there is, or another one if that is over or `refresh` is said. Rejects with what `get` rejects with. */
  (refresh?: boolean): Promise<string>;
  /** ms until the token is over, below 0 if it is; null: there is none, or it does not say. */
  expiresIn(): number | null;
}

/**
 * An access token that is got anew shortly before it is over, so that no request is made to be refused; once, however
 * many ask at the same time. `get` gets a token from the app's sign-in. When it ends is told by the token's claim `exp`.
 */
export function freshToken(get: () => Promise<string>, { first, margin = 60_000, clock = systemClock }: FreshTokenOptions = {}): FreshToken {
  let token = first ?? "";
  let life = Infinity;
  let getting: Promise<string> | null = null;

  const expiresIn = (): number | null => {
    const { exp } = claimsOf(token);
    return exp === undefined ? null : exp * 1000 - clock.now();
  };
  const renew = async (): Promise<string> => {
    token = await get();
    life = expiresIn() ?? Infinity;
    return token;
  };
  const current = async (refresh = false): Promise<string> => {
    if (getting) return getting;
    const isOver = !token || (expiresIn() ?? Infinity) <= Math.min(margin, life / 4);
    if (!refresh && !isOver) return token;
    getting = renew().finally(() => (getting = null));
    return getting;
  };
  return Object.assign(current, { expiresIn });
}
