import { useCallback, useEffect, useRef } from "./hooks.js";
import type { Session, Status } from "../core/surface.js";
import { useSnapshot } from "./opening.js";

export interface PersistenceOptions<S> {
  /** The app's own state, to be kept whenever it is another one; for apps that change the session itself: leave it out. */
  state?: S;
  /** Whether `state` is kept. By default true. */
  enabled?: boolean;
}

type Saving = Pick<Status, "isSaving" | "lastSaved" | "saveCount" | "waiting" | "error" | "offline">;

/** How it saves. */
export interface Persistence extends Saving {
  /** Saves at once; resolves when all so far is on the server. */
  saveNow(): Promise<void>;
}

const NOTHING: Saving = {
  isSaving: false,
  lastSaved: null,
  saveCount: 0,
  waiting: { changes: 0, bytes: 0 },
  error: null,
  offline: false,
};

/** How a session saves itself; and, if the app keeps its state elsewhere, what is to be saved. */
export function useSessionPersistence<S>(session: Session<S> | null, { state, enabled = true }: PersistenceOptions<S> = {}): Persistence {
  const status = useSnapshot(session)?.status ?? NOTHING;

  // What is there at first is what the app begins with, not an edit: it does not go over what was saved before.
  const kept = useRef({ session, state });
  useEffect(() => {
    if (kept.current.session !== session) kept.current = { session, state };
    else if (session && enabled && state !== undefined && state !== kept.current.state) {
      kept.current.state = state;
      session.set(state);
    }
  }, [session, state, enabled]);

  const saveNow = useCallback(() => session?.saveNow() ?? Promise.resolve(), [session]);
  return { ...status, saveNow };
}
