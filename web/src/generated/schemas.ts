// Made from spec/openapi.json by `make generate`: change that file, never this one.

import type { Code as ErrorCode } from "./codes.js";

/** Messages to be put at the end, in this order. */
export interface AppendRequest {
  /** A JSON object of at most 8 KB; numbers and key order as jsonb keeps them. */
  metadata?: JsonObject | null;
  /** The app's own id for the snapshot; snapshot_exists if the session has one with it. */
  external_id?: string | null;
  /** The number it was made from, if that is not the one before. */
  parent_number?: number | null;
  /** At least one; each any JSON value. */
  messages: unknown[];
  idempotency_key?: string | null;
}

/** Where the messages are now. */
export interface Appended {
  /** Number of the snapshot that holds them. */
  number: number;
  /** Whether a snapshot was made; always, for a message is always new. */
  created: boolean;
  /** Whether this repeats the response to an earlier request of the same key. */
  replayed: boolean;
  /** null in a replay if that snapshot is not kept any more. */
  first_position: number | null;
  last_position: number | null;
  message_count: number | null;
}

/** An answer that is about to be made. */
export interface BeginRequest {
  /** Made up at random by whoever makes the answer; the same for a retry. */
  turn_id: string;
  /** Without a flush for so long, it is interrupted. By default 30. */
  lease_seconds?: number;
  /** What a message made of text chunks has besides its content; default: its role. */
  message?: JsonObject | null;
  /** If another turn runs: refuse (turn_running), or join, which answers that turn. By default "refuse". */
  on_running?: "refuse" | "join";
}

/** A turn; created: whether this request began it. */
export interface BegunTurn {
  id: string;
  status: "running" | "done" | "stopped" | "failed" | "interrupted";
  started_by: string | null;
  lease_until: string;
  next_seq: number;
  number: number | null;
  position: number | null;
  started_at: string;
  ended_at: string | null;
  created: boolean;
}

/** How much a session is to cost in all. */
export interface BudgetRequest {
  /** In the app's currency; null: no budget. */
  budget: number | null;
}

/** Changes to a state. Addresses are JSON Pointers (RFC 6901) such as /memory/topic. 'add', 'append_once', 'expect' and 'expect_absent' look at what is stored when the save is done, whatever its base. */
export interface Changes {
  /** New values by address. */
  set?: Record<string, unknown>;
  /** Items to be put at the end of a list, by the list's address. */
  append?: Record<string, unknown[]>;
  /** Addresses of what goes. */
  remove?: string[];
  /** Values by address, written where nothing is. What is there already stays, and is told as 'existing'. */
  add?: Record<string, unknown>;
  /** Items to be put at the end of a list unless an item there has the same member 'by', a string or a number, by the list's address. What is there already is told as 'existing'. */
  append_once?: Record<string, {
    by: string;
    items: Record<string, unknown>[];
  }>;
  /** What has to be at an address, or nothing is written (conflict). Inside of a part, such as a message, it is compared by its text. */
  expect?: Record<string, unknown>;
  /** Addresses where nothing may be, or nothing is written (conflict). */
  expect_absent?: string[];
}

/** What changed since a number. reset: that is not kept any more, or over 8 MB have changed; restore instead. */
export interface ChangesSince {
  session_id: string;
  /** The number the changes lead to. */
  number: number;
  reset: boolean;
  /** null if reset. */
  changes: Delta | null;
}

/** A flush. What is there already is not written again. */
export interface ChunksRequest {
  /** Number of the first chunk; a turn's first one is 1. */
  from_seq: number;
  /** Texts or any JSON values, at most 1,000; an empty list renews the lease. */
  chunks: unknown[];
}

/** The code that the guest was given. */
export interface ClaimRequest {
  code: string;
}

/** What was taken over. */
export interface Claimed {
  sessions: number;
  /** Sessions whose key the account had already; they got a new one. */
  new_keys: number;
}

/** What a clean-up did. done is false if the time ran out: call it again. */
export interface Cleaned {
  /** Sessions that snapshots were removed from. */
  sessions: number;
  snapshots: number;
  parts: number;
  bytes: number;
  /** Sessions that expired. */
  expired: number;
  /** Expired sessions deleted after their time of grace. */
  deleted: number;
  /** Sessions deleted of users who are no more. */
  erased: number;
  batches: number;
  done: boolean;
}

