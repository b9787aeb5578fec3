/** asyouwere's answers in React. */

import type { Session } from "../../core/surface.js";
import { turnsOf, type RunningTurn, type TurnOptions, type TurnProgress } from "../../turns/index.js";
import { useCallback, useEffect, useRef, useState } from "../hooks.js";
import { needed, useSnapshot } from "../opening.js";

const SOON = 2_000;

export interface TurnView {
  /** The answer that is being made, or was made last, with all its chunks, here or elsewhere; null: none that is known of. */
  turn: TurnProgress | null;
  isRunning: boolean;
  error: unknown;
  /** Begins an answer that this page makes; it is shown as it comes. */
  start(options?: TurnOptions): Promise<RunningTurn>;
  /** Shows an answer that is made elsewhere, from its beginning. By default the running one. */
  follow(turn?: string): void;
  /** Asks whoever makes it to stop. */
  stop(): Promise<void>;
}

/** An answer while it is being made, wherever it is made: after a reload, in another tab, on another device. */
export function useTurn<S>(session: Session<S> | null): TurnView {
  const [wanted, setWanted] = useState<{ turn?: string; count: number }>({ count: 0 });
  const [seen, setSeen] = useState<{ session: Session<S>; turn: TurnProgress | null; error: unknown } | null>(null);

  const follow = useCallback((turn?: string) => setWanted(({ count }) => ({ count: count + 1, ...(turn && { turn }) })), []);

  useEffect(() => {
    if (!session) return;
    const gone = new AbortController();
    const see = (turn: TurnProgress | null, error: unknown = null): void => {
      if (!gone.signal.aborted) setSeen((before) => ({ session, turn: turn ?? (before?.session === session ? before.turn : null), error }));
    };
    void (async () => {
      try {
        await session.ready;
        const chunks: TurnProgress["chunks"] = [];
        for await (const progress of turnsOf(session).follow(wanted.turn, { signal: gone.signal })) {
          chunks.push(...progress.chunks);
          see({ ...progress, chunks });
        }
      } catch (error) {
        see(null, error);
      }
    })();
    return () => gone.abort();
  }, [session, wanted]);

  // A turn that somebody else begins is told by the server where it can; else what they say before it gives it away.
  const mine = seen?.session === session ? seen : null;
  const isRunning = mine?.turn?.status === "running";
  const number = useSnapshot(session)?.number;
  const met = useRef(number);
  const told = useRef("");
  useEffect(() => {
    if (isRunning || !session) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    if (met.current !== number) {
      follow();
      timer = setTimeout(follow, SOON); // a question is saved before its answer begins
    }
    met.current = number;
    // what is followed is told of, too: each is followed once by that
    const undo = session.on("turn", ({ turn }) => {
      if (told.current !== turn) follow((told.current = turn));
    });
    return () => {
      clearTimeout(timer);
      undo();
    };
  }, [session, isRunning, number, follow]);

  const turn = mine?.turn ?? null;
  return {
    turn,
    isRunning,
    error: mine?.error ?? null,
    follow,
    async start(options) {
      const running = await turnsOf(needed(session)).start(options);
      follow(running.id);
      return running;
    },
    async stop() {
      if (session) await turnsOf(session).stop(turn?.id);
    },
  };
}
