"""Threads beside the event loop, for what takes long. Each kind of work has one of its own.

One, not several: threads share the interpreter, so several are no quicker, and would hand it to one another instead
of to the requests of others. Not asyncio's own: what is short must not wait behind what is long.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Final

__all__ = ["one_thread"]

#: Seconds that a thread may go on while another waits for the interpreter. At Python's own 5 ms each step of an
#: ordinary request, of which it has a dozen, may wait for that long.
_SWITCH_SECONDS: Final = 0.0005


def one_thread(name: str) -> ThreadPoolExecutor:
    """A thread that gives way quickly to the event loop."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    return ThreadPoolExecutor(1, name)
