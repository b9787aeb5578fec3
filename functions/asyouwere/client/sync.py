"""Keeping a session's copy and the server's alike: when to send, what an answer means, what to do without one.

One save is under way at a time, with its key, and is asked again as it was until it is answered. The app goes on
changing the state meanwhile. Whatever comes in is folded into what the app sees between two awaits, so that nothing
is lost in between. Everything is written to the journal before it is sent.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.lowlevel

from asyouwere.client.background import Background
from asyouwere.client.deltas import apply_delta, changed_parts
from asyouwere.client.document import Document
from asyouwere.client.errors import ClientError, Expired, Unreachable
from asyouwere.client.events import Events
from asyouwere.client.journal import Record
from asyouwere.client.replica import Replica, Sending
from asyouwere.client.telemetry import span
from asyouwere.client.transport import Saved, Snapshot, Transport
from asyouwere.client.waking import Wake, backoff
from asyouwere.errors import AsYouWereError, Invalid, NotFound
from asyouwere.state.addresses import OPENED_DEPTH, depth_of, pointer_text
from asyouwere.state.rebasing import Doubt
from asyouwere.state.rows import open_state
from asyouwere.state.tree import Tree, flatten, render, tree_of_rows

if TYPE_CHECKING:
    from asyouwere.client.realtime import Realtime

__all__ = ["VERSION", "Rhythm", "Sync", "is_passing", "tree_of_text"]

#: Where a state says which version of the app wrote it.
VERSION: Final = "schemaVersion"
_LOG: Final = logging.getLogger("asyouwere")
#: Changes in place are written to the journal that soon; what is handed over by a call, at once.
_JOURNAL_SECONDS: Final = 0.02
_CONFLICTS: Final = 20
#: Parts that one save seals anew.
_RESEALED: Final = 200
#: Between two looks while realtime tells what is new.
_HEARING_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Seconds. debounce: from the last change to saving it; max_wait: from the first unsaved one at the latest; poll:
    between two looks for what others did, None for none."""

    debounce: float = 5.0
    max_wait: float = 30.0
    poll: float | None = 3.0


def is_passing(error: AsYouWereError) -> bool:
    """Whether the same request may well succeed later."""
    return isinstance(error, Unreachable) or error.status in (401, 408, 429) or error.status >= 500


def tree_of_text(text: str) -> dict[str, Tree]:
    """The tree of a state's canonical text."""
    rows = open_state(text)
    tree = tree_of_rows(rows, 0, len(rows))
    assert isinstance(tree, dict)
    return tree


