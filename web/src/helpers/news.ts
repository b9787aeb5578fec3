import type { Transport } from "../core/types.js";

/** News that come to the page by a way of the app's own: a WebSocket to an agent's server, push, another frame. */
export interface NewsLine {
  /** For `open({ listen })`. */
  listen: NonNullable<Transport["listen"]>;
  /** There is a snapshot of this number: a session that has not seen it looks at once. */
  tell(session: string, number: number): void;
}

/** A line for the sessions of a page. What is told before a session listens reaches it when it does. */
export function newsLine(): NewsLine {
  type Told = Parameters<NewsLine["listen"]>[1];
  const listening = new Set<[session: string, told: Told]>();
  const latest = new Map<string, number>();
  return {
    listen(session, told) {
      const one: [string, Told] = [session, told];
      listening.add(one);
      const number = latest.get(session);
      if (number !== undefined) told({ kind: "snapshot", number });
      return () => void listening.delete(one);
    },
    tell(session, number) {
      latest.set(session, number);
      for (const [whose, told] of [...listening]) if (whose === session) told({ kind: "snapshot", number });
    },
  };
}