/** Other rules than those in the database's settings; by default its own. */
export interface CleanupRequest {
  /** Newest snapshots of a session to keep. */
  keep?: number | null;
  /** All snapshots older than this go, none is kept by its hour or day. */
  older_than_seconds?: number | null;
  /** Sessions in one batch at most; by default 200. */
  max_sessions?: number | null;
}

/** With a key: the caller's one session of that key, made if there is none. Without: always a new one. */
export interface CreateSession {
  /** For example the id of the configuration that the chat belongs to. */
  key?: string | null;
  /** Id for a new session, so that a retry makes no second one. */
  id?: string | null;
  name?: string | null;
  model?: string | null;
  /** A chat expires after 30 idle minutes by default. By default "agent". */
  kind?: Kind;
  /** By default "private". */
  visibility?: Visibility;
  /** Idle time until it expires; 0 is never. */
  expires_after_seconds?: number | null;
  /** A JSON object; numbers and key order as jsonb keeps them. */
  metadata?: JsonObject | null;
  /** Where the agent lives: provider, path, url, external_id. */
  upstream?: JsonObject | null;
  /** The session of the same owner that it belongs to, is deleted with, and is listed under. */
  parent_id?: string | null;
  /** A first state, saved as number 1 by the request that makes the session. */
  state?: State | null;
}

/** A session that was asked for: made for this request, or there already. */
export interface CreatedSession {
  id: string;
  user_id: string;
  name: string | null;
  model: string | null;
  kind: Kind;
  status: Status;
  visibility: Visibility;
  /** The owner's own name for it; one session each. */
  key: string | null;
  /** Idle time until it expires; null is never. */
  expires_after_seconds: number | null;
  archived_at: string | null;
  created_at: string;
  updated_at: string;
  last_activity_at: string;
  expired_at: string | null;
  /** Number of the latest snapshot; 0: never saved. */
  latest_number: number;
  /** Bytes of the latest state: JSON, addresses and 100 for each part. */
  size_bytes: number;
  /** Items of the state's list 'messages'. */
  message_count: number;
  /** The session that it belongs to. For the owner and members. */
  parent_id: string | null;
  /** Where the agent lives: provider, path, url, external_id, as it was given. */
  upstream: JsonObject | null;
  metadata: JsonObject;
  /** Whether it was made; then the status is 201, otherwise 200. */
  created: boolean;
}

/** Which snapshots; never the latest. */
export interface DeleteSnapshotsRequest {
  /** By default "[]". */
  numbers?: number[];
  /** By default "[]". */
  labels?: string[];
}

/** What was deleted of a user's data. */
export interface DeletedData {
  sessions: number;
  snapshots: number;
  parts: number;
  turns: number;
  memberships: number;
  /** False: there is more, or something was busy; call again. */
  done: boolean;
}

/** What was deleted with a session. */
export interface DeletedSession {
  snapshots: number;
  parts: number;
  turns: number;
  members: number;
}

/** What leads from one state to a later one: take away what 'remove' names, then put what is in 'set', in its order. Addresses are JSON Pointers (RFC 6901). */
export interface Delta {
  /** New values by address, containers before what they hold. */
  set: Record<string, unknown>;
  /** Addresses of what goes. */
  remove: string[];
}

/** One address at which two snapshots differ. A value that is not there is null. */
export interface Difference {
  change: "added" | "removed" | "changed";
  /** JSON Pointer of the part. */
  address: string;
  before: unknown;
  after: unknown;
}

/** Two snapshots and all differences between them, in address order. */
export interface DifferenceList {
  /** The first; null: the empty state before any. */
  from: Snapshot | null;
  to: Snapshot | null;
  differences: Difference[];
}

/** How it ended, and what is saved with that. */
export interface FinishRequest {
  /** By default "done". */
  status?: "done" | "stopped" | "failed";
  /** Without one it is made of the text chunks. */
  message?: unknown;
  changes?: Changes | null;
}

/** What the turn waits for now. */
export interface Flushed {
  /** Number of the next chunk. */
  next_seq: number;
  /** Whether somebody has asked to stop. */
  stop: boolean;
}

/** What is to be gone, from all older snapshots as well. */
export interface ForgetRequest {
  /** JSON Pointers; an empty one is everything. */
  addresses: string[];
}

/** A receipt: what was deleted for good. */
export interface Forgotten {
  /** The latest number. */
  number: number;
  snapshots: number;
  parts: number;
  /** Turns whose chunks went. */
  turns: number;
  bytes: number;
  /** False: the clean-up deletes the rest, which nobody can read any more. */
  done: boolean;
}

