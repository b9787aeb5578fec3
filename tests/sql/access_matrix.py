"""Who may do what, written down: every table, view and function, and what each kind of caller is answered.

test_access.py compares this with the catalog, so whatever is new has to be listed here, and then tries it all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID, uuid4, uuid5

from tests.support.database import PEOPLE, Db

OWNER, EDITOR, VIEWER, INVITED, STRANGER = "ada", "ed", "vi", "ivy", "eve"
ANONYMOUS = "nobody with the role anon"
UNNAMED = "nobody with the role authenticated"
CLAIMLESS = "no claims at all"
SERVICE = "service"
#: A user who is in no session; Db.user("newcomer") makes the same id.
NEWCOMER = uuid5(PEOPLE, "newcomer")
CALLERS = (OWNER, EDITOR, VIEWER, INVITED, STRANGER, ANONYMOUS, UNNAMED, CLAIMLESS, SERVICE)

VISIBILITIES = ("private", "shared", "public")

Role = Literal["owner", "editor", "viewer"] | None


def role_in(caller: str, visibility: str) -> Role:
    """What a caller is to a session of ada's in which ed is an editor, vi a viewer and ivy invited."""
    if caller in (OWNER, SERVICE):
        return "owner"
    if caller == EDITOR and visibility != "private":
        return "editor"
    if caller == VIEWER and visibility != "private":
        return "viewer"
    return "viewer" if visibility == "public" else None


@dataclass(frozen=True)
class Scene:
    """The three sessions of ada's, by visibility, each with a labelled snapshot 1 and a snapshot 2."""

    db: Db
    sessions: dict[str, UUID]
    people: dict[str, UUID]

    def internal_id(self, session_id: UUID) -> int:
        rows = self.db.superuser.execute(
            "select internal_id from public.free_agent_sessions where id = %s", (session_id,)
        ).fetchall()
        return int(rows[0]["internal_id"]) if rows else -1


# -- functions ---------------------------------------------------------------------------------------------------

# What somebody needs to be to get an answer. Others get the answer that comes with the kind.
READ = "read"  # whoever reads the session, signed in or not
READ_SIGNED_IN = "read, signed in"  # the same, but the role anon may not even call it
SAVE = "save"  # owner and editors
OWN = "own"  # the owner
INSIDE = "inside"  # the owner and members; a mere reader of a public session is refused
NO_FORK = "no fork"  # what is refused for not being one, but to whoever reads it only
COPY = "copy"  # whoever reads the session and has an account to keep the copy
INVITATION = "invitation"  # whoever has an open invitation, or is a member by now
TRANSFER = "transfer"  # whom the session was offered to: in the scene nobody
MINE = "mine"  # about the caller; needs one
LISTING = "listing"  # about the caller; the list is empty for nobody
SERVICE_ONLY = "service only"
HELPER = "helper"  # tells nothing of any session that the caller does not give or own


def answer(kind: str, caller: str, visibility: str) -> str:
    """ "ok", "denied" (by grants, without a look at any session), or the code of the refusal."""
    signed_in = caller in (OWNER, EDITOR, VIEWER, INVITED, STRANGER, SERVICE)
    role = role_in(caller, visibility)
    if caller in (ANONYMOUS, CLAIMLESS) and kind not in (READ, HELPER):
        return "denied"
    if kind == SERVICE_ONLY:
        return "ok" if caller == SERVICE else "denied"
    if kind in (LISTING, HELPER):
        return "ok"
    if kind == MINE:
        return "ok" if signed_in else "not_signed_in"
    if kind in (INVITATION, TRANSFER):
        if caller in (UNNAMED, SERVICE):
            return "not_signed_in"
        invited = kind == INVITATION and caller in (EDITOR, VIEWER, INVITED) and visibility != "private"
        return "ok" if invited else "invitation_not_found"
    if role is None:
        return "session_not_found"
    if kind == NO_FORK:
        return "invalid_argument"
    if kind == INSIDE:
        return "ok" if caller in (OWNER, EDITOR, VIEWER, SERVICE) else "forbidden"
    if kind == COPY:
        return "ok" if signed_in else "not_signed_in"
    needed = {READ: ("viewer", "editor", "owner"), READ_SIGNED_IN: ("viewer", "editor", "owner")}
    needed |= {SAVE: ("editor", "owner"), OWN: ("owner",)}
    return "ok" if role in needed[kind] else "forbidden"


