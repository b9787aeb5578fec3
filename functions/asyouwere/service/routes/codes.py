"""Codes of errors that several routes share."""

from __future__ import annotations

from typing import Final

__all__ = ["CHANGING", "SAVING", "SESSION", "SESSION_FIELDS", "TURN"]

SESSION: Final = ("session_not_found",)
TURN: Final = (*SESSION, "turn_not_found")
SAVING: Final = (
    *SESSION,
    "forbidden",
    "snapshot_gone",
    "idempotency_key_reused",
    "too_large",
    "quota_exceeded",
    "invalid_argument",
)
CHANGING: Final = (
    "conflict",
    "unknown_base",
    "invalid_state",
    "invalid_changes",
    "invalid_address",
    "address_below_part",
    "address_too_long",
    "missing_parent",
    "list_gap",
    "not_a_list",
    "overlapping_addresses",
)
SESSION_FIELDS: Final = ("invalid_argument", "not_representable")
