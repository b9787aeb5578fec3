/**
 * What a client keeps of a session, and what becomes of it: pure, but for the copy itself.
 *
 * Always: `sent` is the base with the changes under way done to it, and `local` is `sent` with the edits since.
 */

import { apply, diff } from "./changes.js";
import { moves, rebase, type Doubt } from "./rebase.js";
import type { Changes, Delta, JournalRecord, RecordName, Sending, State } from "./types.js";

/** A client's copy. */
export interface Copy {
  /** What the server had at `number`. */
  base: State;
  number: number;
  /** The one save under way; unchanged until it is answered. */
  sending: Sending | null;
  sent: State;
  local: State;
}

/** A copy with nothing of its own. */
export const copyOf = (base: State, number: number): Copy => ({ base, number, sending: null, sent: base, local: base });

/** The copy that a record is about. */
export function copyFrom({ base, number, sending, pending }: JournalRecord): Copy {
  const sent = sending ? apply(base, sending.changes) : base;
  return { base, number, sending, sent, local: pending ? apply(sent, pending) : sent };
}

/** What to write down of a copy. */
export const recordOf = ({ base, number, sending, sent, local }: Copy, name: RecordName, at: number): JournalRecord => ({
  session: name.session,
  client: name.client,
  number,
  base,
  sending,
  pending: diff(sent, local),
  at,
});

/** Whether there is a save under way; one is begun if there are edits. */
export function compose(copy: Copy, key: () => string): copy is Copy & { sending: Sending } {
  if (!copy.sending) {
    const changes = diff(copy.base, copy.local);
    if (!changes) return false;
    copy.sending = { key: key(), changes };
    copy.sent = copy.local;
  }
  return true;
}

/** The save under way is not to be; what it would have saved are edits again. */
export function giveUp(copy: Copy): void {
  copy.sending = null;
  copy.sent = copy.base;
}

/** The server's state after a save, if its answer says it. */
export function theirsOf(copy: Copy, answer: { number: number; created: boolean; others: Delta | null }): State | null {
  if (answer.others) return apply(copy.base, answer.others);
  return answer.number - Number(answer.created) === copy.number ? copy.sent : null;
}

/** The server has this now, the save under way in it, if there was one: the edits since go on from there. */
export function settle(copy: Copy, theirs: State, number: number): Doubt[] {
  const { state, doubts } = rebase(copy.sent, theirs, copy.local, moves(copy.base, copy.sent, theirs));
  Object.assign(copy, copyOf(theirs, number), { local: state });
  return doubts;
}

/** What is not on the server yet, as changes to the base. */
export const unsaved = ({ base, local }: Copy): Changes | null => diff(base, local);
