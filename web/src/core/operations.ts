/** What a client asks of a server, whichever way it is asked: names, arguments and answers. */

import type {
  BegunTurn,
  ChangesSince,
  ChunksRequest,
  BeginRequest,
  BudgetRequest,
  Claimed,
  CreateSession,
  CreatedSession,
  DeletedSession,
  DifferenceList,
  FinishRequest,
  Flushed,
  ForkOrigin,
  ForkRequest,
  ListedSession,
  MergeRequest,
  Offer,
  Recorded,
  Restored,
  Saved,
  SessionPage,
  SessionUsage,
  Snapshot,
  SnapshotPage,
  SomeParts,
  Stopped,
  Turn,
  UpdateSession,
  UsageRequest,
} from "../generated/schemas.js";
import type { Changes, Delta, Json, State } from "./types.js";

type Of = { session_id: string };
type OfTurn = Of & { turn_id: string };
/** With what is JSON typed as such. */
type With<T, More> = Omit<T, keyof More> & More;

/** The page of a list after a cursor. */
export interface PageOf {
  limit?: number;
  cursor?: string;
}

/** Each operation with its arguments and its answer. */
export interface Operations {
  create: { args: CreateSession; answer: CreatedSession };
  get: { args: Of; answer: ListedSession };
  change: { args: Of & UpdateSession; answer: unknown };
  list: {
    args: PageOf & { search?: string; status?: string; archived?: "true" | "false" | "all"; key_prefix?: string };
    answer: SessionPage;
  };
  remove: { args: Of; answer: DeletedSession };
  save: {
    args: Of & { changes: Changes; base: number; idempotency_key: string; label?: string };
    answer: With<Saved, { others: Delta | null }>;
  };
  restore: { args: Of & { number?: number; label?: string }; answer: With<Restored, { state: State }> };
  changes: { args: Of & { since: number }; answer: With<ChangesSince, { changes: Delta | null }> };
  parts: { args: Of & { addresses: unknown[] }; answer: SomeParts };
  snapshots: { args: Of & PageOf; answer: SnapshotPage };
  diff: { args: Of & { from: number; to: number }; answer: DifferenceList };
  revert: { args: Of & { number: number; idempotency_key: string }; answer: Saved };
  label: { args: Of & { number: number; label: string }; answer: Snapshot };
  fork: { args: Of & ForkRequest; answer: CreatedSession };
  begin: { args: Of & BeginRequest; answer: BegunTurn };
  chunks: { args: OfTurn & With<ChunksRequest, { chunks: Json[] }>; answer: Flushed };
  finish: { args: OfTurn & With<FinishRequest, { changes?: Changes }>; answer: Saved };
  stop: { args: OfTurn; answer: Stopped };
  turn: { args: OfTurn & { after: number }; answer: With<Turn, { chunks: Json[] }> };
  latest: { args: Of & { after: number }; answer: With<Turn, { chunks: Json[] }> | null };
  merge: { args: Of & MergeRequest; answer: Saved };
  origin: { args: Of; answer: ForkOrigin };
  record: { args: Of & UsageRequest; answer: Recorded };
  usage: { args: Of & { turn_id?: string }; answer: SessionUsage };
  budget: { args: Of & BudgetRequest; answer: SessionUsage };
  offer: { args: object; answer: Offer };
  claim: { args: { code: string }; answer: Claimed };
}

/** The name of one. */
export type Operation = keyof Operations;
