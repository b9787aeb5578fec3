"""What the function sessions answers, as models: its OpenAPI document and its answers are made from them.

Those of the other functions stand beside their handlers, so that none imports more than it answers with.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, model_validator

from asyouwere.service.models import (
    Content,
    JsonObject,
    Kind,
    ResponseModel,
    SessionId,
    Status,
    Time,
    UserId,
    Visibility,
)

__all__ = [
    "Appended",
    "Claimed",
    "CreatedSession",
    "DeletedData",
    "DeletedSession",
    "Difference",
    "DifferenceList",
    "Forgotten",
    "ForkOrigin",
    "Invitation",
    "InvitationPage",
    "ListedSession",
    "Member",
    "MemberList",
    "Message",
    "MessagePage",
    "Offer",
    "Session",
    "SessionPage",
    "Snapshot",
    "SnapshotPage",
    "Taken",
    "Transfer",
]

_INTERVAL = re.compile(r"(?:(\d+) days? ?)?(?:(\d+):(\d\d):(\d\d)(?:\.\d+)?)?")


def _any_value(schema: dict[str, Any]) -> None:
    """Any JSON value, of which null is one already."""
    schema.pop("anyOf")


class Session(ResponseModel):
    """A session without its content."""

    id: SessionId
    user_id: UserId
    name: str | None
    model: str | None
    kind: Kind
    status: Status
    visibility: Visibility
    key: str | None = Field(description="The owner's own name for it; one session each.")
    expires_after_seconds: int | None = Field(description="Idle time until it expires; null is never.")
    archived_at: Time | None
    created_at: Time
    updated_at: Time
    last_activity_at: Time
    expired_at: Time | None
    latest_number: int = Field(description="Number of the latest snapshot; 0: never saved.")
    size_bytes: int = Field(description="Bytes of the latest state: JSON, addresses and 100 for each part.")
    message_count: int = Field(description="Items of the state's list 'messages'.")
    parent_id: SessionId | None = Field(description="The session that it belongs to. For the owner and members.")
    upstream: JsonObject | None = Field(
        description="Where the agent lives: provider, path, url, external_id, as it was given."
    )
    metadata: JsonObject

    @model_validator(mode="before")
    @classmethod
    def _seconds(cls, row: Any) -> Any:
        if isinstance(row, dict) and "expires_after" in row:
            row = {**row, "expires_after_seconds": interval_seconds(row["expires_after"])}
        return row


class CreatedSession(Session):
    """A session that was asked for: made for this request, or there already."""

    created: bool = Field(description="Whether it was made; then the status is 201, otherwise 200.")


class ListedSession(Session):
    """A session as lists show it."""

    last_message: str | None = Field(description="The beginning of the last message, at most 140 characters.")
    last_saved_at: Time | None
    my_role: Literal["owner", "editor", "viewer"] = Field(description="What the caller may do.")
    cost: float | None = Field(
        description="What it has cost, in the app's currency; null: nothing recorded. For the owner and members."
    )
    budget: float | None = Field(description="What it is to cost in all; null: no budget.")


class ForkOrigin(ResponseModel):
    """The session that a fork comes from, and how far it was merged back."""

    origin_id: SessionId | None = Field(None, description="Null: it is no fork.")
    origin_number: int | None = Field(None, description="The number of the origin's that it was forked from.")
    base_number: int | None = Field(None, description="The fork's own number that was merged last; at first 1.")
    merged_number: int | None = Field(None, description="The number of the origin's that this made.")
    merged_at: Time | None = None


class SessionPage(ResponseModel):
    """A page of sessions, last active first."""

    sessions: list[ListedSession]
    next: str | None = Field(description="Cursor of the next page; null if this is the last.")


class Snapshot(ResponseModel):
    """A numbered version, without its content."""

    session_id: SessionId
    number: int
    label: str | None = Field(description="A name for it; a labelled snapshot is never cleaned up.")
    size_bytes: int = Field(description="Bytes of its state: JSON, addresses and 100 for each part.")
    changed_parts: int = Field(description="Parts written or removed since the snapshot before.")
    message_count: int
    created_by: UserId | None = Field(description="Who saved it, if not the owner.")
    created_at: Time
    external_id: str | None = Field(description="The app's own id for it. For the owner and members.")
    parent_number: int | None = Field(
        description="The number it was made from, if not the one before; that one may be gone."
    )
    metadata: JsonObject | None = Field(description="What the app said of it. For the owner and members.")


class SnapshotPage(ResponseModel):
    """A page of snapshots, newest first."""

    snapshots: list[Snapshot]
    next: str | None = Field(description="Cursor of the next page; null if this is the last.")


class Difference(ResponseModel):
    """One address at which two snapshots differ. A value that is not there is null."""

    change: Literal["added", "removed", "changed"]
    address: Content = Field(description="JSON Pointer of the part.", json_schema_extra={"type": "string"})
    before: Content | None = Field(json_schema_extra=_any_value)
    after: Content | None = Field(json_schema_extra=_any_value)


class DifferenceList(ResponseModel):
    """Two snapshots and all differences between them, in address order."""

    from_: Snapshot | None = Field(alias="from", description="The first; null: the empty state before any.")
    to: Snapshot | None
    differences: list[Difference]


class Message(ResponseModel):
    """A message of the state's list ``messages``."""

    id: str
    session_id: SessionId
    position: int
    role: str | None
    content: str | None
    created_at: Time
    body: Content = Field(description="The message, character by character as it was sent.")