@dataclass(frozen=True)
class Call:
    """How a function is tried: of what kind it is, with what arguments, and who is an exception."""

    kind: str
    arguments: Callable[[Scene, UUID], dict[str, Any]] = lambda scene, session: {"p_session_id": session}
    but: dict[str, str] = field(default_factory=dict)


def with_session(**more: Any) -> Callable[[Scene, UUID], dict[str, Any]]:
    return lambda scene, session: {"p_session_id": session, **more}


ROWS = {"p_ops": ["append"], "p_paths": ["/messages/"], "p_items": [None], "p_bodies": ["1"]}
CLEANUP = {"p_keep": 1, "p_older_than": "0", "p_max_sessions": 10}
EMPTY_IMPORT = {
    "p_session": {},
    "p_snapshots": [],
    "p_paths": [],
    "p_items": [],
    "p_since": [],
    "p_until": [],
    "p_created_at": [],
    "p_bodies": [],
}
NOT_FOR_THE_SERVICE = {SERVICE: "denied"}
NO_SUCH_OFFER = dict.fromkeys((OWNER, EDITOR, VIEWER, INVITED, STRANGER), "offer_not_found") | NOT_FOR_THE_SERVICE
COUNT = itertools.count()

# Begun by ada in each session of the scene: an editor may stop it, but not write it.
TURN = UUID("7e000000-0000-4000-8000-000000000001")

