"""One process at a time in a data folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from asyouwere.local.errors import FolderInUse


class FolderLock:
    """An exclusive lock on a file, held by this process and given up when it ends, however it ends.

    The kernel drops a `flock` with the last descriptor, so a killed holder never leaves it behind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, or raise FolderInUse naming the holder's process id."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise FolderInUse(
                f"{self.path.parent} is in use by process {holder}: stop that one first, "
                "or choose another folder with --data"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock up; harmless when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
