/** Saves and looks: one request, and what its answer does to a copy. */

import { apply } from "./changes.js";
import { compose, giveUp, resume, settle, theirsOf, type Copy } from "./copy.js";
import type { Doubt } from "./rebase.js";
import { Refused } from "./refused.js";
import type { CallOptions, Changes, Delta, State, Transport } from "./types.js";

/** A copy on its way to the server. */
export interface Errand {
  /** The session's. */
  id: string;
  _copy: Copy;
  transport: Transport;
  uuid(): string;
  /** Writes the copy down; before anything is sent. False: it was another's to send, and is another copy now. */
  write(): Promise<boolean>;
  /** Told after each answer that was folded in: what was not plain, and what led there from the number before. */
  _settled(doubts: Doubt[], since: number, changes?: Changes | Delta): void;
}

/** Whether asking again later can help. */
export const isPassing = ({ status }: Refused): boolean =>
  status === 0 || status === 401 || status === 408 || status === 429 || status >= 500;

/** The session is not there (any more), or not for this person. */
export const isGone = ({ code }: Refused): boolean => code === "session_not_found";

/** What asking again can't cure: the copy has to catch up first. */
const STALE = ["conflict", "unknown_base", "snapshot_gone"];

/**
 * Saves what there is to save, in one request unless others are in the way; whether there was anything. Rejects with
 * the `Refused`; what could not be saved stays in the copy: under way, or as edits again if it never can be.
 *
 * With `keepalive` the page is going, and nothing is waited for or begun: the record has the key as that of the next save.
 */
export async function save(errand: Errand, options: CallOptions = {}): Promise<boolean> {
  const { _copy: copy, transport, id: session_id, uuid } = errand;
  for (let tries = 1; ; tries++) {
    const sending = compose(copy, uuid);
    if (!sending) return false;
    const { key, changes } = sending;
    const base = copy.number;
    if (!options.keepalive && !(await errand.write())) continue;
    try {
      const answer = await transport.call("save", { session_id, changes, base, idempotency_key: key }, {
        ...options,
        state: copy._sent,
      });
      if (copy.sending !== sending) return true; // this page was frozen, and another has sent it
      const theirs = theirsOf(copy, answer);
      if (theirs) errand._settled(settle(copy, theirs, answer.number), base, answer.others ?? changes);
      else await catchUp(errand, true); // an old answer, whose number is not kept any more
      return true;
    } catch (error) {
      const refused = error as Refused;
      if (copy.sending !== sending) return true;
      if (refused.code === "idempotency_key_reused") {
        // a page that is going may have been robbed of what it had; only its journal can say
        if (options.keepalive) return false;
        await catchUp(errand, true); // a page that was going has saved it, with what the record did not know any more
        return true;
      }
      const isStale = STALE.includes(refused.code);
      if (isStale && tries < 6) {
        await catchUp(errand, undefined, true);
        continue;
      }
      if (isStale || !isPassing(refused)) giveUp(copy);
      throw error;
    }
  }
}

/**
 * Takes in what others have saved: the changes since, or all of it. Not while a save is under way that has no answer; one
 * that was refused begins once more.
 */
export async function catchUp(errand: Errand, isWhole = !errand._copy.number, isRefused = false): Promise<void> {
  const { _copy: copy, transport, id: session_id, _settled: settled } = errand;
  const { number: since, sending, base, _sent: sent } = copy;
  const answer = isWhole ? await transport.call("restore", { session_id }) : await transport.call("changes", { session_id, since });
  // another tab may have told meanwhile, or a page that is going have saved
  if (copy.number !== since || copy.sending !== sending) return;
  const { number, state, changes } = answer as { number: number; state?: State; changes?: Delta | null };
  if (!state && !changes) return catchUp(errand, true, isRefused);
  if (isRefused) giveUp(copy);
  const theirs = state ?? (number > since && apply(base, changes!));
  const doubts = theirs && settle(copy, theirs, number);
  // At once, before anybody writes it down or sends what there is: should the refused request come once more, late, it
  // must not be a second save. So the same edits go under the same key.
  if (isRefused) resume(copy, sending!.key, base, sent);
  if (doubts) settled(doubts, since, changes!);
}
