"""asyouwere: chat and agent sessions that pick up where they left off.

    async with asyouwere.open(url, token=…, key="chat-1") as session:
        session.append({"role": "user", "content": "Hello!"})

See ``open``, and docs/python.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyouwere.version import __version__

if TYPE_CHECKING:
    from asyouwere.client import Session, cost_of, format_time_ago, open
    from asyouwere.client.blocking import BlockingSession
    from asyouwere.client.encryption import Encryption, Key
    from asyouwere.errors import AsYouWereError

__all__ = [
    "AsYouWereError",
    "BlockingSession",
    "Encryption",
    "Key",
    "Session",
    "__version__",
    "cost_of",
    "format_time_ago",
    "open",
]

# Imported when first asked for: deployed functions and the command start without the client.
_PLACES = {
    "AsYouWereError": "asyouwere.errors",
    "BlockingSession": "asyouwere.client.blocking",
    "Encryption": "asyouwere.client.encryption",
    "Key": "asyouwere.client.encryption",
    "Session": "asyouwere.client",
    "cost_of": "asyouwere.client.prices",
    "format_time_ago": "asyouwere.client",
    "open": "asyouwere.client",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return value
