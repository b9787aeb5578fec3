"""Numbers and times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from asyouwere.service.export.readable_json import Number

__all__ = ["count", "human_size", "moment"]


def human_size(size_bytes: int) -> str:
    """954 bytes, 9.5 KB, 954 KB, 1.2 MB: powers of 1,000, two or three digits."""
    if size_bytes < 1000:
        return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"
    value = float(size_bytes)
    for unit in ("KB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            break
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:,.0f} {unit}"


def moment(value: Any) -> str:
    """A time as "2026-11-21 07:11 UTC"; "" if it is none.

    Takes ISO 8601 text and seconds or milliseconds since 1970; without a zone it is taken for UTC.
    """
    try:
        if isinstance(value, Number):
            seconds = float(value)
            if seconds > 1e11:
                seconds /= 1000
            if not 1e8 < seconds < 1e11:
                return ""
            at = datetime.fromtimestamp(seconds, UTC)
        elif isinstance(value, str) and 8 <= len(value) <= 40:
            at = datetime.fromisoformat(value)
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        else:
            return ""
    except (ValueError, OverflowError, OSError):
        return ""
    return at.strftime("%Y-%m-%d %H:%M UTC")


def count(number: int, noun: str) -> str:
    """1 message, 1,204 messages."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
