"""The tasks of one session: a task group of its own, held open by a task of its own.

So a session may be opened and closed by different tasks, and several in any order, as servers, notebooks and fixtures
do; a task group entered by the app's own task would not allow that. A mistake in it ends no code of the app's.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

__all__ = ["Background"]

_LOG: Final = logging.getLogger("asyouwere")


class Background:
    """Tasks that go on until ``close``."""

    def __init__(self) -> None:
        self._group: TaskGroup | None = None
        self._ready = anyio.Event()
        self._stop = anyio.Event()
        self._done = anyio.Event()
        self._task: object = None

    async def open(self) -> None:
        """From now on tasks may be started."""
        self._task = _spawn(self._hold)
        await self._ready.wait()

    def start_soon(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Start a task."""
        assert self._group is not None
        self._group.start_soon(self._guarded, function, *args)

    async def close(self) -> None:
        """Cancel what goes on, and wait for its end."""
        self._stop.set()
        await self._done.wait()

    async def _hold(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                self._ready.set()
                await self._stop.wait()
                group.cancel_scope.cancel()
        finally:
            self._ready.set()
            self._done.set()

    @staticmethod
    async def _guarded(function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        try:
            await function(*args)
        except Exception:  # noqa: BLE001 - it must not end the others
            _LOG.exception("a background task of a session failed")


def _spawn(function: Callable[[], Coroutine[Any, Any, None]]) -> object:
    import asyncio

    try:
        return asyncio.get_running_loop().create_task(function())
    except RuntimeError:
        import trio  # type: ignore[import-not-found,unused-ignore]

        return trio.lowlevel.spawn_system_task(function)