/** The session that a fork comes from, and how far it was merged back. */
export interface ForkOrigin {
  /** Null: it is no fork. */
  origin_id?: string | null;
  /** The number of the origin's that it was forked from. */
  origin_number?: number | null;
  /** The fork's own number that was merged last; at first 1. */
  base_number?: number | null;
  /** The number of the origin's that this made. */
  merged_number?: number | null;
  merged_at?: string | null;
}

/** What to branch off from: a number, by default the latest. */
export interface ForkRequest {
  number?: number | null;
  /** Name of the new session; default: the same. */
  name?: string | null;
  /** Key of the new session. */
  key?: string | null;
  /** A session of the caller's that it is to belong to. */
  parent_id?: string | null;
}

/** An open invitation of the caller's. */
export interface Invitation {
  session_id: string;
  /** owner: a session to take over. */
  role: "viewer" | "editor" | "owner";
  /** The session's name, at most 200 characters of it. */
  name: string | null;
  invited_by: string;
  created_at: string;
}

/** A page of invitations, newest first. */
export interface InvitationPage {
  invitations: Invitation[];
  /** Cursor of the next page; null if this is the last. */
  next: string | null;
}

/** Any JSON object. */
export type JsonObject = Record<string, unknown>;

export type Kind = "chat" | "agent" | "workflow";

/** A name for a snapshot. */
export interface LabelRequest {
  label: string;
}

/** A session as lists show it. */
export interface ListedSession {
  id: string;
  user_id: string;
  name: string | null;
  model: string | null;
  kind: Kind;
  status: Status;
  visibility: Visibility;
  /** The owner's own name for it; one session each. */
  key: string | null;
  /** Idle time until it expires; null is never. */
  expires_after_seconds: number | null;
  archived_at: string | null;
  created_at: string;
  updated_at: string;
  last_activity_at: string;
  expired_at: string | null;
  /** Number of the latest snapshot; 0: never saved. */
  latest_number: number;
  /** Bytes of the latest state: JSON, addresses and 100 for each part. */
  size_bytes: number;
  /** Items of the state's list 'messages'. */
  message_count: number;
  /** The session that it belongs to. For the owner and members. */
  parent_id: string | null;
  /** Where the agent lives: provider, path, url, external_id, as it was given. */
  upstream: JsonObject | null;
  metadata: JsonObject;
  /** The beginning of the last message, at most 140 characters. */
  last_message: string | null;
  last_saved_at: string | null;
  /** What the caller may do. */
  my_role: "owner" | "editor" | "viewer";
  /** What it has cost, in the app's currency; null: nothing recorded. For the owner and members. */
  cost: number | null;
  /** What it is to cost in all; null: no budget. */
  budget: number | null;
}

/** Somebody besides the owner who may see a shared session. */
export interface Member {
  session_id: string;
  user_id: string;
  role: "viewer" | "editor";
  created_at: string;
  /** Null: invited, and a stranger until accepting. */
  accepted_at: string | null;
}

/** All members for the owner; for a member their own row. */
export interface MemberList {
  members: Member[];
}

/** What the member may do: look, or save too. */
export interface MemberRequest {
  role: "viewer" | "editor";
}

/** What stands where the fork and the session it comes from have both changed the same. */
export interface MergeRequest {
  /** Whose stands where choices say nothing; without it a conflict is refused (conflict). */
  prefer?: "fork" | "origin" | null;
  /** By address, 'fork' or 'origin': whose stands there and in it; of several the longest. */
  choices?: JsonObject | null;
  /** A name for the number that it makes. */
  label?: string | null;
  idempotency_key?: string | null;
}

/** A message of the state's list ``messages``. */
export interface Message {
  id: string;
  session_id: string;
  position: number;
  role: string | null;
  content: string | null;
  created_at: string;
  /** The message, character by character as it was sent. */
  body: unknown;
}

/** Messages by position. */
export interface MessagePage {
  messages: Message[];
  /** Value of 'after' for the next page; null if this is the last. */
  next: number | null;
  /** With 'last': value of 'before' for the page before this one; null if this is the first. */
  previous: number | null;
}

/** A code, good once, for all of a guest's sessions. */
export interface Offer {
  code: string;
  expires_at: string;
}

/** What is at an address that was asked for. */
export interface Part {
  /** False: nothing is there, and the value is null. */
  present: boolean;
  /** Of a list: the position of the value's first item. */
  first_position: number | null;
  /** Of a list: how many items it has. */
  list_length: number | null;
  /** JSON Pointer. */
  address: string;
  /** Character by character as it was sent (without whitespace). */
  value: unknown;
}