FUNCTIONS: dict[str, Call] = {
    # the session
    "public.get_or_create_session": Call(
        MINE,
        lambda scene, session: {"p_key": f"key {next(COUNT)}"},
        but={SERVICE: "not_signed_in"},  # it has to say for whom
    ),
    "public.get_session": Call(READ),
    "public.find_session": Call(
        MINE,
        lambda scene, session: {"p_key": "none"},
        but=dict.fromkeys((OWNER, EDITOR, VIEWER, INVITED, STRANGER, UNNAMED, SERVICE), "session_not_found"),
    ),
    "public.list_sessions": Call(LISTING, lambda scene, session: {}),
    "public.update_session": Call(SAVE, with_session(p_changes={"name": "new"})),
    "public.delete_session": Call(OWN),
    "public.delete_my_data": Call(MINE, lambda scene, session: {}, but=NOT_FOR_THE_SERVICE),
    # handing over
    "public.transfer_session": Call(OWN, with_session(p_to_user=NEWCOMER)),
    "public.accept_transfer": Call(TRANSFER),
    "public.offer_my_sessions": Call(MINE, lambda scene, session: {}, but=NOT_FOR_THE_SERVICE),
    "public.claim_sessions": Call(MINE, lambda scene, session: {"p_code": "x"}, but=NO_SUCH_OFFER),
    # its members
    "public.list_session_members": Call(READ_SIGNED_IN),
    "public.set_session_member": Call(OWN, with_session(p_user_id=NEWCOMER, p_role="viewer")),
    "public.remove_session_member": Call(OWN, with_session(p_user_id=uuid4())),
    "public.list_invitations": Call(LISTING, lambda scene, session: {}),
    "public.accept_invitation": Call(INVITATION),
    # saving
    "public.create_session_snapshot": Call(SAVE, with_session(p_state={"n": 1})),
    "public.save_session_parts": Call(SAVE, with_session(**ROWS)),
    "public.append_session_messages": Call(SAVE, with_session(p_messages=["hi"])),
    "public.pop_session_items": Call(SAVE, with_session(p_address="/messages")),
    "public.revert_session": Call(SAVE, with_session(p_number=1)),
    "public.label_snapshot": Call(SAVE, with_session(p_number=2, p_label="new")),
    # turns
    "public.begin_turn": Call(
        SAVE, with_session(p_turn_id=uuid4(), p_on_running="join")
    ),
    "public.append_turn_chunks": Call(OWN, with_session(p_turn_id=TURN, p_from_seq=2, p_chunks=["x"])),
    "public.finish_turn": Call(OWN, with_session(p_turn_id=TURN)),
    "public.stop_turn": Call(SAVE, with_session(p_turn_id=TURN)),
    "public.get_turn": Call(READ, with_session(p_turn_id=TURN)),
    # reading
    "public.get_latest_snapshot": Call(READ),
    "public.get_snapshot": Call(READ, with_session(p_number=1)),
    "public.get_snapshot_chunks": Call(READ, with_session(p_label="first")),
    "public.get_session_parts": Call(READ, with_session(p_addresses=["/messages"])),
    "public.get_session_changes": Call(READ, with_session(p_since=1)),
    "public.diff_snapshots": Call(READ, with_session(p_from=1, p_to=2)),
    "public.list_snapshots": Call(READ),
    "public.list_messages": Call(READ),
    # usage
    "public.record_usage": Call(SAVE, with_session(p_model="m", p_input_tokens=1, p_output_tokens=1)),
    "public.get_session_usage": Call(INSIDE),
    "public.list_session_usage": Call(INSIDE),
    "public.set_session_budget": Call(OWN, with_session(p_budget=1)),
    "public.get_my_usage": Call(MINE, lambda scene, session: {}, but={SERVICE: "not_signed_in"}),
    "public.set_user_budget": Call(SERVICE_ONLY, lambda scene, session: {"p_user_id": uuid4(), "p_budget": 1}),
    # forgetting
    "public.delete_snapshots": Call(OWN, with_session(p_numbers=[1])),
    "public.forget_session_parts": Call(OWN, with_session(p_addresses=["/n"])),
    # taking along
    "public.fork_session": Call(COPY),
    "public.merge_fork": Call(NO_FORK),
    "public.get_fork_origin": Call(READ_SIGNED_IN),
    "public.export_session": Call(READ),
    "public.export_session_page": Call(READ),
    "public.import_session": Call(MINE, lambda scene, session: EMPTY_IMPORT, but=NOT_FOR_THE_SERVICE),
    # the scheduler's
    "public.cleanup_old_snapshots": Call(SERVICE_ONLY, lambda scene, session: CLEANUP),
    "public.delete_user_data": Call(SERVICE_ONLY, lambda scene, session: {"p_user_id": uuid4()}),
    "public.erase_deleted_users": Call(SERVICE_ONLY, lambda scene, session: {}),
    "public.expire_idle_sessions": Call(SERVICE_ONLY, lambda scene, session: {"p_max_sessions": 10}),
    # What of the private schema an API role may execute, because the functions above run as the caller. The API
    # does not expose it; whoever comes by another way gets no more than from the functions above.
    "asyouwere.append_messages": Call(SAVE, with_session(p_messages=["hi"], p_idempotency_key=None)),
    "asyouwere.change_session": Call(SAVE, with_session(p_changes={"name": "new"})),
    "asyouwere.remove_session": Call(OWN, with_session(p_base=None)),
    "asyouwere.forget_caller": Call(MINE, lambda scene, session: {}, but=NOT_FOR_THE_SERVICE),
    "asyouwere.put_member": Call(OWN, with_session(p_user_id=NEWCOMER, p_role="editor")),
    "asyouwere.remove_member": Call(OWN, with_session(p_user_id=uuid4())),
    "asyouwere.read_invitations": Call(
        LISTING, lambda scene, session: {"p_limit": 10, "p_before": None, "p_before_id": None}
    ),
    "asyouwere.accept_member": Call(INVITATION, with_session(p_user_id=None)),
    "asyouwere.offer_transfer": Call(OWN, with_session(p_user_id=NEWCOMER)),
    "asyouwere.take_transfer": Call(TRANSFER),
    "asyouwere.make_offer": Call(MINE, lambda scene, session: {}, but=NOT_FOR_THE_SERVICE),
    "asyouwere.take_offer": Call(MINE, lambda scene, session: {"p_code": "x"}, but=NO_SUCH_OFFER),
    "asyouwere.save_json": Call(
        SAVE,
        with_session(p_state={"n": 1}, p_changes=None, p_base=None, p_idempotency_key=None, p_label=None, p_on_conflict="merge"),
    ),
    "asyouwere.save_parts": Call(
        SAVE,
        with_session(
            p_rows="({append},{/messages/},{NULL},{1})",
            p_base=None,
            p_idempotency_key=None,
            p_label=None,
            p_on_conflict="merge",
        ),
    ),
    "asyouwere.start_turn": Call(
        SAVE, with_session(p_turn_id=uuid4(), p_lease_seconds=30, p_message={}, p_on_running="join")
    ),
    "asyouwere.append_chunks": Call(OWN, with_session(p_turn_id=TURN, p_from_seq=2, p_chunks=["x"])),
    "asyouwere.complete_turn": Call(
        OWN, with_session(p_turn_id=TURN, p_message=None, p_changes=None, p_status="done")
    ),
    "asyouwere.request_stop": Call(SAVE, with_session(p_turn_id=TURN)),
    "asyouwere.read_turn": Call(READ, with_session(p_turn_id=None, p_after_seq=0)),
    "asyouwere.pop_items": Call(SAVE, with_session(p_address="/messages", p_count=1, p_idempotency_key=None)),
    "asyouwere.forget_snapshots": Call(OWN, with_session(p_numbers=[1], p_labels=None)),
    "asyouwere.forget_parts": Call(OWN, with_session(p_addresses=["/n"])),
    "asyouwere.revert": Call(SAVE, with_session(p_number=1, p_idempotency_key=None)),
    "asyouwere.label": Call(SAVE, with_session(p_number=2, p_label="new")),
    "asyouwere.fork": Call(COPY, with_session(p_number=None, p_name=None, p_key=None)),
    "asyouwere.merge_back": Call(
        NO_FORK, with_session(p_prefer=None, p_choices={}, p_idempotency_key=None, p_label=None)
    ),
    "asyouwere.read_fork_origin": Call(READ_SIGNED_IN),
    "asyouwere.write_usage": Call(
        SAVE, with_session(p_model="m", p_sum="(1,1,0,1,0)", p_turn_id=None, p_idempotency_key=None)
    ),
    "asyouwere.read_session_usage": Call(INSIDE, with_session(p_turn_id=None)),
    "asyouwere.read_usage_days": Call(INSIDE, with_session(p_limit=1, p_before=None, p_before_model=None)),
    "asyouwere.read_user_usage": Call(MINE, lambda scene, session: {"p_user_id": None}, but={SERVICE: "not_signed_in"}),
    "asyouwere.write_session_budget": Call(OWN, with_session(p_budget=1)),
    "asyouwere.write_user_budget": Call(
        SERVICE_ONLY, lambda scene, session: {"p_user_id": uuid4(), "p_budget": 1, "p_period": "day"}
    ),
    "asyouwere.read_snapshot": Call(READ, with_session(p_number=None, p_label=None)),
    "asyouwere.read_session": Call(READ),
    "asyouwere.read_snapshots": Call(READ, with_session(p_limit=10, p_before=None)),
    "asyouwere.read_parts": Call(READ, with_session(p_addresses=["/messages"], p_number=None, p_label=None)),
    "asyouwere.read_changes": Call(READ, with_session(p_since=1)),
    "asyouwere.read_diff": Call(READ, with_session(p_from=1, p_to=2)),
    "asyouwere.read_export": Call(READ),
    "asyouwere.read_export_page": Call(READ, with_session(p_page=None, p_latest_only=True)),
    "asyouwere.read_messages": Call(READ, with_session(p_after=-1, p_limit=10, p_before=None, p_last=None)),
    "asyouwere.require_readable": Call(READ),
    "asyouwere.write_import": Call(MINE, lambda scene, session: EMPTY_IMPORT | {"p_key": None}, but=NOT_FOR_THE_SERVICE),
    "asyouwere.run_cleanup": Call(SERVICE_ONLY, lambda scene, session: CLEANUP),
    "asyouwere.erase_person": Call(SERVICE_ONLY, lambda scene, session: {"p_user_id": uuid4()}),
    "asyouwere.erase_next": Call(SERVICE_ONLY, lambda scene, session: {}),
    "asyouwere.run_expiry": Call(SERVICE_ONLY, lambda scene, session: {"p_max_sessions": 10}),
    # helpers of views, policies and triggers
    "asyouwere.role_of": Call(
        HELPER, lambda scene, session: {"p_session_id": session, "p_owner": uuid4(), "p_visibility": "private"}
    ),
    "asyouwere.fold_text": Call(
        HELPER, lambda scene, session: {"p_text": "x"}, but={ANONYMOUS: "denied", CLAIMLESS: "denied"}
    ),
    "asyouwere.fold_unicode": Call(
        HELPER, lambda scene, session: {"p_text": "x"}, but={ANONYMOUS: "denied", CLAIMLESS: "denied"}
    ),
    "asyouwere.session_ids_shared_with_me": Call(HELPER, lambda scene, session: {}),
    "asyouwere.sessions_shared_with_me": Call(
        HELPER, lambda scene, session: {}, but={ANONYMOUS: "denied", CLAIMLESS: "denied"}
    ),
    "asyouwere.owns_session": Call(HELPER),
    "asyouwere.find_session_ids": Call(
        HELPER,
        lambda scene, session: {"p_user_id": uuid4(), "p_key_prefix": "", "p_metadata": None},
        but={ANONYMOUS: "denied", CLAIMLESS: "denied"},
    ),
    "asyouwere.metadata_terms": Call(
        HELPER,
        lambda scene, session: {"p_of": uuid4(), "p_metadata": {}},
        but={ANONYMOUS: "denied", CLAIMLESS: "denied"},
    ),
    "asyouwere.internal_id_of": Call(HELPER),
    "asyouwere.is_public": Call(
        HELPER,
        lambda scene, session: {"p_session": 1},
        but=dict.fromkeys((OWNER, EDITOR, VIEWER, INVITED, STRANGER, UNNAMED, SERVICE), "denied"),
    ),
    "asyouwere.is_erased": Call(HELPER, lambda scene, session: {"p_user_id": uuid4()}),
    "asyouwere.lock_owner": Call(
        HELPER, lambda scene, session: {"p_user_id": uuid4()}, but={ANONYMOUS: "denied", CLAIMLESS: "denied"}
    ),
    "asyouwere.may_listen": Call(HELPER, lambda scene, session: {"p_topic": f"asyouwere:{session}"}),
    "asyouwere.message_id": Call(HELPER, with_session(p_position=1)),
    "asyouwere.body_role": Call(HELPER, lambda scene, session: {"p_body": '{"content":"x"}'}),
    "asyouwere.body_text": Call(HELPER, lambda scene, session: {"p_body": '{"content":"x"}'}),
    "asyouwere.json_head": Call(HELPER, lambda scene, session: {"p_body": '{"content":"x"}', "p_characters": 10}),
    "asyouwere.json_string": Call(HELPER, lambda scene, session: {"p_value": '"x"'}),
    "asyouwere.message_inside": Call(HELPER, lambda scene, session: {"p_fields": None}),
    "asyouwere.message_role": Call(HELPER, lambda scene, session: {"p_message": {"role": "x"}}),
    "asyouwere.message_text": Call(HELPER, lambda scene, session: {"p_message": {"content": "x"}}),
    "asyouwere.speaker": Call(HELPER, lambda scene, session: {"p_word": "human"}),
    "asyouwere.readable_json": Call(HELPER, lambda scene, session: {"p_body": "1"}),
    "asyouwere.charge": Call(HELPER, lambda scene, session: {}, but={ANONYMOUS: "denied", CLAIMLESS: "denied"}),
    "asyouwere.new_id": Call(
        HELPER, lambda scene, session: {}, but={ANONYMOUS: "denied", CLAIMLESS: "denied"}
    ),
    "asyouwere.fail": Call(
        HELPER,
        lambda scene, session: {"p_code": "not_found"},
        but=dict.fromkeys(CALLERS, "not_found"),
    ),
    "asyouwere.error_codes": Call(HELPER, lambda scene, session: {}),
}

