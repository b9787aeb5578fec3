import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "./hooks.js";
import type { Behaviour } from "../core/behaviour.js";
import { open, type ConnectOptions, type OpenOptions, type WhichSession } from "../core/open.js";
import type { Session, Snapshot, Version } from "../core/surface.js";
import type { State } from "../core/types.js";

const nothing = (): null => null;
const never = (): (() => void) => () => {};

/** A session as it is now; null: there is none. Calls of one render see one and the same. */
export function useSnapshot<S>(session: Session<S> | null): Snapshot<S> | null {
  return useSyncExternalStore<Snapshot<S> | null>(session?.subscribe ?? never, session?.getSnapshot ?? nothing, nothing);
}

/** The session, where something is to be done with it. */
export function needed<S>(session: Session<S> | null): Session<S> {
  if (!session) throw new Error("There is no session yet.");
  return session;
}

/** A value that handlers and effects read when they run, without running again because it is another one. */
export function useLatest<T>(value: T): { readonly current: T } {
  const latest = useRef(value);
  useEffect(() => void (latest.current = value));
  return latest;
}

/** The token, asked for at each request: one that the app has renewed meanwhile is the one that is sent. */
export function currentToken(options: { readonly current: ConnectOptions }): Pick<ConnectOptions, "token"> {
  if (!options.current.token) return {};
  return {
    token: (refresh) => {
      const { token } = options.current;
      return typeof token === "function" ? token(refresh) : token;
    },
  };
}

/** Which session to show; a new one is made with these fields, too. */
export type Shown<S> = WhichSession & Pick<Behaviour<S>, "fields">;

/** Opens sessions, one at a time, and closes the one before. `current`: the one that is open, at once. */
export interface Opener<S> {
  session: Session<S> | null;
  current: { readonly current: Session<S> | null };
  show(which: Shown<S>): Session<S>;
}

/** With `auto`, the session that the options name is opened as soon as they do. */
export function useOpener<S>(options: OpenOptions<S>, auto: boolean): Opener<S> {
  const latest = useLatest(options);
  const [session, setSession] = useState<Session<S> | null>(null);
  const current = useRef<Session<S> | null>(null);
  const from = useRef("");
  const server = JSON.stringify([options.url, options.person]);

  const change = useCallback((to: Session<S> | null): void => {
    void current.current?.close();
    current.current = to;
    setSession(to);
  }, []);
  const show = useCallback(
    (which: Shown<S>): Session<S> => {
      const { session: _, key: __, tab: ___, ...others } = latest.current;
      const opened = open<S>({ ...others, ...which, ...currentToken(latest) } as OpenOptions<S>);
      from.current = server;
      change(opened);
      return opened;
    },
    [latest, server, change],
  );

  const { session: id, key, tab } = options;
  useEffect(() => {
    // The one that was just made is named by the options now: it is the same one.
    const isShown = id !== undefined && current.current?.id === id && from.current === server;
    if (auto && !isShown) show(latest.current);
    else if (!auto) change(null);
  }, [auto, server, id, key, tab, latest, show, change]);
  useEffect(() => () => change(null), [change]);

  return { session, current, show };
}

/** What a restore is like. */
export interface Restoring {
  /** Brings a version to the front, as a new one. */
  restore(version: Required<Pick<Version, "number">> | Required<Pick<Version, "label">>): Promise<void>;
  /** Whether something is on its way: the first look at the server, or a restore. */
  isRestoring: boolean;
  /** Whether the server has said what it has. */
  isRestored: boolean;
  error: unknown;
  /** Which snapshot is shown, where the state came from first, and what it was brought back from, if it was. */
  metadata: { number: number; from: "copy" | "server" | null; version: Version | null } | null;
}

/** What is known of a session's restoring, beside its snapshot. */
interface Known<S> {
  session?: Session<S> | null;
  from?: "copy" | "server";
  version?: Version;
  error?: unknown;
  isBusy?: boolean;
  /** Why there will be no state to show. */
  failure?: unknown;
}

/** How a session is being restored; and brings older versions to the front. */
export function useSessionRestore<S>(session: Session<S> | null): Restoring {
  const snapshot = useSnapshot(session);
  const [known, setKnown] = useState<Known<S>>({});
  const { from = null, version = null, error, failure, isBusy = false } = known.session === session ? known : {};

  // What comes late of another session says nothing about this one.
  const note = useCallback(
    (more: Known<S>) => setKnown((before) => (before.session === session ? { ...before, ...more } : before)),
    [session],
  );
  useEffect(() => {
    setKnown({ session });
    session?.ready.catch((failure: unknown) => note({ failure }));
    return session?.on("restored", note);
  }, [session, note]);
  const restore = useCallback(
    async (version: Version) => {
      const opened = needed(session);
      note({ isBusy: true, error: undefined });
      try {
        await opened.restore(version as { number: number });
        note({ version });
      } catch (error) {
        note({ error });
        throw error;
      } finally {
        note({ isBusy: false });
      }
    },
    [session, note],
  );

  const isRestored = !!snapshot?.status.isRestored;
  return {
    restore,
    isRestoring: isBusy || (snapshot !== null && !isRestored && !failure),
    isRestored,
    error: error ?? failure ?? snapshot?.status.error ?? null,
    metadata: snapshot && { number: snapshot.number, from, version },
  };
}

/** Opens a session when the component is shown, restores it, and closes it with the component. */
export function useAutoRestore<S = State>(options: OpenOptions<S> & { enabled?: boolean }): Restoring & {
  session: Session<S> | null;
  state: S | null;
} {
  const { session } = useOpener(options, options.enabled ?? true);
  return { session, state: useSnapshot(session)?.state ?? null, ...useSessionRestore(session) };
}
