/** asyouwere's answers in React. */

import type { Session, Snapshot } from "../../core/surface.js";
import type { Json, State } from "../../core/types.js";
import { turnsOf, type RunningTurn, type TurnOptions, type TurnProgress } from "../../turns/index.js";
import { useCallback, useEffect, useRef, useState } from "../hooks.js";
import { needed, useSnapshot } from "../opening.js";

const SOON = 2_000;

export interface TurnView {
  /** The answer that is being made, or was made last, with all its chunks, here or elsewhere; null: none that is known of. */
  turn: TurnProgress | null;
  /**
   * What to show of it under the messages: its text so far ("": none yet), from its beginning until the message that it
   * becomes is among them, never beside that and without a gap; null: nothing.
   */
  shown: string | null;
  isRunning: boolean;
  error: unknown;
  /** Begins an answer that this page makes; it is shown as it comes. */
  start(options?: TurnOptions): Promise<RunningTurn>;
  /** Shows an answer that is made elsewhere, from its beginning. By default the running one. */
  follow(turn?: string): void;
  /** Asks whoever makes it to stop. */
  stop(): Promise<void>;
}

/** The messages of a state; null: they are not all here. */
function messagesOf<S>({ state, status }: Pick<Snapshot<S>, "state" | "status">): Json[] | null {
  const messages = (state as State)["messages"];
  return status.isPartial ? null : Array.isArray(messages) ? messages : [];
}

/** Whether a message that came since an answer began is what that becomes: nobody's question, with what is known of the text. */
function isAnswer(message: Json, text: string): boolean {
  const role = message && typeof message === "object" && "role" in message && message["role"];
  return role !== "user" && JSON.stringify(message).includes(JSON.stringify(text).slice(1, -1));
}

/** `began`: how many messages there were before the answer; null: not known. */
function shownOf<S>(snapshot: Snapshot<S>, { status, number, position, text }: TurnProgress, began: number | null): string | null {
  const messages = messagesOf(snapshot);
  if (status === "running") {
    // the message may be here before anybody has said that the answer is over
    const isHere = messages && began !== null && messages.slice(began).some((message) => isAnswer(message, text));
    return isHere ? null : text;
  }
  // it stays until the version is here that has the message; there may have been no room for one
  const isOnItsWay = position === null ? text !== "" : messages && number! > snapshot.number;
  return isOnItsWay ? text : null;
}

/** An answer while it is being made, wherever it is made: after a reload, in another tab, on another device. */
export function useTurn<S>(session: Session<S> | null): TurnView {
  const [wanted, setWanted] = useState<{ turn?: string; count: number }>({ count: 0 });
  const [seen, setSeen] = useState<{ session: Session<S>; turn: TurnProgress | null; began: number | null; error: unknown } | null>(null);
  const told = useRef("");

  const follow = useCallback((turn?: string) => setWanted(({ count }) => ({ count: count + 1, ...(turn && { turn }) })), []);

  const snapshot = useSnapshot(session);
  const number = snapshot?.number;
  // nothing is asked of a session that the server has not heard of yet
  const isThere = !!(number || snapshot?.status.isRestored || wanted.turn);
  useEffect(() => {
    if (!session || !isThere) return;
    const gone = new AbortController();
    void (async () => {
      const chunks: TurnProgress["chunks"] = [];
      try {
        await session.ready;
        let began = messagesOf(session)?.length ?? null;
        for await (const progress of turnsOf(session).follow(wanted.turn, { signal: gone.signal })) {
          if (gone.signal.aborted) return;
          chunks.push(...progress.chunks);
          told.current = progress.id;
          began ??= messagesOf(session)?.length ?? null;
          const now = { session, turn: { ...progress, chunks: [...chunks] }, began, error: null };
          // followed anew, it began when it did
          setSeen((before) => (before?.session === session && before.turn?.id === progress.id ? { ...now, began: before.began ?? began } : now));
        }
      } catch (error) {
        if (!gone.signal.aborted)
          setSeen((before) => ({ ...(before?.session === session ? before : { session, turn: null, began: null }), error }));
      }
    })();
    return () => gone.abort();
  }, [session, wanted, isThere]);

  // A turn that somebody else begins is told by the server where it can; else what they say before it gives it away.
  const mine = seen?.session === session ? seen : null;
  const isRunning = mine?.turn?.status === "running";
  const met = useRef(number);
  useEffect(() => {
    if (isRunning || !session) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    if (met.current !== number) {
      follow();
      timer = setTimeout(follow, SOON); // a question is saved before its answer begins
    }
    met.current = number;
    // what is followed is told of, too
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
    shown: snapshot && turn && shownOf(snapshot, turn, mine!.began),
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
