"""A session as an app has it: a state to read and change, and what can be done with it."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from asyouwere.client.background import Background
from asyouwere.client.budgets import Budgets
from asyouwere.client.context import last_messages
from asyouwere.client.deltas import changed_parts
from asyouwere.client.document import Document
from asyouwere.client.errors import Closed, SchemaTooNew
from asyouwere.client.events import Event, EventName, Statistics, Status, Waiting, utc
from asyouwere.client.sync import Sync
from asyouwere.client.tracked import TrackedDict, TrackedList, plain
from asyouwere.client.transport import Row, Transport
from asyouwere.errors import AsYouWereError

if TYPE_CHECKING:
    from decimal import Decimal

    from asyouwere.client.following import Progress
    from asyouwere.client.tokens import Tokens
    from asyouwere.client.turns import Turn

__all__ = ["Session"]


class Session:
    """An open session. ``asyouwere.open`` makes it; everything it does by itself ends with that block.

    state: a dict that is changed in place. What others save comes into it by itself, between two awaits. Values that
    are put in are copied; take what ``state`` gives back to change it later.
    """

    def __init__(self, sync: Sync, row: Row, group: Background, tokens: Tokens | None = None) -> None:
        self._sync = sync
        self._row = row
        self._group = group
        self._tokens = tokens
        self._budgets = Budgets(sync.events)
        self._opened = time.monotonic()
        self._is_closed = False

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The session's id."""
        return self._sync.session

    @property
    def key(self) -> str | None:
        """The app's own name for it, for its owner."""
        return self._row.get("key")

    @property
    def info(self) -> Row:
        """What is kept of the session beside its state, as it was when opened or last changed here: name, model,
        kind, status, metadata, upstream, … Of a session that was opened without the server id and key alone."""
        return dict(self._row)

    @property
    def state(self) -> TrackedDict:
        """The state, to be read and changed."""
        return self._sync.document.root

    @state.setter
    def state(self, value: Mapping[str, Any]) -> None:
        self.set("", value)

    @property
    def is_read_only(self) -> bool:
        """Whether a newer version of the app wrote it, which this one may not change."""
        return self._sync.is_read_only

    @property
    def number(self) -> int:
        """Number of the snapshot that the server had when last heard of; 0: never saved."""
        return self._sync.replica.number

    @property
    def status(self) -> Status:
        """How it is. ``waiting`` is counted when asked for, which costs what waits."""
        sync = self._sync
        sync.look()
        replica = sync.replica
        waiting = Waiting()
        if replica.is_waiting:
            changes = sum(1 for _ in changed_parts(replica.base, replica.local))
            under_way = "" if replica.sending is None else replica.sending.changes
            waiting = Waiting(changes, len(under_way.encode()) + len(replica.pending().encode()))
        return Status(
            is_saving=sync.is_saving,
            last_saved=utc(sync.last_saved),
            save_count=sync.saves,
            waiting=waiting,
            error=None if sync.error is None else sync.error.code,
            offline=sync.offline,
            journal=sync.record.journal.health,
            is_restored=sync.is_restored,
        )

    @property
    def statistics(self) -> Statistics:
        """Some figures for a status page."""
        messages = self.state.get("messages")
        return Statistics(
            is_active=not self._is_closed and not self._sync.is_expired,
            id=self.id,
            messages=len(messages) if isinstance(messages, list) else 0,
            duration_seconds=time.monotonic() - self._opened,
            reconnects=self._sync.reconnects,
            token_seconds=None if self._tokens is None else self._tokens.seconds_left,
        )

    # -- changing it -----------------------------------------------------------------------------------------------

    def append(self, item: Any, *more: Any, to: str = "/messages") -> Any:
        """Put items at the end of a list, which is made where nothing is. Written to the journal when this returns.
        Others who append at the same time are never in conflict. Returns the last item as it is in the state."""
        self._writable()
        items = self._document.list_at(to)
        items.extend([item, *more])
        self._sync.look()
        return items[-1]

    def update(self, change: Callable[[TrackedDict], object] | Mapping[str, Any]) -> None:
        """Change the state by a function that is given it, or by members to set. All of it is saved together, and
        written to the journal when this returns."""
        self._writable()
        with self._document.lock:
            if callable(change):
                change(self.state)
            else:
                self.state.update(change)
        self._sync.look()

    def set(self, pointer: str, value: Any) -> None:
        """Put a value at a JSON Pointer ("" is the whole state), making missing objects on the way."""
        self._writable()
        self._document.set(pointer, value)
        self._sync.look()

    def get(self, pointer: str, default: Any = None) -> Any:
        """What is at a JSON Pointer, or the default."""
        try:
            return self._document.get(pointer)
        except (LookupError, ValueError, TypeError):
            return default

    def context(self, last: int = 10, *, list: str = "/messages") -> list[Any]:
        """The last messages for a model's prompt, as plain dicts: instructions at the beginning stay, and no result
        of a tool stands without its call."""
        with self._document.lock:
            messages = self.get(list, [])
            return last_messages(plain(messages), last) if isinstance(messages, TrackedList) else []

    # -- the server ------------------------------------------------------------------------------------------------

    async def save_now(self, label: str | None = None) -> int:
        """Save all there is. Returns the number that has it. Raises why it is not saved (AsYouWereError): what can
        be tried again is tried again anyway. label: names that number."""
        self._writable()
        number = await self._sync.save()
        if label is not None:
            await self._transport.label(self.id, number, label)
        return number

    async def change(self, **fields: Any) -> Row:
        """Change what is kept beside the state, at once: name, model, status, metadata; as the owner also visibility,
        upstream (where the agent lives), archived, expires_after_seconds. Returns what ``info`` is then. Raises
        forbidden, invalid_argument."""
        self._writable()
        self._row |= await self._transport.change(self.id, fields)
        return self.info

    async def refresh(self) -> None:
        """See at once what others did; a save that was not answered comes before."""
        self._open()
        if self._sync.replica.sending is not None and not self.is_read_only:
            await self._sync.save()
        await self._sync.catch_up()

    async def restore(self, number: int | None = None, *, label: str | None = None) -> int:
        """Bring an old version to the front, as a new one: nothing is lost. What is not saved yet is saved before.
        Returns its new number. Raises snapshot_not_found, snapshot_gone."""
        self._writable()
        if (number is None) == (label is None):
            raise TypeError("say a number or a label")
        await self._sync.save()
        if number is None:
            number = (await self._transport.restore(self.id, label=label)).number
        saved = await self._transport.revert(self.id, number, str(uuid.uuid4()))
        await self._sync.catch_up()
        return saved.number

    async def revert(self, number: int) -> int:
        """The same as ``restore(number)``."""
        return await self.restore(number)

    async def peek(self, number: int | None = None, *, label: str | None = None) -> dict[str, Any]:
        """The state at a number or a label (default: the latest), to look at."""
        self._open()
        snapshot = await self._transport.restore(self.id, number, label)
        value: dict[str, Any] = json.loads(snapshot.state)
        return value

    async def history(self, limit: int = 50, *, before: int | None = None) -> list[Row]:
        """The kept snapshots, newest first: number, label, size_bytes, changed_parts, message_count, created_at …"""
        self._open()
        return await self._transport.snapshots(self.id, limit, before)

    async def diff(self, old: int, new: int | None = None) -> list[Row]:
        """What differs between two numbers (default: to the latest): address, change, before, after."""
        self._open()
        return await self._transport.diff(self.id, old, self.number if new is None else new)

    async def label(self, label: str | None, number: int | None = None) -> int:
        """Name a number, by default the latest after saving; clean-up never takes a named one. None takes the name
        away. Raises label_taken."""
        self._writable()
        if number is None:
            number = await self._sync.save()
        await self._transport.label(self.id, number, label)
        return number

    async def fork(self, number: int | None = None, *, name: str | None = None, key: str | None = None) -> str:
        """A new session of your own that begins with a number of this one, by default the latest. Returns its id."""
        self._open()
        if number is None and not self.is_read_only:
            await self._sync.save()
        row = await self._transport.fork(self.id, number, name, key)
        return str(row["id"])

    async def origin(self) -> Row:
        """Where it was forked from: ``origin_id`` (None: nowhere) and ``origin_number``; ``base_number``, the own
        number that was merged back last, ``merged_number``, which it made there, and ``merged_at``."""
        self._open()
        return await self._transport.origin(self.id)

    async def merge(
        self,
        *,
        choices: Mapping[str, Literal["fork", "origin"]] | None = None,
        prefer: Literal["fork", "origin"] | None = None,
        label: str | None = None,
    ) -> int:
        """Save, then merge what this fork has changed into the session it was forked from. Returns the number there.
        Raises conflict, naming the addresses, where both changed the same and neither choices (by address, for all
        that is in it too) nor prefer say whose stands; nothing is written then."""
        self._writable()
        await self._sync.save()
        merging = {"choices": dict(choices or {}), "prefer": prefer, "label": label}
        merging["idempotency_key"] = str(uuid.uuid4())
        return (await self._transport.merge(self.id, merging)).number

    # -- what it costs ---------------------------------------------------------------------------------------------

    async def record_usage(
        self,
        model: str,
        input_tokens: int,
        output_tokens: int,
        cost: Decimal | float = 0,
        *,
        cached_tokens: int = 0,
        turn: Turn | str | None = None,
        key: str | None = None,
    ) -> Row:
        """Record what a call of a model used and cost, in the app's currency; ``asyouwere.cost_of`` computes it. Once
        per key, so keep one to try again after a failure. Returns recorded, cost, budget, used (0.8 is 80 %) of the
        session, and user_cost, user_budget, user_used to its owner. Tells the event ``budget`` at 80 % and at the
        end of one."""
        self._open()
        usage: Row = {"model": model, "input_tokens": input_tokens, "output_tokens": output_tokens}
        usage |= {"cached_tokens": cached_tokens, "cost": float(cost), "idempotency_key": key or str(uuid.uuid4())}
        usage["turn_id"] = turn if turn is None or isinstance(turn, str) else turn.id
        return self._budgets.heard(await self._transport.record_usage(self.id, usage))

    async def usage(self, turn: str | None = None) -> Row:
        """What it has used in all, or a turn of it: calls, input_tokens, cached_tokens, output_tokens, cost, budget,
        used."""
        self._open()
        row = await self._transport.usage(self.id, turn)
        return row if turn is not None else self._budgets.heard(row)

    async def set_budget(self, budget: Decimal | float | None) -> Row:
        """Say how much it is to cost in all (None: no budget), as its owner. Returns what ``usage`` does."""
        self._open()
        amount = None if budget is None else float(budget)
        return self._budgets.heard(await self._transport.set_budget(self.id, amount))

    async def reseal(self) -> int:
        """Seal all parts with the key of today, after keys were changed. Returns how many. History keeps the values
        of old keys. Other work goes on meanwhile; run it in the background."""
        self._writable()
        return await self._sync.reseal()

    async def export(self, format: Literal["json", "markdown", "pdf"] = "json") -> bytes:
        """The session as a file; json is complete. Without the functions there is json alone."""
        self._open()
        if not self.is_read_only:
            await self._sync.save()
        return await self._transport.export(self.id, format)

    # -- turns -----------------------------------------------------------------------------------------------------

    def turn(
        self,
        id: str | None = None,
        *,
        message: Mapping[str, Any] | None = None,
        lease: int = 30,
        wait: float = 0,
        flush: float = 1.0,
    ) -> Turn:
        """An answer that is being made: ``async with session.turn() as turn: await turn.write("Hel")``. See Turn."""
        from asyouwere.client.turns import Turn

        self._writable()
        return Turn(self._sync, self._group, id, message, lease, wait, flush)

    def stream(self, chunks: AsyncIterator[Any], **turn: Any) -> AsyncIterator[Any]:
        """Pass texts, or stream events of OpenAI or Anthropic, through, and save their text as a turn meanwhile; cut
        off in the middle, it is saved as far as it came. turn: as in ``turn``."""
        from asyouwere.client.turns import passed_through

        return passed_through(self.turn(**turn), chunks)

    def follow(self, turn: str | None = None, *, after: int = 0) -> AsyncIterator[Progress]:
        """An answer that is made elsewhere, as it is made: by default the running or the latest one (nothing if there
        never was one). Begins behind a chunk's number, ends with the turn."""
        from asyouwere.client.following import followed

        self._open()
        return followed(self._sync, turn, after)

    async def stop(self, turn: str) -> None:
        """Ask whoever makes an answer to stop."""
        self._open()
        await self._transport.stop_turn(self.id, turn)

    # -- events ----------------------------------------------------------------------------------------------------

    def on(self, event: EventName | Literal["*"], listener: Callable[[Event], object]) -> Callable[[], None]:
        """Call a function with each event of that name ("*": any). Returns the undo."""
        return self._sync.events.on(event, listener)

    def events(self) -> AsyncIterator[Event]:
        """The events from now on, until the session is closed."""
        return self._sync.events.__aiter__()

    # -- the end ---------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Save what can be saved and stop. What can't be stays in the journal; the next one that opens the session
        sends it. Leaving the block does this."""
        if self._is_closed:
            return
        try:
            for end_turn in list(self._sync.turns.values()):
                with suppress(AsYouWereError):
                    await end_turn()
            if not self.is_read_only and not self._sync.is_expired:
                self._sync.look()
                if self._sync.has_changes:
                    await self._sync.save()
        except AsYouWereError:
            pass  # told by the status and an event; the journal has it
        finally:
            self._is_closed = True
            self._sync.close()

    def __repr__(self) -> str:
        return f"<Session {self.id} at {self.number}>"

    @property
    def _document(self) -> Document:
        return self._sync.document

    @property
    def _transport(self) -> Transport:
        return self._sync.transport

    def _open(self) -> None:
        if self._is_closed:
            raise self._document.refusal() if self._document.refusal is not None else Closed

    def _writable(self) -> None:
        self._open()
        if self.is_read_only:
            raise SchemaTooNew
