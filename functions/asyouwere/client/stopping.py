"""Time to save when the process is asked to end: SIGTERM raises SystemExit, so that blocks are left in order."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Final, NoReturn

__all__ = ["asked_to_stop", "release"]

_open = 0
_EXIT_CODE: Final = 128 + signal.SIGTERM


def asked_to_stop() -> None:
    """From now on SIGTERM leaves blocks in order, as Ctrl-C does, unless the app handles it itself (servers do)."""
    global _open
    if threading.current_thread() is not threading.main_thread():
        return
    _open += 1
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _stop)


def release() -> None:
    """The opposite, with as many calls."""
    global _open
    if threading.current_thread() is not threading.main_thread() or not _open:
        return
    _open -= 1
    if not _open and signal.getsignal(signal.SIGTERM) is _stop:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(_EXIT_CODE)