# Those whose answer could tell that a session exists; message_id() is but a digest of its arguments.
ABOUT_A_SESSION = [
    name
    for name, call in FUNCTIONS.items()
    if "p_session_id" in call.arguments(None, uuid4()) and name != "asyouwere.message_id"  # type: ignore[arg-type]
]

# -- tables and views --------------------------------------------------------------------------------------------

# Privileges of each role, with the columns where they are for some columns only. Whatever is not here is denied.
READERS = ("anon", "authenticated", "service_role")
WRITERS = ("authenticated", "service_role")
SESSION_INSERT = (
    "id",
    "user_id",
    "name",
    "model",
    "kind",
    "status",
    "visibility",
    "key",
    "upstream",
    "metadata",
    "expires_after",
    "parent_id",
)
# id, user_id, kind and key for upserts, which name them; check_session() refuses another value
SESSION_UPDATE = (*(name for name in SESSION_INSERT if name != "parent_id"), "archived_at")

SESSION_OF_ANON = (
    *(column for column in SESSION_UPDATE if column not in ("key", "upstream")),
    *("created_at", "updated_at", "last_activity_at", "expired_at", "latest_number", "size_bytes", "message_count"),
    "activity_bin",
)
TURN_OF_USERS = (
    *("session_id", "id", "status", "started_at", "lease_until", "stop_requested_at", "ended_at", "last_seq"),
    *("number", "position"),
)
SNAPSHOT_OF_ANON = ("session_id", "created_at", "size_bytes", "number", "changed_parts", "message_count", "label")

