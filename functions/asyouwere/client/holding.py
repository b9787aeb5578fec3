"""Telling whether another process is still there: by a lock that it holds as long as it lives, whatever ends it."""

from __future__ import annotations

import os
import sys
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["Holder", "is_gone"]


def _lock(descriptor: int) -> bool:
    """Take the lock, or say that somebody else has it. Of this process, not of a thread or a file handle, so that no
    child inherits it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class Holder:
    """This process, as the users of a journal see it: a file beside it, locked to the end of the process."""

    _held: Final[dict[tuple[Path, int], Holder]] = {}
    _guard = threading.Lock()

    def __init__(self, journal: Path) -> None:
        self.name = str(uuid.uuid4())
        self._path = journal.with_name(f"{journal.name}.{self.name}.lock")
        self._descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        _lock(self._descriptor)

    @classmethod
    def of(cls, journal: Path) -> Holder:
        """The one of this process for a journal."""
        with cls._guard:
            key = (journal, os.getpid())
            if key not in cls._held:
                cls._held[key] = cls(journal)
            return cls._held[key]

    @classmethod
    def is_ours(cls, path: Path) -> bool:
        """Whether this process holds that lock. It could take it again, and would lose it by closing the file."""
        process = os.getpid()
        return any(holder._path.name == path.name and pid == process for (_, pid), holder in list(cls._held.items()))


def is_gone(path: Path) -> bool:
    """Whether the process that held this lock is gone. Its file is removed then."""
    if Holder.is_ours(path):  # by another name of the same folder
        return False
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        if not _lock(descriptor):
            return False
        with suppress(OSError):
            path.unlink()
        return True
    finally:
        os.close(descriptor)
