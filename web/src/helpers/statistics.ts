import { systemClock } from "../core/memory.js";
import type { Session } from "../core/surface.js";
import type { Clock } from "../core/types.js";
import type { FreshToken } from "./tokens.js";

/** A session in figures. */
export interface Statistics {
  /** Whether it is restored and can be saved into: it has not expired, and nothing that can't be helped stands against it. */
  active: boolean;
  id: string;
  /** Items of the state's list `messages`. */
  messages: number;
  /** In ms: since `since`. */
  duration: number;
  /** How often the server was there again after it had not been, in this page. */
  reconnects: number;
  /** In ms, below 0 if it is over; null: not known. */
  tokenExpiresIn: number | null;
}

export interface StatisticsOptions {
  /** The token that the session was opened with, by `freshToken`. */
  token?: FreshToken;
  /** When it began, in ms since 1970; by default now. */
  since?: () => number;
  clock?: Pick<Clock, "now">;
}

/** Counts from now on; what it returns reads the figures as they are. */
export function statisticsOf<S>(session: Session<S>, { token, since, clock = systemClock }: StatisticsOptions = {}): () => Statistics {
  const now = clock.now();
  let reconnects = 0;
  let expired = "";
  session.on("reconnected", () => reconnects++);
  session.on("expired", (gone) => (expired = gone.session));
  return () => {
    const { id, state, status } = session;
    const { messages } = state as { messages?: unknown };
    return {
      active: status.isRestored && !status.isReadOnly && id !== expired,
      id,
      messages: Array.isArray(messages) ? messages.length : 0,
      duration: clock.now() - (since?.() ?? now),
      reconnects,
      tokenExpiresIn: token?.expiresIn() ?? null,
    };
  };
}
