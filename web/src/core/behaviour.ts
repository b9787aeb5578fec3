/** What a session is made of, and how it is to behave. */

import type { CreateSession } from "../generated/schemas.js";
import type { Doubt } from "./rebase.js";
import type { Channel, Environment, Journal, Json, Transport } from "./types.js";

/** When a session saves and looks, and what it does about what can't be told by itself. */
export interface Behaviour<S> {
  /** Milliseconds after the last change until it is saved. By default 5,000. */
  debounce?: number;
  /** Milliseconds after the first change until it is saved, however much is still changed. By default 30,000. */
  maxWait?: number;
  /** Milliseconds between two looks for what others have saved. By default 3,000; 0: never. */
  poll?: number;
  /** The state of a session that is made. */
  initial?: S;
  /** Fields of a session that is made, such as its name. */
  fields?: Omit<CreateSession, "id" | "key" | "state">;
  /** The app's version of its state, kept in the state as `schemaVersion`; without one there it is 1. */
  version?: number;
  /** Brings the state of an older version up. The number before keeps the label "before version N". */
  migrate?: (state: S, from: number) => S;
  /**
   * What to do when the session is gone: `stop` (default) saves nothing more; `new` goes on in a new one, which begins
   * as any other; `{carry: n}` in one that has the last n messages too. What was not saved stays in the journal, under
   * the session that is gone.
   */
  onExpired?: "stop" | "new" | { carry: number };
  /** Decides what stands where both sides changed the same; undefined: mine. */
  resolve?: (doubt: Doubt) => Json | undefined;
}

/** Which session, and where it is written down. @internal */
export interface Found {
  /** The session's id; of one that may have to be made, the one that it then gets. */
  id: string;
  journal: Journal;
  /** The tabs of this browser that have it open. */
  channel(id: string): Channel;
  /** Make it if it is not there: under the key, or anew. */
  _make?: { key?: string };
  /** The id is another one from now on. */
  _moved?(id: string): void;
}

/** What a session runs in, and whom it asks. */
export interface Surroundings {
  environment: Environment;
  transport: Transport;
}
