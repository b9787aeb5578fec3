"""What a session does by itself while it is open: writes to the journal, saves in time, looks for what others did."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio

from asyouwere.client.background import Background
from asyouwere.client.sync import Sync, is_passing
from asyouwere.client.waking import Wake, backoff
from asyouwere.errors import AsYouWereError

if TYPE_CHECKING:
    from asyouwere.client.realtime import Realtime

__all__ = ["Autosave"]

_LOG: Final = logging.getLogger("asyouwere")
#: Changes in place are written to the journal that soon; what is handed over by a call, at once.
_JOURNAL_SECONDS: Final = 0.02
#: Between two looks while realtime tells what is new.
_HEARING_SECONDS: Final = 30.0


class Autosave:
    """The tasks of an open session; made in the loop that runs them."""

    def __init__(self, sync: Sync) -> None:
        self._sync = sync
        self._save = Wake()
        self._keep = Wake()
        self._owe = Wake()
        self._look = Wake()
        self._is_hearing = False

    def run(self, group: Background, realtime: Realtime | None = None) -> None:
        """Start what goes on until the group is closed."""
        sync = self._sync
        sync.document.on_touch = self._touched
        sync.on_settled = self._owe.set
        sync.record.flush()
        group.start_soon(self._journal_changes)
        group.start_soon(self._journal_answers)
        group.start_soon(self._save_in_time)
        if realtime is not None:
            group.start_soon(self._listen, realtime)
        if realtime is not None or sync.due.rhythm.poll is not None:
            group.start_soon(self._poll)
        if sync.has_changes:
            sync.due.changed()
            self._keep.set()

    def _touched(self) -> None:
        """The app has changed something; called from any thread."""
        self._sync.due.changed()
        self._keep.set()

    async def _journal_changes(self) -> None:
        while True:
            await self._keep.wait()
            await anyio.sleep(_JOURNAL_SECONDS)
            try:
                self._sync.look()
            except Exception as exc:  # noqa: BLE001 - what is no JSON, put in by ways that are not watched
                _LOG.error("a session's state can't be saved: %s", type(exc).__name__)
            self._save.set()

    async def _journal_answers(self) -> None:
        while True:
            await self._owe.wait()  # so it is done when the app waits for something anyway
            self._sync.record.flush()

    async def _save_in_time(self) -> None:
        sync = self._sync
        while True:
            wait = None if sync.is_read_only or sync.is_expired else sync.due.seconds()
            if wait is None or wait > 0:
                await self._save.wait(wait)
                continue
            try:
                await sync.save()
            except AsYouWereError as exc:
                if is_passing(exc):
                    await anyio.sleep(backoff(sync.failures, exc.retry_after))
                else:  # not again before something changes
                    sync.due.first_change = None
            except Exception as exc:  # noqa: BLE001 - as above; the next change may be without it
                _LOG.error("a session can't be saved: %s", type(exc).__name__)
                sync.due.first_change = None

    async def _poll(self) -> None:
        sync = self._sync
        while True:
            wait = sync.due.rhythm.poll
            if wait is not None and self._is_hearing:
                wait = max(wait, _HEARING_SECONDS)
            if sync.failures:
                wait = max(wait or 0.0, backoff(sync.failures))
            if await self._look.wait(wait) and sync.failures:
                await anyio.sleep(backoff(sync.failures))
            if sync.is_expired:
                continue
            try:
                await sync.catch_up()
            except AsYouWereError:
                pass  # told by the status and an event
            except Exception as exc:  # noqa: BLE001 - as above
                _LOG.error("a session can't be looked at: %s", type(exc).__name__)

    async def _listen(self, realtime: Realtime) -> None:
        from asyouwere.client.realtime import listen

        sync = self._sync

        def state(is_hearing: bool) -> None:
            self._is_hearing = is_hearing
            self._look.set()  # for what was told before, or is told no more

        def snapshot(number: int) -> None:
            if number > sync.replica.number:
                self._look.set()

        def turn(turn: str, seq: int) -> None:
            if turn not in sync.turns:  # of our own the app is told anyway
                sync.events.tell("turn", turn=turn, seq=seq)

        while True:
            moved = sync.moved
            async with anyio.create_task_group() as group:
                group.start_soon(listen, realtime, sync.session, state, snapshot, turn)
                await moved.wait()
                group.cancel_scope.cancel()
