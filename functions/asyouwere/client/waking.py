"""Waking a task from any thread, and waiting longer after each failure."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any, Final

import anyio

__all__ = ["Wake", "backoff"]

_LONGEST_SECONDS: Final = 60.0


def backoff(failures: int, retry_after: float | None = None) -> float:
    """Seconds to wait after so many failures in a row: doubling from half a second to a minute, up to half of it at
    random so that many clients do not come back at once; at least what the server asked for.

    Own lines: tenacity and stamina retry a call, while this waits for whatever comes first, an edit or the time.
    """
    wait = min(_LONGEST_SECONDS, 0.5 * 2.0 ** min(failures - 1, 10)) * random.uniform(0.5, 1.0)
    return max(wait, retry_after or 0.0)


class Wake:
    """An event that any thread may set, and one task waits for. Made in the loop that waits."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._thread = threading.get_ident()
        self._soon = _caller_of_this_loop()

    def set(self) -> None:
        """Wake the task, now or as soon as its loop turns."""
        if threading.get_ident() == self._thread:
            self._event.set()
        elif not self._event.is_set():
            try:
                self._soon(self._event.set)
            except RuntimeError:  # its loop is over
                self._event = anyio.Event()

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait for it, so many seconds at most. Whether it was set; it is not any more then."""
        with anyio.move_on_after(seconds):
            await self._event.wait()
        was_set = self._event.is_set()
        if was_set:
            self._event = anyio.Event()
        return was_set


def _caller_of_this_loop() -> Callable[[Callable[[], Any]], Any]:
    import asyncio

    try:
        return asyncio.get_running_loop().call_soon_threadsafe
    except RuntimeError:
        import trio  # type: ignore[import-not-found,unused-ignore]

        soon: Callable[[Callable[[], Any]], Any] = trio.lowlevel.current_trio_token().run_sync_soon
        return soon
