/**
 * What a client keeps of a session, and what becomes of it: pure, but for the copy itself.
 *
 * Always: `sent` is the base with the changes under way done to it, and `local` is `sent` with the edits since. Before
 * the server has said what it has (number 0), `sent` may be all that is known: some of a state, or how one begins.
 */

import { apply, diff } from "./changes.js";
import { moves, rebase, type Doubt } from "./rebase.js";
import type { Status } from "./surface.js";
import type { Changes, Delta, JournalRecord, RecordName, Sending, State } from "./types.js";

/** A client's copy. */
export interface Copy {
  /** What the server had at `number`. */
  base: State;
  number: number;
  /** The one save under way; unchanged until it is answered. */
  sending: Sending | null;
  _sent: State;
  _local: State;
  /** What is written down of `local`, and what is being written. */
  _written: State[];
  /** The idempotency key of the save after that. */
  next: string;
}

/** The copy that a record is about. */
export function copyFrom({ base, number, sending, pending, next }: Omit<JournalRecord, keyof RecordName | "at">): Copy {
  const sent = sending ? apply(base, sending.changes) : base;
  const local = pending ? apply(sent, pending) : sent;
  return { base: number || sending ? base : {}, number, sending, _sent: sent, _local: local, _written: [local], next };
}

/** A copy with nothing of its own, of which the server has said nothing. */
export const copyOf = (base: State, next: string): Copy => ({
  ...copyFrom({ base, number: 0, sending: null, pending: null, next }),
  base,
});

/** What the unsaved changes of a copy begin from. */
const from = ({ base, sending, _sent: sent }: Copy): State => (sending ? base : sent);

/** What to write down of a copy. */
export const recordOf = (copy: Copy, { session, client }: RecordName, at: number): JournalRecord => ({
  session,
  client,
  number: copy.number,
  base: from(copy),
  sending: copy.sending,
  pending: diff(copy._sent, copy._local),
  next: copy.next,
  at,
});

/** The save under way; one is begun if there are edits. */
export function compose(copy: Copy, key: () => string): Sending | null {
  const changes = copy.sending ? null : diff(copy.base, copy._local);
  if (changes) {
    copy.sending = { key: copy.next, changes };
    copy._sent = copy._local;
    copy.next = key();
  }
  return copy.sending;
}

/** Edits, or what they were made from, on a base: nothing is under way. */
export function reset(copy: Copy, base: State, number: number, local: State): void {
  Object.assign(copy, { base, number, sending: null, _sent: base, _local: local } satisfies Partial<Copy>);
}

/** Another client has taken over what was written down: only the edits since are this one's to send. */
export function letGo(copy: Copy): void {
  reset(copy, copy.base, copy.number, rebase(copy._written[0]!, copy.base, copy._local, {}, true).state);
  copy._written = [copy.base];
}

/** The save under way is not to be; what it would have saved are edits again. */
export const giveUp = (copy: Copy): void => reset(copy, copy.base, copy.number, copy._local);

/** Begins a save that was refused once more, from the base that there is now: with its key, and no later edits. */
export function resume(copy: Copy, key: string, base: State, sent: State): void {
  const again = rebase(base, copy.base, sent).state;
  const changes = diff(copy.base, again);
  if (changes) Object.assign(copy, { sending: { key, changes }, _sent: again } satisfies Partial<Copy>);
}

/** The server's state after a save, if its answer says it. */
export function theirsOf(copy: Copy, answer: { number: number; created: boolean; others: Delta | null }): State | null {
  if (answer.others) return apply(copy.base, answer.others);
  return answer.number - Number(answer.created) === copy.number ? copy._sent : null;
}

/** The server has this now, the save under way in it, if there was one: the edits since go on from there. */
export function settle(copy: Copy, theirs: State, number: number): Doubt[] {
  const moved = moves(copy.base, copy._sent, theirs);
  const { state, doubts } = rebase(copy._sent, theirs, copy._local, moved);
  copy._written = copy._written.map((one) => (one === copy._local ? state : rebase(copy._sent, theirs, one, moved).state));
  reset(copy, theirs, number, state);
  return doubts;
}

/** What is not on the server yet. */
export const unsaved = (copy: Copy): Changes | null => diff(from(copy), copy._local);

/** How much that is. Bytes are counted when asked for. */
export const waitingOf = (changes: Changes | null): Status["waiting"] => ({
  changes: Object.values(changes ?? {}).flatMap((some: object) => Object.keys(some)).length,
  get bytes() {
    return changes ? new Blob([JSON.stringify(changes)]).size : 0;
  },
});
