import { useCallback, useEffect, useMemo, useState } from "./hooks.js";
import type { ListedSession, UpdateSession } from "../generated/schemas.js";
import { isSame } from "../core/values.js";
import { connect, type ConnectOptions } from "../core/open.js";
import { currentToken, useLatest } from "./opening.js";

export interface SessionsOptions extends ConnectOptions {
  /** Only those in whose name this is found, in any case of letters. */
  search?: string;
  archived?: "true" | "false" | "all";
  /** Only one's own whose key begins with this: those of one app, or of one part of it. */
  keyPrefix?: string;
  /** How many at most; `loadMore` gets as many again. By default 50. */
  limit?: number;
  /** Milliseconds between two looks while the page is seen. By default 10,000; 0: never. */
  poll?: number;
}

export interface Sessions {
  /** Last active first. The same objects as before where nothing changed. */
  sessions: readonly ListedSession[];
  isLoading: boolean;
  error: unknown;
  hasMore: boolean;
  loadMore(): void;
  refresh(): Promise<void>;
  rename(id: string, name: string): Promise<void>;
  change(id: string, changes: UpdateSession): Promise<void>;
  remove(id: string): Promise<void>;
}

/** The server hands out no longer pages. */
const MOST = 200;

/** The person's sessions, as they are and become: a list for a sidebar. */
export function useSessions(options: SessionsOptions): Sessions {
  const { search = "", archived = "false", keyPrefix = "", limit = 50, poll = 10_000, url, person } = options;
  const latest = useLatest(options);
  // Another server or another person is another connection; another render is not.
  const connection = useMemo(() => connect({ ...latest.current, ...currentToken(latest) }), [url, person, latest]);
  const [wanted, setWanted] = useState(limit);
  const [seen, setSeen] = useState<{ of: unknown; sessions: readonly ListedSession[]; hasMore: boolean; error: unknown } | null>(null);

  const refresh = useCallback(async (): Promise<void> => {
    try {
      const args = { limit: wanted, archived, ...(search && { search }), ...(keyPrefix && { key_prefix: keyPrefix }) };
      const { sessions, next } = await connection.transport.call("list", args);
      setSeen((before) => ({
        of: connection,
        sessions: sessions.map((one) => before?.sessions.find((was) => was.id === one.id && isSame(was as never, one as never)) ?? one),
        hasMore: next !== null,
        error: null,
      }));
    } catch (error) {
      setSeen((before) => ({ of: connection, sessions: before?.of === connection ? before.sessions : [], hasMore: false, error }));
    }
  }, [connection, search, archived, keyPrefix, wanted]);

  useEffect(() => {
    const { clock, page } = connection.environment;
    let cancel = (): void => {};
    let isGone = false;
    const look = async (): Promise<void> => {
      cancel();
      await refresh();
      if (poll && !isGone && !page.hidden()) cancel = clock.after(poll, () => void look());
    };
    void look();
    const unlisten = page.listen((event) => void (event === "visible" || event === "online" ? look() : undefined));
    return () => {
      isGone = true;
      cancel();
      unlisten();
    };
  }, [connection, refresh, poll]);

  const then = async (done: Promise<unknown>): Promise<void> => {
    await done;
    await refresh();
  };
  const change = (session_id: string, changes: UpdateSession): Promise<void> =>
    then(connection.transport.call("change", { session_id, ...changes }));
  const { sessions = [], hasMore = false, error = null } = (seen?.of === connection && seen) || {};
  return {
    sessions,
    hasMore,
    error,
    isLoading: seen?.of !== connection,
    refresh,
    change,
    rename: (id, name) => change(id, { name }),
    remove: (session_id) => then(connection.transport.call("remove", { session_id })),
    loadMore: () => setWanted((count) => Math.min(count + limit, MOST)),
  };
}