class MessagePage(ResponseModel):
    """Messages by position."""

    messages: list[Message]
    next: int | None = Field(description="Value of 'after' for the next page; null if this is the last.")
    previous: int | None = Field(
        description="With 'last': value of 'before' for the page before this one; null if this is the first."
    )


class Appended(ResponseModel):
    """Where the messages are now."""

    number: int = Field(description="Number of the snapshot that holds them.")
    created: bool = Field(description="Whether a snapshot was made; always, for a message is always new.")
    replayed: bool = Field(description="Whether this repeats the response to an earlier request of the same key.")
    first_position: int | None = Field(description="null in a replay if that snapshot is not kept any more.")
    last_position: int | None
    message_count: int | None


class Taken(ResponseModel):
    """What was taken from the end of a list."""

    number: int = Field(description="Number of the snapshot without them.")
    created: bool = Field(description="Whether a snapshot was made; false: there was nothing to take.")
    replayed: bool = Field(description="Whether this repeats the response to an earlier request of the same key.")
    first_position: int | None = Field(description="Where the first of them was; as long is the list now.")
    size_bytes: int | None = Field(description="Bytes of that state; null in a replay if it is not kept any more.")
    message_count: int | None
    items: Content | None = Field(
        description="A list, in their order; null in a replay if they are not kept any more.",
        # no list in the schema: a generated client for one that may be null does not type-check
        json_schema_extra=_any_value,
    )


class Forgotten(ResponseModel):
    """A receipt: what was deleted for good."""

    number: int = Field(description="The latest number.")
    snapshots: int
    parts: int
    turns: int = Field(description="Turns whose chunks went.")
    bytes: int
    done: bool = Field(description="False: the clean-up deletes the rest, which nobody can read any more.")


class Member(ResponseModel):
    """Somebody besides the owner who may see a shared session."""

    session_id: SessionId
    user_id: UserId
    role: Literal["viewer", "editor"]
    created_at: Time
    accepted_at: Time | None = Field(description="Null: invited, and a stranger until accepting.")


class MemberList(ResponseModel):
    """All members for the owner; for a member their own row."""

    members: list[Member]


class Invitation(ResponseModel):
    """An open invitation of the caller's."""

    session_id: SessionId
    role: Literal["viewer", "editor", "owner"] = Field(description="owner: a session to take over.")
    name: str | None = Field(description="The session's name, at most 200 characters of it.")
    invited_by: UserId
    created_at: Time


class InvitationPage(ResponseModel):
    """A page of invitations, newest first."""

    invitations: list[Invitation]
    next: str | None = Field(description="Cursor of the next page; null if this is the last.")


class Transfer(ResponseModel):
    """A session and whom it is offered to."""

    session_id: SessionId
    user_id: UserId | None


class Offer(ResponseModel):
    """A code, good once, for all of a guest's sessions."""

    code: str
    expires_at: Time


class Claimed(ResponseModel):
    """What was taken over."""

    sessions: int
    new_keys: int = Field(description="Sessions whose key the account had already; they got a new one.")


class DeletedData(ResponseModel):
    """What was deleted of a user's data."""

    sessions: int
    snapshots: int
    parts: int
    turns: int
    memberships: int
    done: bool = Field(description="False: there is more, or something was busy; call again.")


class DeletedSession(ResponseModel):
    """What was deleted with a session."""

    snapshots: int
    parts: int
    turns: int
    members: int


def interval_seconds(text: str | None) -> int | None:
    """Seconds of an interval as PostgreSQL prints it: '00:30:00', '7 days', '8760:00:00'."""
    match = _INTERVAL.fullmatch(text) if text else None
    if match is None:
        return None
    days, hours, minutes, seconds = (int(group or 0) for group in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
