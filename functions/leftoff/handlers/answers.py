"""What the functions answer, as models: the OpenAPI document is made from them, and so are the answers."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from leftoff.models import AnswerModel, Content, SessionId, Time, UserId

__all__ = [
    "Appended",
    "Changes",
    "Cleaned",
    "DeletedData",
    "DeletedSession",
    "Difference",
    "Differences",
    "ListedSession",
    "Member",
    "Members",
    "Message",
    "Messages",
    "Restored",
    "Saved",
    "Session",
    "Sessions",
    "Snapshot",
    "Snapshots",
]

Status = Literal["idle", "running", "paused", "completed", "error", "expired"]
Visibility = Literal["private", "shared", "public"]

_INTERVAL = re.compile(r"(?:(\d+) days? ?)?(?:(\d+):(\d\d):(\d\d)(?:\.\d+)?)?")


class Saved(AnswerModel):
    """The snapshot that holds what was sent; not created if that changed nothing: then it is the latest."""

    number: int = Field(description="Number of the snapshot; 1, 2, 3 …")
    created: bool = Field(description="Whether a snapshot was made.")
    replayed: bool = Field(
        description="Whether this repeats the answer to an earlier request of the same key."
    )
    merged: Annotated[bool, BeforeValidator(bool)] = Field(
        description="Whether others had saved since the base."
    )
    changed_parts: int
    size_bytes: int | None = Field(
        description="Bytes of that state; null in a replay if it is not kept any more."
    )
    message_count: int | None = Field(description="Messages in it; null likewise.")
    others: Content | None = Field(
        description="All that changed since the base, to be applied to it: remove first, then set in order. "
        "null if there was nothing but the caller's own."
    )

    @property
    def figures(self) -> dict[str, int]:
        """What the request log and telemetry say of a save."""
        size = {} if self.size_bytes is None else {"snapshot_bytes": self.size_bytes}
        changed = 0 if self.replayed else self.changed_parts
        return {**size, "changed_parts": changed, "merged": int(self.merged), "replayed": int(self.replayed)}


class Restored(AnswerModel):
    """A snapshot with its state. number 0 and an empty state: never saved."""

    session_id: SessionId
    number: int
    label: str | None
    size_bytes: int
    message_count: int
    created_at: Time | None
    status: Status
    latest_number: int
    state: Content = Field(
        description="The state, character by character as it was sent (without whitespace)."
    )


class Changes(AnswerModel):
    """What changed since a number. reset: that number is not kept any more; restore instead."""

    session_id: SessionId
    number: int = Field(description="The number the changes lead to.")
    reset: bool
    changes: Content | None = Field(
        description='{"remove": [pointers], "set": {pointer: value}}, in that order.'
    )


class Session(AnswerModel):
    """A session without its content."""

    id: SessionId
    user_id: UserId
    name: str | None
    model: str | None
    kind: Literal["chat", "agent"]
    status: Status
    visibility: Visibility
    key: str | None
    expires_after_seconds: int | None = Field(description="Idle time until it expires; null is never.")
    archived_at: Time | None
    created_at: Time
    updated_at: Time
    last_activity_at: Time
    expired_at: Time | None
    latest_number: int
    size_bytes: int
    message_count: int
    upstream: Content | None
    metadata: Content

    @model_validator(mode="before")
    @classmethod
    def _seconds(cls, row: Any) -> Any:
        if isinstance(row, dict) and "expires_after" in row:
            row = {**row, "expires_after_seconds": interval_seconds(row["expires_after"])}
        return row


class ListedSession(Session):
    """A session as lists show it."""

    last_message: str | None = Field(description="The beginning of the last message, at most 140 characters.")
    last_saved_at: Time | None
    my_role: Literal["owner", "editor", "viewer"] = Field(description="What the caller may do.")


class Sessions(AnswerModel):
    """A page of sessions, last active first."""

    sessions: list[ListedSession]
    next: str | None = Field(description="Cursor of the next page; null if this is the last.")


class Snapshot(AnswerModel):
    """A numbered version, without its content."""

    session_id: SessionId
    number: int
    label: str | None
    size_bytes: int
    changed_parts: int
    message_count: int
    created_by: UserId | None
    created_at: Time


class Snapshots(AnswerModel):
    """A page of snapshots, newest first."""

    snapshots: list[Snapshot]
    next: str | None = Field(description="Cursor of the next page; null if this is the last.")


class Difference(AnswerModel):
    """One address at which two snapshots differ. A value that is not there is null."""

    change: Literal["added", "removed", "changed"]
    address: Content = Field(description="JSON Pointer of the part.", json_schema_extra={"type": "string"})
    before: Content | None
    after: Content | None


class Differences(AnswerModel):
    """All differences between two snapshots, in address order."""

    differences: list[Difference]


class Message(AnswerModel):
    """A message of the state's list ``messages``."""

    id: str
    session_id: SessionId
    position: int
    role: str | None
    content: str | None
    created_at: Time
    body: Content = Field(description="The message, character by character as it was sent.")


class Messages(AnswerModel):
    """Messages by position."""

    messages: list[Message]
    next: int | None = Field(description="Value of 'after' for the next page; null if this is the last.")


class Appended(AnswerModel):
    """Where the messages are now."""

    number: int
    replayed: bool
    first_position: int | None = Field(description="null in a replay if that snapshot is not kept any more.")
    last_position: int | None
    message_count: int | None


class Member(AnswerModel):
    """Somebody besides the owner who may see a shared session."""

    session_id: SessionId
    user_id: UserId
    role: Literal["viewer", "editor"]
    created_at: Time


class Members(AnswerModel):
    """All members for the owner; for a member their own row."""

    members: list[Member]


class DeletedData(AnswerModel):
    """What was deleted of a user's data."""

    sessions: int
    snapshots: int
    parts: int
    memberships: int


class DeletedSession(AnswerModel):
    """What was deleted with a session."""

    snapshots: int
    parts: int
    members: int


class Cleaned(AnswerModel):
    """What a clean-up did. done is false if the time ran out: call it again."""

    sessions: int = Field(description="Sessions that snapshots were removed from.")
    snapshots: int
    parts: int
    bytes: int
    expired: int = Field(description="Sessions that expired.")
    deleted: int = Field(description="Expired sessions deleted after their time of grace.")
    batches: int
    done: bool


def interval_seconds(text: str | None) -> int | None:
    """Seconds of an interval as PostgreSQL prints it: '00:30:00', '7 days', '8760:00:00'."""
    match = _INTERVAL.fullmatch(text) if text else None
    if match is None:
        return None
    days, hours, minutes, seconds = (int(group or 0) for group in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
