"""Where the stack of a data folder runs now, for the commands in other terminals: one file, held by a lock.

    running = require_running(data_folder())
    print(running.functions_url)

The stack that runs holds an flock on the file, which the kernel drops however it ends: a file that nobody holds
says nothing, so yesterday's port is never told.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from asyouwere.local.errors import FolderUnusable, NotRunning

FILE = "running.json"


@dataclass(frozen=True, repr=False)
class RunningStack:
    """Addresses of one running stack. database_url: the superuser's, with the password."""

    functions_url: str
    database_url: str
    supabase_url: str | None = None


class Announcement:
    """The file as the running stack keeps it: `publish` when it answers, `withdraw` when it ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._descriptor: int | None = None

    def publish(self, running: RunningStack) -> None:
        """Tell the addresses; mode 600, for a password is among them."""
        self.withdraw()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # waits for somebody who looks, never for another stack
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(asdict(running)).encode())
        self._descriptor = descriptor

    def withdraw(self) -> None:
        """Nothing runs any more; harmless when nothing was published."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def find_running(folder: Path) -> RunningStack | None:
    """What runs with this data folder; None if nothing does. Raises FolderUnusable if it is another user's."""
    try:
        descriptor = os.open(folder / FILE, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise FolderUnusable(
            f"{folder} belongs to another user: run as that user, or choose another by --data"
        ) from None
    with os.fdopen(descriptor) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = file.read()
            return RunningStack(**json.loads(text)) if text else None  # empty: it is about to answer
        return None


def require_running(folder: Path) -> RunningStack:
    """What runs with this data folder. Raises NotRunning if nothing does."""
    running = find_running(folder)
    if running is None:
        raise NotRunning(
            f"nothing runs with the data in {folder}: start `asyouwere run` (or `make run`) in another terminal, "
            "or name its folder by --data"
        )
    return running
