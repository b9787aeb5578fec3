"""Turns: answers that survive whoever makes them. Chunks are flushed as they come; a reload, another device or a dead
worker finds the answer as far as it has come."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import anyio

from asyouwere.client.background import Background
from asyouwere.client.errors import Unreachable
from asyouwere.client.stream_events import text_of_event
from asyouwere.client.sync import Sync, is_passing
from asyouwere.client.telemetry import span
from asyouwere.client.transport import Begun
from asyouwere.client.waking import Wake, backoff
from asyouwere.errors import AsYouWereError, Conflicting
from asyouwere.state.exact_json import encode

__all__ = ["Progress", "Turn", "end_for", "followed", "passed_through"]

_FLUSH_SECONDS: Final = 1.0
_FLUSH_CHARACTERS: Final = 4096
_CHUNKS: Final = 500
_LOOK_SECONDS: Final = 0.25
_LONGEST_LOOK_SECONDS: Final = 2.0
_PATIENCE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an answer has come. chunks: the new ones; seq: number of the last; number, position: once it is over,
    the snapshot that has its message, and where that stands among the messages."""

    id: str
    seq: int
    chunks: list[Any]
    status: str
    number: int | None
    position: int | None

    @property
    def text(self) -> str:
        """The new chunks that are texts, joined."""
        return "".join(chunk for chunk in self.chunks if isinstance(chunk, str))


