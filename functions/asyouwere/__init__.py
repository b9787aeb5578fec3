"""asyouwere: chat and agent sessions that pick up where they left off.

    async with asyouwere.open(url, token=…, key="chat-1") as session:
        session.append({"role": "user", "content": "Hello!"})

See ``open``, and docs/python.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyouwere.version import __version__

if TYPE_CHECKING:
    from asyouwere.client import format_time_ago, open

__all__ = ["__version__", "format_time_ago", "open"]


def __getattr__(name: str) -> Any:
    # Only who opens a session needs what that needs: deployed functions and the command start without it.
    if name in ("open", "format_time_ago"):
        from asyouwere import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
