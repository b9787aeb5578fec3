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
from dataclasses import replace
from typing import Any, Final, TypeVar

import anyio
import anyio.lowlevel

from asyouwere.client.conflicts import decide, told
from asyouwere.client.deltas import apply_delta, changed_parts
from asyouwere.client.document import Document
from asyouwere.client.errors import ClientError, Closed, Expired, Unreachable
from asyouwere.client.events import Events
from asyouwere.client.record import Record
from asyouwere.client.replica import Replica, Sending
from asyouwere.client.rhythm import Due, Rhythm
from asyouwere.client.telemetry import span
from asyouwere.client.transport import Saved, Snapshot, Transport
from asyouwere.errors import AsYouWereError, Invalid, NotFound
from asyouwere.state.addresses import OPENED_DEPTH, depth_of, pointer_text
from asyouwere.state.rebasing import Doubt
from asyouwere.state.rows import open_state
from asyouwere.state.tree import Tree, flatten, tree_of_rows

__all__ = ["VERSION", "Sync", "is_passing", "tree_of_text"]

#: Where a state says which version of the app wrote it.
VERSION: Final = "schemaVersion"
_LOG: Final = logging.getLogger("asyouwere")
_Folded = TypeVar("_Folded", list[Doubt], list[Doubt] | None)
_CONFLICTS: Final = 20
#: Parts that one save seals anew.
_RESEALED: Final = 200


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
        self.due = Due(rhythm)
        #: Called when an answer was taken in, which the journal is to have when there is time for it.
        self.on_settled: Callable[[], None] = lambda: None
        #: Set when another session is in this one's place; then there is another event.
        self.moved = anyio.Event()
        self._lock = anyio.Lock(fast_acquire=True)
        self._base, self._journaled = replica.base, replica.local  # as the journal has them

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
        self.due.changed()
        self.record.edited(changed_parts(self._journaled, tree))
        self._journaled = tree

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
            first_change, self.due.first_change = self.due.first_change, None
            # later edits are in a save of their own
            is_resumed = self.replica.sending is not None or self.replica.written is not None
            if self.replica.sending is None and self.replica.compose(label) is None:
                return
            self._seal()
            try:
                if not await self._send():
                    if is_resumed:
                        continue
                    return
            except BaseException:
                self.due.first_change = first_change
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
            self.due.is_refused = True
            raise
        finally:
            self.is_saving = False

    async def _fold(self, answer: Saved) -> bool:
        try:
            doubts = self._rebased(lambda: self.replica.accepted(answer))
        except Invalid:
            doubts = None
        if doubts is not None:
            return self._saved(doubts)
        # An old key was answered, or what others did is not to be had: see what is there at that number.
        try:
            snapshot = await self.transport.restore(self.session, answer.number)
        except AsYouWereError as exc:
            if exc.code not in ("snapshot_gone", "snapshot_not_found"):
                raise
            return await self._arrived()
        return self._folded(snapshot)

    async def _arrived(self) -> bool:
        """The save under way has arrived, in an earlier form even: see what is there now."""
        return self._folded(await self.transport.restore(self.session))

    def _folded(self, snapshot: Snapshot) -> bool:
        theirs = tree_of_text(snapshot.state)
        return self._saved(self._rebased(lambda: self.replica.folded(snapshot.number, theirs)))

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
                if self.replica.sending is not None:
                    return  # that has to be answered before; nobody was asked, so it says nothing of the network
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
                    self._settled(self._rebased(lambda: replica.caught_up(delta.number, theirs)))
                    return
        self.take(await self.transport.restore(self.session))

    def take(self, snapshot: Snapshot) -> None:
        """Go on from a state that was restored whole."""
        theirs = tree_of_text(snapshot.state)
        self._settled(self._rebased(lambda: self.replica.caught_up(snapshot.number, theirs)))

    def _rebased(self, fold: Callable[[], _Folded]) -> _Folded:
        """Take over what the app has changed, fold in what came, and show that. No other thread changes the state
        meanwhile: what it did would not be in what is shown."""
        with self.document.lock:
            self.look()
            doubts = fold()
            if doubts is not None:
                self.document.show(self.replica.local)
        return doubts

    def _settled(self, doubts: list[Doubt]) -> None:
        """The base is another now: write it down, tell what was in doubt."""
        replica = self.replica
        self.record.answered(replica.number, self._base, replica.base, changed_parts(replica.base, replica.local))
        self._base, self._journaled = replica.base, replica.local
        self.on_settled()
        if replica.is_waiting and self.due.first_change is None:
            self.due.changed()
        if doubts:
            if self.resolve is not None:
                decide(self.document, doubts, self.resolve)
                self.look()
            self.events.tell("conflict", code="conflict", doubts=told(doubts))

    # -- how it went -----------------------------------------------------------------------------------------------

    def _alive(self) -> None:
        if self.is_expired:
            raise Expired

    def begin_anew(self, session: str, record: Record, replica: Replica, state: dict[str, Tree]) -> None:
        """Go on with another session, which is empty; the old record stays as it is in the journal."""
        self.record.close()
        self.session, self.record, self.replica = session, record, replica
        self.moved, moved = anyio.Event(), self.moved
        moved.set()
        self.is_expired, self.error = False, None
        self.document.show({})
        replica.local = self.document.tree()
        self._base, self._journaled = replica.base, replica.local
        self.document.show(state)
        self.look()

    def close(self) -> None:
        """The app may change nothing more. What it did during the last save goes to the journal, for the next one."""
        with self.document.lock:
            if self.document.refusal is None:
                with suppress(AsYouWereError, TypeError, ValueError):
                    self.look()
            self.document.refusal = Closed
        self.events.close()
        self.record.close()

    def _succeeded(self) -> None:
        if self.failures:
            self.reconnects += 1
            self.failures = 0
            self.events.tell("reconnected")
        if not self.due.is_refused:
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