/** From which list, and how many at most. */
export interface PopRequest {
  /** JSON Pointer of the list. */
  address: string;
  /** By default 1. */
  count?: number;
  idempotency_key?: string | null;
}

/** An error, as problem details (RFC 9457). Match on 'code', never on a sentence; what else is there depends on it. */
export interface Problem {
  /** urn:asyouwere:problem: and the code. */
  type: string;
  /** The same for every error of this code. */
  title: string;
  /** The HTTP status. */
  status: number;
  /** What happened and what to do, in a sentence. */
  detail: string;
  code: ErrorCode;
  /** The address that is refused, a JSON Pointer. With invalid_state, invalid_changes, invalid_address, address_below_part, missing_parent, list_gap, not_a_list, overlapping_addresses, nesting_too_deep, number_out_of_range, address_too_long. */
  address?: string;
  /** Addresses that somebody else changed, too; at most 100. With conflict. */
  addresses?: string[];
  /** The base that was sent. With unknown_base. */
  base?: number;
  /** How many addresses there are in all, counted up to 1,000. With conflict. */
  count?: number;
  /** What is wrong with which fields, at most 20. With invalid_request. */
  errors?: {
    field: string;
    problem: string;
  }[];
  /** When another turn may begin, unless the running one goes on. With turn_running. */
  lease_until?: string;
  /** Number of the latest snapshot. With snapshot_not_found, conflict, snapshot_gone, unknown_base. */
  latest?: number;
  /** How much the quota allows. With quota_exceeded. */
  limit?: number;
  /** Bytes that a body may have. With body_too_large. */
  limit_bytes?: number;
  /** Bytes that the state may have. With too_large. */
  max_bytes?: number;
  /** Parts that one request may write. With too_large. */
  max_parts?: number;
  /** Number of the turn's next chunk. With turn_running, turn_gap. */
  next_seq?: number;
  /** Number of the snapshot that was asked for. With snapshot_not_found, snapshot_exists, snapshot_gone. */
  number?: number;
  /** Address of the container that is missing. With missing_parent. */
  parent?: string;
  /** Address of the part to be sent whole instead. With address_below_part. */
  part?: string;
  /** Which quota is used up. With quota_exceeded. */
  quota?: "sessions" | "stored_bytes" | "running_turns" | "recent_turns";
  /** Seconds after which to try again; also in the header Retry-After. With rate_limited. */
  retry_after?: number;
  /** Bytes that the state would have. With too_large. */
  size_bytes?: number;
  /** Id of the turn that runs. With turn_running. */
  turn?: string;
  /** How the turn is. With turn_over. */
  turn_status?: string;
  /** How much of the quota is used. With quota_exceeded. */
  used?: number;
}

/** What a session costs by now. A budget refuses nothing: the app decides. */
export interface Recorded {
  /** False: it was recorded before, with the same key. */
  recorded: boolean;
  cost: number;
  budget: number | null;
  /** How much of the budget is used: 0.8 is 80 %; null: there is none. */
  used: number | null;
  /** What the owner's sessions cost in the budget's period. */
  user_cost: number | null;
  /** The owner's; told to the owner and the service. */
  user_budget: number | null;
  /** How much of the budget is used: 0.8 is 80 %; null: there is none. */
  user_used: number | null;
}

/** Which snapshot: the latest (default), one number, label or external id; or 'since' for the changes only. */
export interface RestoreRequest {
  session_id: string;
  number?: number | null;
  label?: string | null;
  /** The app's own id for the snapshot. */
  external_id?: string | null;
  /** Number that the caller's copy comes from. */
  since?: number | null;
  /** 1 to 100: only the values at these. A JSON Pointer, or of a list an object: its address, the positions after and before which, and how many of those from its beginning or its end. */
  addresses?: (string | {
    address: string;
    after?: number;
    before?: number;
    first?: number;
    last?: number;
  })[] | null;
}

/** A snapshot with its state. number 0 and an empty state: never saved. */
export interface Restored {
  session_id: string;
  number: number;
  label: string | null;
  size_bytes: number;
  message_count: number;
  created_at: string | null;
  status: Status;
  latest_number: number;
  /** The app's own id for it. For the owner and members. */
  external_id: string | null;
  /** The number it was made from, if not the one before. */
  parent_number: number | null;
  /** What the app said of it. For the owner and members. */
  metadata: JsonObject | null;
  /** The state, character by character as it was sent (without whitespace). */
  state: State;
}