class Turn:
    """An answer that is made here.

        async with session.turn() as turn:
            async for text in model:
                if not await turn.write(text):
                    break  # somebody asked to stop

    Leaving the block saves its message, by default made of the texts: as ``done``, as ``stopped`` if somebody asked
    for that or the block was cancelled, as ``failed`` if it raised. message: what the message has besides its
    content, by default ``{"role": "assistant"}``; result: set it to save another message than that.

    lease: seconds after which it is taken for dead if nothing is heard of it; renewed by itself, 1 to 300.

    wait: how many seconds to wait for another answer to end, by default none; the state is then as that one left it.

    Entering raises turn_running (Conflicting) if another answer is being made in this session; ``write`` and leaving
    raise turn_over if this one was taken for dead. One whose process on this machine is gone is ended first.
    """

    def __init__(
        self, sync: Sync, group: Background, id: str, message: Mapping[str, Any] | None, lease: int, wait: float = 0
    ) -> None:
        self.id = id
        self.result: Any = None
        self.stop_requested = False
        self.text = ""
        self._sync = sync
        self._group = group
        self._message = None if message is None else encode(dict(message))
        self._lease = lease
        self._patience = wait
        self._next = 1
        self._seq = 0
        self._buffer: list[str] = []
        self._size = 0
        self._lost: AsYouWereError | None = None
        self._lock = anyio.Lock()
        self._wake: Wake | None = None
        self._scope = anyio.CancelScope()
        self._flushed_at = 0.0

    async def __aenter__(self) -> Self:
        sync = self._sync
        await sync.save()
        with anyio.move_on_after(_PATIENCE_SECONDS):
            for ending in list(sync.endings.values()):
                await ending.wait()
        begun = await self._claimed()
        self._next = begun.next_seq
        self._seq = self._next - 1
        # no chunk: that it was begun here, for who has to end it if we are killed before the first one
        sync.record.journal.add_chunk(sync.session, self.id, 0, '""')
        self._flushed_at = time.monotonic()
        self._wake = Wake()
        sync.turns[self.id] = self._cut_off
        self._group.start_soon(self._keep)
        sync.events.tell("turn", turn=self.id, status="running", seq=self._next - 1)
        return self

    async def _claimed(self) -> Begun:
        """Begin it; behind one that is being made, when that is over."""
        sync = self._sync
        end, pause = time.monotonic() + self._patience, _LOOK_SECONDS
        while True:
            try:
                begun: Begun = await _patiently(
                    lambda: sync.transport.begin_turn(sync.session, self.id, self._lease, self._message, False)
                )
            except Conflicting as exc:
                if exc.code != "turn_running" or time.monotonic() + pause > end:
                    raise
                await anyio.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_LOOK_SECONDS)
            else:
                if self._patience:
                    await sync.catch_up()
                return begun

    async def write(self, chunk: Any) -> bool:
        """Add a text, or any JSON value. Sent by itself within a second. Returns whether to go on: False once
        somebody asked to stop. Raises turn_over, also once the block is left."""
        if self._lost is not None:
            raise self._lost
        if self._wake is None:
            raise RuntimeError("a turn is written to in its block: async with session.turn() as turn")
        if isinstance(chunk, str):
            if not chunk:
                return not self.stop_requested
            self.text += chunk
        text = encode(chunk)
        self._seq += 1
        self._sync.record.journal.add_chunk(self._sync.session, self.id, self._seq, text)
        self._buffer.append(text)
        self._size += len(text)
        if self._size >= _FLUSH_CHARACTERS:
            await self._flush()
        elif len(self._buffer) == 1 and self._wake is not None:
            self._wake.set()
        return not self.stop_requested

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sync.turns.pop(self.id, None) is None:
            return  # its session was closed before it
        cancelled = exc is not None and not isinstance(exc, Exception)
        status = "done"
        if exc is not None:
            status = "stopped" if cancelled else "failed"
        elif self.stop_requested:
            status = "stopped"
        try:
            await self._end(status)
        except AsYouWereError:
            if exc is None:
                raise

    async def _cut_off(self) -> None:
        """The session is closed before the turn's block was left, as by a generator that nobody reads any more."""
        self._sync.turns.pop(self.id, None)
        await self._end("stopped")

    async def _end(self, status: str) -> None:
        self._scope.cancel()
        is_saved = False
        try:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + _PATIENCE_SECONDS):
                await self._finish(status)
                is_saved = True
        finally:
            self._sync.record.journal.end_turn(self.id, is_saved=is_saved)
            self._lost = self._lost or Conflicting("turn_over")
        if not is_saved:
            raise Unreachable("The answer is not saved: nobody answered in time. The next one that opens it ends it.")

    async def _finish(self, status: str) -> None:
        sync = self._sync
        if self._lost is not None:
            raise self._lost
        while self._buffer:
            await _patiently(self._flush)
        message = None if self.result is None else encode(self.result)
        if message is None and sync.seal is not None and self.text:
            # Of sealed chunks the server can't make a message.
            told = json.loads(self._message or '{"role":"assistant"}') | {"content": self.text}
            message = encode(told if status == "done" else told | {"status": status})
        with span("finish turn", status=status, chunks=self._next - 1):
            saved = await _patiently(lambda: sync.transport.finish_turn(sync.session, self.id, message, None, status))
        with suppress(AsYouWereError):
            await sync.catch_up()
        sync.events.tell("turn", turn=self.id, status=status, seq=self._next - 1, number=saved.number)

    async def _flush(self) -> None:
        async with self._lock:
            chunks, self._buffer = self._buffer[:_CHUNKS], self._buffer[_CHUNKS:]
            self._size = sum(map(len, self._buffer))
            try:
                flushed = await self._sync.transport.flush(
                    self._sync.session, self.id, self._next, f"[{','.join(chunks)}]"
                )
            except BaseException as exc:
                self._buffer = chunks + self._buffer
                self._size = sum(map(len, self._buffer))
                if isinstance(exc, Conflicting):
                    self._lost = exc
                raise
            self._next = flushed.next_seq
            self._flushed_at = time.monotonic()
            if flushed.stop and not self.stop_requested:
                self.stop_requested = True
                self._sync.events.tell("turn", turn=self.id, status="stopping", seq=self._next - 1)

    async def _keep(self) -> None:
        """Flush what has been written for a second; renew the lease when nothing is."""
        assert self._wake is not None
        failures = 0
        with self._scope:
            while self._lost is None:
                renewal = max(0.0, self._flushed_at + self._lease / 3 - time.monotonic())
                if await self._wake.wait(renewal if not failures else 0):
                    await anyio.sleep(max(0.0, min(_FLUSH_SECONDS, renewal)))
                try:
                    await self._flush()
                    failures = 0
                except AsYouWereError as exc:
                    if not is_passing(exc):
                        self._lost = self._lost or exc
                        return
                    failures += 1
                    await anyio.sleep(min(backoff(failures, exc.retry_after), self._lease / 4))


