/** A connection of the app's own (a call, a socket), made anew whenever it is lost. */

import { defaultEnvironment } from "../core/environment.js";
import type { Environment } from "../core/types.js";

export type Connection = "connecting" | "connected" | "disconnected";

/** One try to connect. What is said of one that is over is not listened to. */
export interface Attempt {
  /** The connection is there. */
  opened(): void;
  /** It could not be made, or is there no more. */
  lost(): void;
  /** Aborted when this try is over, whoever ended it: close the connection then. */
  signal: AbortSignal;
}

export interface ReconnectingOptions {
  changed?(connection: Connection): void;
  /** It was lost, or could not be made; told once until it is there again. */
  reconnecting?(): void;
  /** It is there again. */
  reconnected?(): void;
  /** How long a try may take, in ms. By default 10,000. */
  timeout?: number;
  /** ms before the second try, and the most before any: it is twice as long each time, and up to half less by chance. */
  wait?: { first: number; most: number };
  environment?: Partial<Pick<Environment, "clock" | "page" | "random">>;
}

export interface Reconnecting {
  readonly connection: Connection;
  /** How often it was there again after it had been lost. */
  readonly reconnects: number;
  /** Connects; from now on the connection is kept up. Does nothing if it is already. */
  connect(): void;
  disconnect(): void;
}

/** Keeps a connection up. `open` makes one, and says how it goes; what it throws, or rejects with, is a loss. */
export function reconnecting(
  open: (attempt: Attempt) => void | Promise<void>,
  { changed, timeout = 10_000, wait = { first: 500, most: 15_000 }, environment, ...told }: ReconnectingOptions = {},
): Reconnecting {
  const { clock, page, random } = { ...defaultEnvironment(), ...environment };
  let connection: Connection = "disconnected";
  let failures = 0;
  let reconnects = 0;
  let end = (): void => {};
  let unlisten = (): void => {};

  const become = (to: Connection): void => {
    if (to !== connection) changed?.((connection = to));
  };
  const attempt = (): void => {
    end();
    const over = new AbortController();
    const ifRunning = (what: () => void) => () => void (over.signal.aborted || what());
    const lost = ifRunning(() => {
      const isFirst = !failures;
      const pause = Math.min(wait.first * 2 ** failures++, wait.most) * (0.5 + random() / 2);
      end();
      end = clock.after(pause, attempt);
      become("connecting");
      if (isFirst) told.reconnecting?.();
    });
    const opened = ifRunning(() => {
      const isAgain = failures > 0;
      failures = 0;
      if (isAgain) reconnects++;
      cancel();
      become("connected");
      if (isAgain) told.reconnected?.();
    });
    const cancel = clock.after(timeout, lost);
    end = () => {
      cancel();
      over.abort();
    };
    const { signal } = over;
    void (async () => open({ opened, lost, signal }))().catch(lost);
  };
  return {
    get connection() {
      return connection;
    },
    get reconnects() {
      return reconnects;
    },
    connect() {
      if (connection !== "disconnected") return;
      become("connecting");
      // no need to wait any longer
      unlisten = page.listen((event) => event === "online" && failures && attempt());
      attempt();
    },
    disconnect() {
      end();
      unlisten();
      failures = 0;
      become("disconnected");
    },
  };
}
