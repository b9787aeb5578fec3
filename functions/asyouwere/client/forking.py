"""After a fork: sessions of the parent, which nobody looks after in the child, say so instead of losing words."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from asyouwere.client.errors import Closed
from asyouwere.client.holding import Holder
from asyouwere.client.journal_file import JournalFile

if TYPE_CHECKING:
    from asyouwere.client.session import Session

__all__ = ["forked", "watch"]

_OPEN: Final[WeakSet[Session]] = WeakSet()


def watch(session: Session) -> None:
    """It is open in this process."""
    _OPEN.add(session)


def forked() -> Closed:
    """What a session of the parent's raises in the child."""
    return Closed("This session was opened before a fork, by the parent. Open it again in this process.")


def _in_child() -> None:
    # Locks that another thread held are held for ever here; the parent's connections to the file are left alone.
    JournalFile._guard, Holder._guard = threading.Lock(), threading.Lock()
    for session in list(_OPEN):
        session._is_closed = True
        document = session._document
        document.lock = threading.RLock()
        document.refusal = forked
    _OPEN.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