/** The number to go back to. */
export interface RevertRequest {
  number: number;
  idempotency_key?: string | null;
}

/** Either the whole state or the changes made to the state of number 'base'. */
export interface SaveRequest {
  /** A JSON object of at most 8 KB; numbers and key order as jsonb keeps them. */
  metadata?: JsonObject | null;
  /** The app's own id for the snapshot; snapshot_exists if the session has one with it. */
  external_id?: string | null;
  /** The number it was made from, if that is not the one before. */
  parent_number?: number | null;
  session_id: string;
  /** The whole state. Either this or 'changes'. */
  state?: State | null;
  /** What changed in the state of number 'base'. Either this or 'state'. */
  changes?: Changes | null;
  /** Number that the caller's copy comes from; default: the latest. */
  base?: number | null;
  /** The same key again returns the first response. May be sent as header Idempotency-Key. */
  idempotency_key?: string | null;
  /** Names the snapshot; a labelled one is never cleaned up. */
  label?: string | null;
  /** What to do if others saved since the base: merge, or refuse, or let this one win. By default "merge". */
  on_conflict?: "merge" | "reject" | "overwrite";
}

/** The snapshot that holds what was sent; not created if that changed nothing: then it is the latest. */
export interface Saved {
  /** Number of the snapshot; 1, 2, 3 … */
  number: number;
  /** Whether a snapshot was made. */
  created: boolean;
  /** Whether this repeats the response to an earlier request of the same key. */
  replayed: boolean;
  /** Whether others had saved since the base. */
  merged: boolean;
  changed_parts: number;
  /** Bytes of that state; null in a replay if it is not kept any more. */
  size_bytes: number | null;
  /** Messages in it; null likewise. */
  message_count: number | null;
  /** All that changed since the base, to be applied to it: remove first, then set in order. null if there was nothing but the caller's own, or if it is over 8 MB: restore then. */
  others: Delta | null;
  /** What was there already where 'add' and 'append_once' were to write, by address. null if nothing was. */
  existing: JsonObject | null;
}

/** A session without its content. */
export interface Session {
  id: string;
  user_id: string;
  name: string | null;
  model: string | null;
  kind: Kind;
  status: Status;
  visibility: Visibility;
  /** The owner's own name for it; one session each. */
  key: string | null;
  /** Idle time until it expires; null is never. */
  expires_after_seconds: number | null;
  archived_at: string | null;
  created_at: string;
  updated_at: string;
  last_activity_at: string;
  expired_at: string | null;
  /** Number of the latest snapshot; 0: never saved. */
  latest_number: number;
  /** Bytes of the latest state: JSON, addresses and 100 for each part. */
  size_bytes: number;
  /** Items of the state's list 'messages'. */
  message_count: number;
  /** The session that it belongs to. For the owner and members. */
  parent_id: string | null;
  /** Where the agent lives: provider, path, url, external_id, as it was given. */
  upstream: JsonObject | null;
  metadata: JsonObject;
}

/** The JSON export of a session. */
export interface SessionExport {
  format: string;
  version: number;
  session: JsonObject;
  snapshots: Record<string, unknown>[];
  /** [[path, item, since, until or null, created_at, body] …] */
  parts: unknown[][];
}

/** A page of sessions, last active first. */
export interface SessionPage {
  sessions: ListedSession[];
  /** Cursor of the next page; null if this is the last. */
  next: string | null;
}

/** What a session has used in all, or one answer of it. */
export interface SessionUsage {
  calls: number;
  input_tokens: number;
  cached_tokens: number;
  output_tokens: number;
  cost: number;
  budget: number | null;
  /** How much of the budget is used: 0.8 is 80 %; null: there is none. */
  used: number | null;
}

/** A numbered version, without its content. */
export interface Snapshot {
  session_id: string;
  number: number;
  /** A name for it; a labelled snapshot is never cleaned up. */
  label: string | null;
  /** Bytes of its state: JSON, addresses and 100 for each part. */
  size_bytes: number;
  /** Parts written or removed since the snapshot before. */
  changed_parts: number;
  message_count: number;
  /** Who saved it, if not the owner. */
  created_by: string | null;
  created_at: string;
  /** The app's own id for it. For the owner and members. */
  external_id: string | null;
  /** The number it was made from, if not the one before; that one may be gone. */
  parent_number: number | null;
  /** What the app said of it. For the owner and members. */
  metadata: JsonObject | null;
}

