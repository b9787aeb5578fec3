"""Cursors: where a page ended, packed so that nobody takes it for something to be made by hand."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from asyouwere.errors import Invalid

__all__ = ["pack", "unpack"]


def pack(*place: str | int) -> str:
    """A cursor for a place in an order."""
    text = json.dumps(place, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def unpack(cursor: str, *kinds: type) -> list[Any]:
    """The place that a cursor stands for. Raises invalid_request if it is not one of ours."""
    try:
        place = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        place = None
    if (
        not isinstance(place, list)
        or len(place) != len(kinds)
        or not all(type(value) is kind for value, kind in zip(place, kinds, strict=True))
    ):
        raise Invalid("invalid_request", "That cursor does not come from this list.")
    return place
