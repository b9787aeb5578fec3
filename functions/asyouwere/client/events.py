"""What a session tells its app: a status to look at, events to listen to."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

import anyio

__all__ = ["Event", "EventName", "Events", "Statistics", "Status", "Waiting", "format_time_ago"]

EventName: TypeAlias = Literal[
    "restored", "saved", "conflict", "expired", "reconnecting", "reconnected", "turn", "budget", "error"
]
_LOG: Final = logging.getLogger("asyouwere")
_KEPT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened. data: what belongs to it (numbers, codes, the doubts of a conflict)."""

    name: EventName
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What has not arrived at the server yet. changes: changed addresses; bytes: of JSON."""

    changes: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """How a session is. last_saved: when the server last took something, None if it has not yet; error: code of what
    keeps it from saving; journal: "ok", "full" (disk or limit) or "off" (none, read-only, broken)."""

    is_saving: bool
    last_saved: datetime | None
    save_count: int
    waiting: Waiting
    error: str | None
    offline: bool
    journal: Literal["ok", "full", "off"]
    is_restored: bool


@dataclass(frozen=True, slots=True)
class Statistics:
    """is_active: open and not expired; duration_seconds: since it was opened; token_seconds: until the token ends,
    None if it does not say."""

    is_active: bool
    id: str
    messages: int
    duration_seconds: float
    reconnects: int
    token_seconds: float | None


class Events:
    """Listeners by name, called one after the other where the event happens; and queues for iterators."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Callable[[Event], object]]] = {}
        self._queues: list[Any] = []
        self._closed = False
        self._held: list[Event] | None = []

    async def release(self) -> None:
        """Tell what was told before anybody could listen, and hold back nothing more."""
        held, self._held = self._held, None
        for event in held or ():
            self.tell(event.name, **event.data)

    def on(self, name: EventName | Literal["*"], listener: Callable[[Event], object]) -> Callable[[], None]:
        """Call it with each event of that name ("*": of any). Returns the undo."""
        self._listeners.setdefault(name, []).append(listener)

        def undo() -> None:
            if listener in self._listeners.get(name, ()):
                self._listeners[name].remove(listener)

        return undo

    def tell(self, name: EventName, **data: Any) -> None:
        """Tell everybody. A listener that raises keeps nobody else from hearing, and nothing from being saved."""
        event = Event(name, data)
        if self._held is not None:
            self._held.append(event)
            return
        for listener in [*self._listeners.get(name, ()), *self._listeners.get("*", ())]:
            try:
                listener(event)
            except Exception:  # noqa: BLE001 - the app's code
                _LOG.exception("a listener of %r failed", name)
        for queue in list(self._queues):
            try:
                queue.send_nowait(event)
            except anyio.WouldBlock:
                _LOG.warning("an iterator of events is %d behind; %r is left out", _KEPT, name)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                self._queues.remove(queue)

    async def __aiter__(self) -> AsyncIterator[Event]:
        if self._closed:
            return
        send, receive = anyio.create_memory_object_stream[Event](_KEPT)
        self._queues.append(send)
        try:
            async with receive:
                async for event in receive:
                    yield event
        finally:
            if send in self._queues:
                self._queues.remove(send)
            send.close()

    def close(self) -> None:
        """No more events: iterators end."""
        self._closed = True
        for queue in self._queues:
            queue.close()
        self._queues.clear()


_STEPS: Final = ((60, "second"), (60, "minute"), (24, "hour"), (7, "day"), (52, "week"))


def format_time_ago(then: datetime | float | None, now: datetime | float | None = None) -> str:
    """``"just now"``, ``"5 minutes ago"``, ``"2 days ago"``; ``"never"`` for None.

    then, now: times with a zone, or seconds since 1970; now: by default the present.
    """
    if then is None:
        return "never"
    seconds = _seconds(time.time() if now is None else now) - _seconds(then)
    if seconds < 10:
        return "just now"
    count = seconds
    for size, unit in _STEPS:
        if count < size:
            return _ago(int(count), unit)
        count /= size
    return _ago(int(count), "year")


def _ago(count: int, unit: str) -> str:
    return f"{count} {unit}{'' if count == 1 else 's'} ago"


def _seconds(moment: datetime | float) -> float:
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)


def utc(seconds: float | None) -> datetime | None:
    """A time of day for seconds since 1970."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