class Sync:
    """A session's copy, and all that is done to keep it like the server's."""

    def __init__(
        self,
        session: str,
        transport: Transport,
        replica: Replica,
        document: Document,
        record: Record,
        events: Events,
        rhythm: Rhythm,
        resolve: Callable[[Doubt], Any] | None = None,
    ) -> None:
        self.session = session
        self.transport = transport
        self.replica = replica
        self.document = document
        self.record = record
        self.events = events
        self.resolve = resolve
        #: What ends the turns that are being made here, for who closes the session in the middle of one.
        self.turns: dict[str, Callable[[], Awaitable[None]]] = {}
        #: Turns of runners that are gone, which are being ended here: a new one waits for them.
        self.endings: dict[str, anyio.Event] = {}
        self.seal: Callable[[str, str, dict[str, Tree]], str] | None = getattr(transport, "sealed_changes", None)
        #: The app's version of its state; noted in it with the first change.
        self.version: int | None = None
        self.is_read_only = False
        self.error: AsYouWereError | None = None
        self.is_saving = False
        self.is_restored = False
        self.is_expired = False
        self.saves = 0
        self.last_saved: float | None = None
        self.reconnects = 0
        self.failures = 0
        self._rhythm = rhythm
        self._lock = anyio.Lock(fast_acquire=True)
        self._base, self._journaled = replica.base, replica.local  # as the journal has them
        self._first_change: float | None = None
        self._last_change = 0.0
        self._refused = False
        self._wake: Wake | None = None
        self._keep: Wake | None = None
        self._owe: Wake | None = None
        self._look: Wake | None = None
        self._is_hearing = False
        self._moved = anyio.Event()

    # -- the app's changes -----------------------------------------------------------------------------------------

    def look(self) -> None:
        """Take over what the app has changed, and write it to the journal."""
        tree = self.document.tree()
        if tree is self.replica.local:
            return
        if self.version is not None and self.document.root.get(VERSION) != self.version:
            self.document.root[VERSION] = self.version
            tree = self.document.tree()
        self.replica.local = tree
        self._changed()
        self.record.edited(changed_parts(self._journaled, tree))
        self._journaled = tree

    def touched(self) -> None:
        """The app has changed something; called from any thread."""
        self._changed()
        if self._keep is not None:
            self._keep.set()

    def _changed(self) -> None:
        now = time.monotonic()
        self._last_change = now
        if self._first_change is None:
            self._first_change = now
        self._refused = False

    @property
    def has_changes(self) -> bool:
        """Whether there is anything that the server has not got."""
        return self.replica.is_waiting

    # -- saving ----------------------------------------------------------------------------------------------------

    async def save(self, label: str | None = None) -> int:
        """Save all there is by now. Returns the number that has it. Raises what keeps it from being saved."""
        async with self._lock:
            try:
                await self._save(label)
            except AsYouWereError as exc:
                self._failed(exc)
                raise
            return self.replica.number

    async def _save(self, label: str | None) -> None:
        self._alive()
        conflicts = 0
        self.look()
        if self.replica.sending is not None:  # an older one comes first
            conflicts += await self._send()
        while True:
            self.look()
            first_change, self._first_change = self._first_change, None
            is_resumed = self.replica.sending is not None  # its later edits are in a save of their own
            if not is_resumed and self.replica.compose(label) is None:
                return
            self._seal()
            try:
                if not await self._send():
                    if is_resumed:
                        continue
                    return
            except BaseException:
                self._first_change = first_change
                raise
            conflicts += 1
            if conflicts > _CONFLICTS:
                raise AsYouWereError("conflict")

    def _seal(self) -> None:
        sending = self.replica.sending
        if self.seal is not None and sending is not None:
            wire = self.seal(self.session, sending.changes, sending.tree)
            self.replica.sending = replace(sending, wire=wire)

    async def reseal(self) -> int:
        """Save every part as it is, some at a time, so that each is sealed with today's key. Returns how many."""
        await self.save()
        parts = [
            (path, item)
            for (path, item), body in flatten(self.replica.base)
            if item >= 0 or body not in ("{}", "[]") or depth_of(path) >= OPENED_DEPTH
        ]
        for start in range(0, len(parts), _RESEALED):
            while await self._reseal(parts[start : start + _RESEALED]):
                await anyio.lowlevel.checkpoint()
        return len(parts)

    async def _reseal(self, parts: list[tuple[str, int]]) -> bool:
        """Save these as they are. Returns whether others changed one meanwhile: again, then."""
        async with self._lock:
            self._alive()
            if self.replica.sending is not None:
                await self._send()
            self.look()
            there = dict(flatten(self.replica.base))
            told = ",".join(f"{pointer_text(*part)}:{there[part]}" for part in parts if part in there)
            changes = f'{{"set":{{{told}}}}}'
            self.replica.sending = Sending(str(uuid.uuid4()), self.replica.number, changes, self.replica.base)
            self._seal()
            return await self._send()

    async def _send(self) -> bool:
        """Send the save that is under way. Returns whether it was in conflict, and is to be sent as it is now."""
        replica = self.replica
        sending = replica.sending
        assert sending is not None
        self.record.sending(sending)
        self.is_saving = True
        try:
            with span("save", bytes=len(sending.changes)):
                answer = await self.transport.save(
                    self.session, sending.wire or sending.changes, sending.base, sending.key, sending.label
                )
            return await self._fold(answer)
        except AsYouWereError as exc:
            if is_passing(exc) or isinstance(exc, NotFound | ClientError):
                raise  # not answered, or not in words that are understood: the save stays under way
            if exc.code == "idempotency_key_reused":
                return await self._arrived()
            base = replica.base
            self._take_back()
            if exc.code in ("conflict", "unknown_base", "snapshot_gone"):
                await self._catch_up(anew=exc.code != "conflict")
                replica.resume(sending, base)
                return True
            self._refused = True
            raise
        finally:
            self.is_saving = False

    async def _fold(self, answer: Saved) -> bool:
        replica = self.replica
        self.look()
        try:
            doubts = replica.accepted(answer)
        except Invalid:
            doubts = None
        if doubts is None:
            # An old key was answered, or what others did is not to be had: see what is there at that number.
            try:
                snapshot = await self.transport.restore(self.session, answer.number)
            except AsYouWereError as exc:
                if exc.code not in ("snapshot_gone", "snapshot_not_found"):
                    raise
                return await self._arrived()
            self.look()
            doubts = replica.folded(snapshot.number, tree_of_text(snapshot.state))
        return self._saved(doubts)

    async def _arrived(self) -> bool:
        """The save under way has arrived, in an earlier form even: see what is there now."""
        snapshot = await self.transport.restore(self.session)
        self.look()
        return self._saved(self.replica.folded(snapshot.number, tree_of_text(snapshot.state)))

    def _saved(self, doubts: list[Doubt]) -> bool:
        self._settled(doubts)
        self.saves += 1
        self.last_saved = time.time()
        self._succeeded()
        self.events.tell("saved", number=self.replica.number)
        return False

    def _take_back(self) -> None:
        self.look()
        replica = self.replica
        replica.take_back()
        self.record.taken_back(changed_parts(replica.base, replica.local))

    # -- catching up -----------------------------------------------------------------------------------------------

    async def catch_up(self) -> None:
        """See what others did since. Raises what keeps from it."""
        async with self._lock:
            try:
                self._alive()
                if self.replica.sending is None:
                    await self._catch_up()
                self._succeeded()
            except AsYouWereError as exc:
                self._failed(exc)
                raise

    async def _catch_up(self, *, anew: bool = False) -> None:
        replica = self.replica
        if not anew:
            with span("catch up"):
                delta = await self.transport.changes(self.session, replica.number)
            if delta.changes is not None:
                if delta.number == replica.number:
                    return
                try:
                    theirs = apply_delta(replica.base, delta.changes)
                except Invalid:
                    _LOG.warning("the copy of a session did not fit what the server says; restoring it")
                else:
                    self.look()
                    self._settled(replica.caught_up(delta.number, theirs))
                    return
        self.take(await self.transport.restore(self.session))

    def take(self, snapshot: Snapshot) -> None:
        """Go on from a state that was restored whole."""
        self.look()
        self._settled(self.replica.caught_up(snapshot.number, tree_of_text(snapshot.state)))

    def _settled(self, doubts: list[Doubt]) -> None:
        """The base is another now: show it, write it down, tell what was in doubt."""
        replica = self.replica
        self.document.show(replica.local)
        self.record.answered(replica.number, self._base, replica.base, changed_parts(replica.base, replica.local))
        self._base, self._journaled = replica.base, replica.local
        if self._owe is not None:
            self._owe.set()
        if replica.is_waiting and self._first_change is None:
            self._changed()
        if doubts:
            told = [
                {"address": doubt.address}
                | {name: _value(getattr(doubt, name)) for name in ("base", "mine", "theirs")}
                for doubt in doubts
            ]
            if self.resolve is not None:
                self._resolved(doubts)
            self.events.tell("conflict", code="conflict", doubts=told)

    def _resolved(self, doubts: list[Doubt]) -> None:
        for doubt in doubts:
            assert self.resolve is not None
            if self.resolve(doubt) == "theirs" and doubt.theirs is not None:
                self.document.set(doubt.address, _value(doubt.theirs))
        self.look()

    # -- how it went -----------------------------------------------------------------------------------------------

    def _alive(self) -> None:
        if self.is_expired:
            raise Expired

    def begin_anew(self, session: str, record: Record, replica: Replica, state: dict[str, Tree]) -> None:
        """Go on with another session, which is empty; the old record stays as it is in the journal."""
        self.record.close()
        self.session, self.record, self.replica = session, record, replica
        self._moved, moved = anyio.Event(), self._moved
        moved.set()
        self.is_expired, self.error = False, None
        self.document.show({})
        replica.local = self.document.tree()
        self._base, self._journaled = replica.base, replica.local
        self.document.show(state)
        self.look()

    def _succeeded(self) -> None:
        if self.failures:
            self.reconnects += 1
            self.failures = 0
            self.events.tell("reconnected")
        if not self._refused:
            self.error = None

    def _failed(self, error: AsYouWereError) -> None:
        self.error = error
        if isinstance(error, Expired):
            return
        if error.code == "session_not_found":
            self.is_expired = True
            self.events.tell("expired", session=self.session)
        elif is_passing(error):
            self.failures += 1
            if self.failures == 1:
                self.events.tell("reconnecting", code=error.code)
        else:
            self.events.tell("error", code=error.code)
        _LOG.debug("session %s: %s", self.session, error.code)

    @property
    def offline(self) -> bool:
        """Whether the server could not be reached when it was last tried."""
        return self.failures > 0 and isinstance(self.error, Unreachable)

    # -- in the background -----------------------------------------------------------------------------------------

    async def run(self, group: Background, realtime: Realtime | None = None) -> None:
        """Start what goes on until the group is closed."""
        self._wake, self._keep, self._owe, self._look = Wake(), Wake(), Wake(), Wake()
        self.document.on_touch = self.touched
        self.record.flush()
        group.start_soon(self._journal_changes)
        group.start_soon(self._journal_answers)
        group.start_soon(self._save_in_time)
        if realtime is not None:
            group.start_soon(self._listen, realtime)
        if realtime is not None or self._rhythm.poll is not None:
            group.start_soon(self._poll)
        if self.has_changes:
            self._changed()
            self._keep.set()

    async def _journal_changes(self) -> None:
        assert self._keep is not None
        assert self._wake is not None
        while True:
            await self._keep.wait()
            await anyio.sleep(_JOURNAL_SECONDS)
            try:
                self.look()
            except Exception as exc:  # noqa: BLE001 - what is no JSON, put in by ways that are not watched
                _LOG.error("a session's state can't be saved: %s", type(exc).__name__)
            self._wake.set()

    async def _journal_answers(self) -> None:
        assert self._owe is not None
        while True:
            await self._owe.wait()  # so it is done when the app waits for something anyway
            self.record.flush()

    async def _save_in_time(self) -> None:
        assert self._wake is not None
        while True:
            wait = self._seconds_to_next_save()
            if wait is None or wait > 0:
                await self._wake.wait(wait)
                continue
            try:
                await self.save()
            except AsYouWereError as exc:
                if is_passing(exc):
                    await anyio.sleep(backoff(self.failures, exc.retry_after))
                else:  # not again before something changes
                    self._first_change = None

    def _seconds_to_next_save(self) -> float | None:
        if self._first_change is None or self._refused or self.is_read_only or self.is_expired:
            return None
        due = min(self._last_change + self._rhythm.debounce, self._first_change + self._rhythm.max_wait)
        return due - time.monotonic()

    async def _poll(self) -> None:
        assert self._look is not None
        while True:
            wait = self._rhythm.poll
            if wait is not None and self._is_hearing:
                wait = max(wait, _HEARING_SECONDS)
            if self.failures:
                wait = max(wait or 0.0, backoff(self.failures))
            if await self._look.wait(wait) and self.failures:
                await anyio.sleep(backoff(self.failures))
            if not self.is_expired:
                with suppress(AsYouWereError):
                    await self.catch_up()

    async def _listen(self, realtime: Realtime) -> None:
        from asyouwere.client.realtime import listen

        assert self._look is not None
        look = self._look

        def state(is_hearing: bool) -> None:
            self._is_hearing = is_hearing
            look.set()  # for what was told before, or is told no more

        def snapshot(number: int) -> None:
            if number > self.replica.number:
                look.set()

        def turn(turn: str, seq: int) -> None:
            if turn not in self.turns:  # of our own the app is told anyway
                self.events.tell("turn", turn=turn, seq=seq)

        while True:
            moved = self._moved
            async with anyio.create_task_group() as group:
                group.start_soon(listen, realtime, self.session, state, snapshot, turn)
                await moved.wait()
                group.cancel_scope.cancel()


def _value(tree: Tree | None) -> Any:
    import json

    return None if tree is None else json.loads(render(tree))