RELATIONS: dict[str, dict[str, dict[str, tuple[str, ...] | None]]] = {
    "public.free_agent_sessions": {
        "SELECT": {"anon": SESSION_OF_ANON, **dict.fromkeys(WRITERS)},
        "INSERT": dict.fromkeys(WRITERS, SESSION_INSERT),
        "UPDATE": dict.fromkeys(WRITERS, SESSION_UPDATE),
        "DELETE": dict.fromkeys(WRITERS),
    },
    "public.session_members": {
        "SELECT": dict.fromkeys(WRITERS),
        "INSERT": dict.fromkeys(WRITERS, ("session_id", "user_id", "role")),
        "UPDATE": dict.fromkeys(WRITERS, ("role",)),
        "DELETE": dict.fromkeys(WRITERS),
    },
    "public.session_snapshots": {"SELECT": {"anon": SNAPSHOT_OF_ANON, **dict.fromkeys(WRITERS)}},
    "public.session_messages": {
        "SELECT": dict.fromkeys(READERS),
        "INSERT": dict.fromkeys(WRITERS, ("session_id", "role", "content", "body")),
    },
    "public.sessions_list": {"SELECT": dict.fromkeys(WRITERS)},
    "public.free_agent_sessions_internal_id_seq": {},
    "public.session_turns": {"SELECT": {"service_role": None, "anon": TURN_OF_USERS, "authenticated": TURN_OF_USERS}},
    "public.session_turns_internal_id_seq": {},
    "asyouwere.turn_chunks": {},
    "public.session_usage": {"SELECT": dict.fromkeys(WRITERS)},
    "public.user_usage": {"SELECT": dict.fromkeys(WRITERS)},
    "asyouwere.session_costs": {"SELECT": dict.fromkeys(WRITERS)},
    "asyouwere.user_budgets": {},
    "asyouwere.usage_records": {},
    "asyouwere.fork_origins": {},
    "asyouwere.described_sessions": {"SELECT": dict.fromkeys(WRITERS)},
    "asyouwere.parts": {"SELECT": dict.fromkeys(READERS)},
    "asyouwere.live_parts": {"SELECT": dict.fromkeys(READERS)},
    "asyouwere.ended_parts": {},
    "asyouwere.rate_buckets": {},
    "asyouwere.used_ids": {},
    "asyouwere.erasures": {},
    "asyouwere.transfers": {},
    "asyouwere.offers": {},
    "asyouwere.save_keys": {},
    "asyouwere.thinned": {},
    "asyouwere.unswept": {},
    "asyouwere.unswept_id_seq": {},
    "asyouwere.settings": {"SELECT": {"service_role": None}},
    "asyouwere.cleanup_failures": {"SELECT": {"service_role": None}},
    "asyouwere.cleanup_runs": {"SELECT": {"service_role": None}},
    "asyouwere.cleanup_runs_id_seq": {},
}