/** A page of snapshots, newest first. */
export interface SnapshotPage {
  snapshots: Snapshot[];
  /** Cursor of the next page; null if this is the last. */
  next: string | null;
}

/** The values at the addresses that were asked for, in the order asked. */
export interface SomeParts {
  session_id: string;
  /** The number they belong to. */
  number: number;
  parts: Part[];
}

/** The whole state of a session, for example its messages, memory and step. */
export type State = Record<string, unknown>;

export type Status = "idle" | "running" | "paused" | "completed" | "error" | "expired";

/** How the turn is, now that a stop was asked for. */
export interface Stopped {
  status: "running" | "done" | "stopped" | "failed" | "interrupted";
  stop_requested_at: string | null;
}

/** What was taken from the end of a list. */
export interface Taken {
  /** Number of the snapshot without them. */
  number: number;
  /** Whether a snapshot was made; false: there was nothing to take. */
  created: boolean;
  /** Whether this repeats the response to an earlier request of the same key. */
  replayed: boolean;
  /** Where the first of them was; as long is the list now. */
  first_position: number | null;
  /** Bytes of that state; null in a replay if it is not kept any more. */
  size_bytes: number | null;
  message_count: number | null;
  /** A list, in their order; null in a replay if they are not kept any more. */
  items: unknown;
}

/** A session and whom it is offered to. */
export interface Transfer {
  session_id: string;
  user_id: string | null;
}

/** Whom the session is offered to. */
export interface TransferRequest {
  /** Null takes the offer back. */
  user_id: string | null;
}

/** A turn and its chunks after a number. */
export interface Turn {
  id: string;
  status: "running" | "done" | "stopped" | "failed" | "interrupted";
  started_by: string | null;
  lease_until: string;
  stop_requested: boolean;
  /** Number of the first chunk in this answer. */
  first_seq: number;
  /** Number of the next one. */
  next_seq: number;
  /** Whether there are more already: ask again. */
  more: boolean;
  /** Number of the snapshot that came with the finished message. */
  number: number | null;
  /** Where the finished message stands among the messages. */
  position: number | null;
  started_at: string;
  ended_at: string | null;
  /** As they were sent. */
  chunks: unknown[];
}

/** The fields to change, at least one; what is left out stays. null empties name, model and upstream. */
export interface UpdateSession {
  name?: string | null;
  model?: string | null;
  status?: "idle" | "running" | "paused" | "completed" | "error";
  /** Only the owner may change it. */
  visibility?: Visibility;
  /** An archived session is left out of the list by default. */
  archived?: boolean;
  /** 0 and null are never. */
  expires_after_seconds?: number | null;
  metadata?: JsonObject | null;
  upstream?: JsonObject | null;
}

/** What a session has used of a model in a day (UTC). */
export interface UsageDay {
  calls: number;
  input_tokens: number;
  cached_tokens: number;
  output_tokens: number;
  cost: number;
  day: string;
  model: string;
}

/** A page of sums, newest day first. */
export interface UsageDayPage {
  days: UsageDay[];
  /** Cursor of the next page; null if this is the last. */
  next: string | null;
}

/** A call of a model that was made. */
export interface UsageRequest {
  model: string;
  input_tokens: number;
  output_tokens: number;
  /** Of the input tokens those read from the provider's cache. By default 0. */
  cached_tokens?: number;
  /** In the app's currency, to twelve decimals. By default 0. */
  cost?: number;
  /** The answer that it was made for. */
  turn_id?: string | null;
  idempotency_key?: string | null;
}

/** How much a person's sessions are to cost in a period. */
export interface UserBudgetRequest {
  /** In the app's currency; null: no budget. */
  budget: number | null;
  /** Days and months are UTC's. By default "month". */
  period?: "day" | "month";
}

/** What a person's sessions have used in this period, deleted ones too. */
export interface UserUsage {
  calls: number;
  input_tokens: number;
  cached_tokens: number;
  output_tokens: number;
  cost: number;
  user_id: string;
  period: "day" | "month";
  /** First day of the period (UTC). */
  since: string;
  budget: number | null;
  /** How much of the budget is used: 0.8 is 80 %; null: there is none. */
  used: number | null;
}

/** Who reads it: private: the owner; shared: its members too; public: everybody. */
export type Visibility = "private" | "shared" | "public";