async def _patiently(call: Any) -> Any:
    """The answer to a call that may be made again, tried for some seconds while no answer comes."""
    end = time.monotonic() + _PATIENCE_SECONDS
    failures = 0
    while True:
        try:
            return await call()
        except AsYouWereError as exc:
            failures += 1
            wait = backoff(failures, exc.retry_after)
            if not is_passing(exc) or time.monotonic() + wait > end:
                raise
        await anyio.sleep(wait)


async def followed(sync: Sync, turn: str | None, after: int) -> AsyncIterator[Progress]:
    """Looks at a turn, if there is one, until it is over: pushed where the server can, else four a second."""
    failures = 0
    if turn is None:
        first = await sync.transport.latest(sync.session, after)
        if first is None:
            return
        yield _progress(first)
        turn, after = first.id, first.next_seq - 1
        if first.status != "running" and not first.more:
            return
    stream = sync.transport.follow(sync.session, turn, after)
    if stream is not None:
        async for look in stream:
            yield _progress(look)
        return
    while True:
        try:
            look = await sync.transport.look(sync.session, turn, after)
        except AsYouWereError as exc:
            if not is_passing(exc):
                raise
            failures += 1
            await anyio.sleep(backoff(failures, exc.retry_after))
            continue
        failures, over = 0, look.status != "running" and not look.more
        if look.chunks or over:
            after = look.next_seq - 1
            yield _progress(look)
        if over:
            return
        if not look.more:
            await anyio.sleep(_LOOK_SECONDS)


def _progress(look: Any) -> Progress:
    return Progress(
        look.id,
        look.next_seq - 1,
        [json.loads(chunk) for chunk in look.chunks],
        look.status,
        look.number,
        look.position,
    )


async def passed_through(turn: Turn, chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Each chunk as it came, its text saved in the turn; ends early if somebody asked to stop."""
    async with turn:
        async for chunk in chunks:
            text = text_of_event(chunk)
            going = await turn.write(text) if text else not turn.stop_requested
            yield chunk
            if not going:
                break


async def end_for(sync: Sync, turn: str, kept: list[tuple[int, str]]) -> None:
    """End a turn whose runner is gone, with all that the runner had handed over: chunks that were not flushed come
    from the journal, and the message is saved as ``failed``. If others have ended it since as interrupted, its
    message is made whole."""
    failures = 0
    is_over = False
    while not is_over:
        try:
            is_over = await _ended(sync, turn, kept)
        except AsYouWereError as exc:
            if is_passing(exc):
                failures += 1
                await anyio.sleep(backoff(failures, exc.retry_after))
            else:
                is_over = True
                sync.events.tell("error", code=exc.code, turn=turn)
    sync.record.journal.end_turn(turn, is_saved=True)
    sync.endings.pop(turn).set()


async def _ended(sync: Sync, turn: str, kept: list[tuple[int, str]]) -> bool:
    look = await sync.transport.look(sync.session, turn, 0)
    chunks = look.chunks
    while look.more:
        look = await sync.transport.look(sync.session, turn, look.next_seq - 1)
        chunks = chunks + look.chunks
    missing = [body for seq, body in kept if seq >= look.next_seq]
    known, whole = _joined(chunks), _joined(chunks + missing)
    if look.status == "running":
        try:
            for start in range(0, len(missing), _CHUNKS):
                some = missing[start : start + _CHUNKS]
                await sync.transport.flush(sync.session, turn, look.next_seq + start, f"[{','.join(some)}]")
            sealed = {"role": "assistant", "content": whole, "status": "failed"}
            told = encode(sealed) if sync.seal is not None and whole else None
            await sync.transport.finish_turn(sync.session, turn, told, None, "failed")
        except Conflicting:
            return False  # it was ended meanwhile
        await sync.catch_up()
        return True
    await sync.catch_up()
    messages = sync.document.root.get("messages")
    if look.status == "interrupted" and missing and look.position is not None and isinstance(messages, list):
        message = messages[look.position] if look.position < len(messages) else None
        if isinstance(message, dict) and message.get("content") == known:
            message["content"] = whole
            await sync.save()
    return True


def _joined(chunks: list[str]) -> str:
    return "".join(text for chunk in chunks if isinstance(text := json.loads(chunk), str))
