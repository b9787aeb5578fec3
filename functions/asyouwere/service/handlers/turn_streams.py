"""Following a turn as server-sent events: one poller a turn and process, however many follow.

    id: 3                          the chunk's number: what Last-Event-ID says when a stream goes on
    data: "tea"                    the chunk, as JSON

    event: end                     the turn is over; then the stream ends
    id: 4
    data: {"id": …, "status": "done", "number": 7, "position": 2, …}

A poller asks in the name of its followers in turn, so whoever may not read the session any more is put out within
seconds. No connection to the database is held between two looks. A follower that lags behind what a poller keeps
looks by itself; one that doesn't read at all is dropped by the response (http/responses.py). After five minutes a
stream ends by itself, and EventSource connects again; once the turn is over and all is known, it is answered 204,
which stops it.

No token in the query: the log of what stands before a function holds the whole address. EventSource can't send a
header, so a browser follows by fetch(), whose body is the same events.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from asyouwere.errors import AsYouWereError
from asyouwere.service.http.admission import Slots
from asyouwere.service.http.responses import ApiResponse
from asyouwere.state.exact_json import items

if TYPE_CHECKING:
    from asyouwere.service.auth.caller import Caller
    from asyouwere.service.database import Database, Row
    from asyouwere.service.http.routing import Call
    from asyouwere.service.settings import Settings

__all__ = ["follow"]

#: Seconds between two looks of a poller; a stream's longest silence; its longest life.
POLL_SECONDS: Final = 0.2
SILENCE_SECONDS: Final = 15.0
LIFE_SECONDS: Final = 300.0

#: Bytes of events that a poller keeps for followers that are a little behind.
_KEPT_BYTES: Final = 1 << 18
#: Of so many followers one is asked for with each poll, so that each has its turn every five seconds.
_ASKED_IN_TURN: Final = 25
#: Polls that may fail one after the other before the followers are told to come back.
_FAILURES: Final = 10

#: After a first line that a proxy does not hold back, how soon to connect again, in ms.
_OPENING: Final = b"retry: 1000\n\n"
_SILENCE: Final = b": \n\n"


class _Turn:
    """A turn as its poller knows it; the followers wait for `changed`."""

    def __init__(self, database: Database, path: dict[str, str], seq: int) -> None:
        self._database = database
        self._path = path
        self.seq = seq
        self.over: Row | None = None
        self.failed = False
        self._failures = 0
        self.followers: deque[_Follower] = deque()
        self.changed = asyncio.Event()
        self._kept: deque[tuple[int, bytes]] = deque()
        self._kept_bytes = 0
        self.poller: asyncio.Task[None] | None = None

    def after(self, seq: int) -> list[bytes] | None:
        """The events behind a number; None if some of them are not kept."""
        if seq >= self.seq:
            return []
        if not self._kept or self._kept[0][0] > seq + 1:
            return None
        return [event for number, event in self._kept if number > seq]

    async def poll(self) -> None:
        """Look until the turn is over or nobody follows."""
        while self.followers and self.over is None and not self.failed:
            await asyncio.sleep(POLL_SECONDS)
            # whoever may not read any more is put out within five seconds, however many there are
            for _ in range(1 + len(self.followers) // _ASKED_IN_TURN):
                if self.followers and self.over is None:
                    self.followers.rotate(-1)
                    await self._ask(self.followers[0])

    async def _ask(self, follower: _Follower) -> None:
        try:
            row = await look(self._database, follower.caller, self._path, self.seq)
        except AsYouWereError as exc:
            if exc.status < 500 and exc.status != 429:
                follower.refused = exc  # no reader any more, or the token's time is over
                with contextlib.suppress(ValueError):
                    self.followers.remove(follower)
                self._tell()
                return
            self._failures += 1
            if self._failures == _FAILURES:
                self.failed = True
                self._tell()
        else:
            self._failures = 0
            self._take(row)

    def _take(self, row: Row) -> None:
        events = events_of(row)
        for number, event in events:
            self._kept.append((number, event))
            self._kept_bytes += len(event)
        while self._kept_bytes > _KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popleft()[1])
        self.seq = max(self.seq, row["next_seq"] - 1)
        if row["status"] != "running" and not row["more"]:
            self.over = row
        if events or self.over is not None:
            self._tell()

    def _tell(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class _Follower:
    """One stream. refused: why it is to end."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.refused: AsYouWereError | None = None