def rows_seen(relation: str, caller: str, visibility: str) -> int | str:
    """How many rows of a relation a caller sees that belong to one session of the scene."""
    role = role_in(caller, visibility)
    reads = role is not None
    anonymous = caller in (ANONYMOUS, CLAIMLESS)
    if relation in ("public.free_agent_sessions", "public.session_turns"):
        return int(reads)
    if relation == "asyouwere.described_sessions":
        return "denied" if anonymous else int(reads)
    if relation == "public.session_snapshots":
        return 2 * reads
    if relation == "public.session_messages":
        return 2 * reads
    if relation == "asyouwere.parts":
        return 5 * reads  # the list, two messages, two versions of a number
    if relation == "asyouwere.live_parts":
        return 4 * reads
    if relation == "public.sessions_list":
        return "denied" if anonymous else int(caller == OWNER or (caller in (EDITOR, VIEWER) and visibility != "private"))
    if relation == "public.session_members":
        # all for the owner and the service; one's own for whoever sees the session
        everybody = {OWNER: 3, SERVICE: 3}
        own = {EDITOR: 1, VIEWER: 1, INVITED: 1} if reads else {}
        return "denied" if anonymous else (everybody | own).get(caller, 0)
    if relation in ("public.session_usage", "asyouwere.session_costs"):
        inside = caller in (OWNER, SERVICE) or (caller in (EDITOR, VIEWER) and visibility != "private")
        return "denied" if anonymous else int(inside)
    if relation == "public.user_usage":
        return "denied" if anonymous else int(caller in (OWNER, SERVICE))  # all of ada's sessions in one row
    if relation in ("asyouwere.settings", "asyouwere.cleanup_runs"):
        return 1 if caller == SERVICE else "denied"
    if relation == "asyouwere.cleanup_failures":
        return 0 if caller == SERVICE else "denied"
    return "denied"
