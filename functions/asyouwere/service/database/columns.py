"""Which arguments and columns of our SQL functions are JSON: what the mode postgrest has to know of them.

A column of type json would come as a value among the others; asked for as text, it comes as it is stored. A
test holds these lists against the database's catalog.
"""

from __future__ import annotations

from typing import Final

__all__ = ["JSON_ARGUMENTS", "SELECT"]

#: Arguments of type json or jsonb, whatever the function. Not p_chunks and p_session: what may hold chunks goes as a
#: text with JSON in it, since PostgREST reads no half of a character, and a stream is cut anywhere.
JSON_ARGUMENTS: Final = frozenset(
    {
        "p_addresses", "p_changes", "p_choices", "p_message", "p_messages", "p_metadata", "p_page", "p_snapshots",
        "p_state", "p_upstream",
    }
)

_SAVED: Final = (
    "number", "created", "replayed", "merged", "changed_parts", "size_bytes", "message_count", "others::text",
    "existing::text",
)  # fmt: skip
_SESSION: Final = (
    "id", "user_id", "name", "model", "kind", "status", "visibility", "key", "upstream::text",
    "metadata::text", "expires_after", "archived_at", "created_at", "updated_at", "last_activity_at",
    "expired_at", "latest_number", "size_bytes", "message_count", "last_message", "parent_id",
)  # fmt: skip
_LISTED: Final = (*_SESSION, "last_saved_at", "my_role", "cost", "budget")
_SNAPSHOT: Final = (
    "session_id", "number", "label", "size_bytes", "changed_parts", "message_count", "created_by", "created_at",
    "external_id", "parent_number", "metadata::text",
)  # fmt: skip

#: The columns of the functions that have JSON among them; of the others, all are asked for.
SELECT: Final[dict[str, tuple[str, ...]]] = {
    "save_session_parts": _SAVED,
    "revert_session": _SAVED,
    "merge_fork": _SAVED,
    "finish_turn": _SAVED,
    "get_turn": (
        "id", "status", "started_by", "lease_until", "stop_requested", "first_seq", "chunks::text", "next_seq",
        "more", "number", "position", "started_at", "ended_at",
    ),
    "get_or_create_session": (*_SESSION, "created"),
    "update_session": _SESSION,
    "fork_session": _SESSION,
    "import_session": _SESSION,
    "accept_transfer": _SESSION,
    "get_session": _LISTED,
    "find_session": _LISTED,
    "list_sessions": _LISTED,
    "list_snapshots": _SNAPSHOT,
    "label_snapshot": _SNAPSHOT,
    "pop_session_items": (
        "number", "created", "replayed", "items::text", "first_position", "size_bytes", "message_count",
    ),
    "get_session_parts": ("number", "address::text", "present", "value::text", "first_position", "list_length"),
    "get_session_changes": ("number", "reset", "changes::text"),
    "diff_snapshots": ("address::text", "change", "before::text", "after::text"),
    "list_messages": ("id", "session_id", "position", "role", "content", "body::text", "created_at"),
}