class _Hub:
    """The turns that are followed in this process, and how many follow."""

    def __init__(self, settings: Settings) -> None:
        self.slots = Slots(each=settings.max_streams_per_user, total=settings.max_streams)
        self._turns: dict[tuple[str, str], _Turn] = {}

    @contextlib.contextmanager
    def joined(self, call: Call, follower: _Follower, seq: int) -> Any:
        """The turn with its poller, until the end of the block."""
        key = (call.path["session_id"].lower(), call.path["turn_id"].lower())
        turn = self._turns.get(key)
        if turn is None or turn.poller is None or turn.poller.done():
            turn = self._turns[key] = _Turn(call.database, dict(call.path), seq)
        turn.followers.append(follower)
        if turn.poller is None:
            turn.poller = asyncio.create_task(turn.poll())
        try:
            yield turn
        finally:
            with contextlib.suppress(ValueError):
                turn.followers.remove(follower)
            if not turn.followers:
                turn.poller.cancel()
                if self._turns.get(key) is turn:
                    del self._turns[key]


_HUBS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, _Hub]]] = WeakKeyDictionary()


def _hub(call: Call) -> _Hub:
    hubs = _HUBS.setdefault(asyncio.get_running_loop(), {})
    return hubs.setdefault(id(call.database), _Hub(call.settings))


async def look(database: Database, caller: Caller, path: dict[str, str], after: int) -> Row:
    """One look at a turn, as get_turn."""
    (row,) = await database.rows(
        caller,
        "get_turn",
        {"p_session_id": path["session_id"], "p_turn_id": path["turn_id"], "p_after_seq": after},
        repeatable=True,
    )
    return row


def events_of(row: Row) -> list[tuple[int, bytes]]:
    """The chunks of a look, each with its number."""
    if row["chunks"] == "[]":
        return []
    return [
        # a line break can stand between two values only, where a space does as well
        (number, f"id: {number}\ndata: {text.translate(_ONE_LINE)}\n\n".encode())
        for number, text in enumerate(items(row["chunks"]), row["first_seq"])
    ]


_ONE_LINE: Final = {10: " ", 13: " "}


def _end(row: Row) -> bytes:
    told = {name: row[name] for name in ("id", "status", "number", "position", "started_at", "ended_at")}
    return f"event: end\nid: {row['next_seq']}\ndata: {json.dumps(told, separators=(',', ':'))}\n\n".encode()


def _refusal(error: AsYouWereError) -> bytes:
    told = json.dumps({"code": error.code, "status": error.status}, separators=(",", ":"))
    return f"event: error\ndata: {told}\n\n".encode()


class _Stream:
    """The events as a response sends them; gives the slot back when closed."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], held: contextlib.ExitStack) -> None:
        self._pieces = pieces
        self._held = held

    def __aiter__(self) -> _Stream:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        with self._held:
            await self._pieces.aclose()


async def follow(call: Call, after: int) -> ApiResponse:
    """The stream from behind a number on. Raises session_not_found, turn_not_found; rate_limited if the caller has
    too many open."""
    hub = _hub(call)
    with contextlib.ExitStack() as stack:
        stack.enter_context(hub.slots.taken(call.caller, "streams"))
        row = await look(call.database, call.caller, dict(call.path), after)
        if row["status"] != "running" and after >= row["next_seq"]:
            return ApiResponse(status=204)
        return ApiResponse(
            (_OPENING,),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
            more=_Stream(_events(hub, call, row, after), stack.pop_all()),
        )
    raise AssertionError("unreachable")  # pragma: no cover


async def _events(hub: _Hub, call: Call, row: Row, after: int) -> AsyncGenerator[bytes, None]:
    until = time.monotonic() + LIFE_SECONDS
    follower = _Follower(call.caller)
    seq = min(after, row["next_seq"] - 1)
    while True:  # by itself, as far as it has come
        piece = b"".join(event for _, event in events_of(row))
        seq = max(seq, row["next_seq"] - 1)
        row["chunks"] = "[]"  # while it waits for a slow reader, it holds the page once
        if piece:
            yield piece
        if row["status"] != "running" and not row["more"]:
            yield _end(row)
            return
        if not row["more"]:
            break
        row = await look(call.database, call.caller, dict(call.path), seq)
    with hub.joined(call, follower, seq) as turn:
        heard = time.monotonic()
        while time.monotonic() < until:
            changed = turn.changed
            pieces = turn.after(seq)
            if pieces is None:
                row = await look(call.database, call.caller, dict(call.path), seq)
                pieces = [event for _, event in events_of(row)]
                seq = max(seq, row["next_seq"] - 1)
            else:
                seq = max(seq, turn.seq)
            if pieces:
                heard = time.monotonic()
                yield b"".join(pieces)
            elif follower.refused is not None:
                yield _refusal(follower.refused)
                return
            elif turn.over is not None:
                yield _end(turn.over)
                return
            elif turn.failed:
                return
            else:
                try:
                    async with asyncio.timeout(max(0.0, min(heard + SILENCE_SECONDS, until) - time.monotonic())):
                        await changed.wait()
                except TimeoutError:
                    heard = time.monotonic()
                    yield _SILENCE
