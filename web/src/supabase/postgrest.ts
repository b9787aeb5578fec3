/** A Supabase project's PostgREST, or any other: no functions have to be deployed. */

import type { Operation } from "../core/operations.js";
import { request, type Place } from "../core/requests.js";
import type { Json, Transport } from "../core/types.js";

const FUNCTIONS: Record<Operation, string> = {
  create: "get_or_create_session",
  get: "get_session",
  change: "update_session",
  list: "list_sessions",
  remove: "delete_session",
  save: "create_session_snapshot",
  restore: "get_snapshot",
  changes: "get_session_changes",
  parts: "get_session_parts",
  snapshots: "list_snapshots",
  diff: "diff_snapshots",
  revert: "revert_session",
  label: "label_snapshot",
  fork: "fork_session",
  begin: "begin_turn",
  chunks: "append_turn_chunks",
  finish: "finish_turn",
  stop: "stop_turn",
  turn: "get_turn",
  latest: "get_turn",
  merge: "merge_fork",
  origin: "get_fork_origin",
  record: "record_usage",
  usage: "get_session_usage",
  budget: "set_session_budget",
  offer: "offer_my_sessions",
  claim: "claim_sessions",
};

type Rows = Record<string, Json>[];
type Arguments = Record<string, unknown>;

/** What differs from the functions' arguments. */
const ARGUMENTS: Partial<Record<Operation, (args: Arguments) => Arguments>> = {
  change: ({ session_id, ...changes }) => ({ session_id, changes }),
  turn: ({ after, ...args }) => ({ ...args, after_seq: after }),
  latest: ({ after, ...args }) => ({ ...args, after_seq: after }),
  snapshots: ({ cursor, ...args }) => ({ ...args, ...(cursor !== undefined && { before: Number(cursor) }) }),
  list: ({ cursor, archived = "false", ...args }) => ({
    ...args,
    archived: archived === "all" ? null : archived === "true",
    ...(cursor !== undefined && (JSON.parse(cursor as string) as Arguments)),
  }),
};

/**
 * Arguments that may hold what people write. PostgREST reads no JSON with NUL or half a character in it, which a stream
 * may be cut in; then they go as a text with the JSON in it.
 */
const WRITTEN: Partial<Record<Operation, string>> = { save: "changes", create: "state", chunks: "chunks", finish: "changes" };
const UNREADABLE = /\\u(0000|d[89a-f])/;

const readable = (value: unknown): unknown => {
  const text = JSON.stringify(value);
  return UNREADABLE.test(text) ? text : value;
};

/** The functions' answer, made of rows; by default the one row there is. */
const ANSWERS: Partial<Record<Operation, (rows: Rows, args: Arguments) => unknown>> = {
  origin: ([origin]) => origin ?? { origin_id: null },
  parts: (parts) => ({ number: parts[0]?.["number"], parts }),
  diff: (differences) => ({ differences }),
  snapshots: (snapshots, args) => ({ snapshots, next: next(snapshots, args, (last) => String(last["number"])) }),
  list: (sessions, args) => ({
    sessions,
    next: next(sessions, args, (last) => JSON.stringify({ before: last["last_activity_at"], before_id: last["id"] })),
  }),
};

/** The cursor of the page after a full one. */
const next = (rows: Rows, { limit = 50 }: Arguments, cursor: (last: Rows[0]) => string): string | null =>
  rows.length === limit ? cursor(rows.at(-1)!) : null;

/** What PostgREST and Postgres say of JSON that they can't read: such text has no place in the other arguments. */
const NOT_REPRESENTABLE = /^(PGRST102|22P0[25])$/;

/** Our code is the hint of an error that SQL raised. */
const problem: NonNullable<Place["_problem"]> = ({ code = "", hint, message = "", details }) =>
  code.startsWith("PT") && hint
    ? { ...(JSON.parse(details || "{}") as object), code: hint, detail: message }
    : { detail: message, ...(NOT_REPRESENTABLE.test(code) && { code: "not_representable" }) };

/** A transport to the PostgREST at a URL such as `https://PROJECT.supabase.co/rest/v1`. */
export function postgrestTransport(place: Place): Transport {
  return {
    call(operation, args, options) {
      const given = ARGUMENTS[operation]?.(args as Arguments) ?? args;
      const written = WRITTEN[operation];
      const body = Object.fromEntries(
        Object.entries(given).map(([name, value]) => ["p_" + name, name === written ? readable(value) : value]),
      );
      const read = async (response: Response): Promise<never> => {
        const answer = (await response.json()) as Rows | Rows[0];
        const rows = Array.isArray(answer) ? answer : [answer];
        return (ANSWERS[operation]?.(rows, args as Arguments) ?? rows[0]) as never;
      };
      return request({ ...place, _problem: problem }, "POST", "/rpc/" + FUNCTIONS[operation], body, read, options);
    },
  };
}
