"""Turns: answers that survive whoever makes them. Chunks are flushed as they come; a reload, another device or a dead
worker finds the answer as far as it has come."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
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
from asyouwere.errors import AsYouWereError, Conflicting, TooLarge
from asyouwere.state.exact_json import encode

__all__ = ["Turn", "fitting", "passed_through"]

_FLUSH_CHARACTERS: Final = 4096
#: What one flush may have: the server takes 256 KB, brackets and commas included.
CHUNKS: Final = 500
_CHUNK_BYTES: Final = 250_000
#: A text that is longer is several chunks; a character has at most six bytes in JSON.
_TEXT_CHARACTERS: Final = 32_768
_LOOK_SECONDS: Final = 0.25
_LONGEST_LOOK_SECONDS: Final = 2.0
_PATIENCE_SECONDS: Final = 10.0


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

    flush: seconds after which what is written can be seen by others.

    Entering raises turn_running (Conflicting) if another answer is being made in this session, and turn_over if one
    of this id was made before: who takes jobs from a queue that may bring one twice gives the job's id. ``write`` and
    leaving raise turn_over if this one was taken for dead. One whose process on this machine is gone is ended first.
    While nobody answers, what is written waits, and is in the journal.
    """

    def __init__(
        self,
        sync: Sync,
        group: Background,
        id: str | None,
        message: Mapping[str, Any] | None,
        lease: int,
        wait: float = 0,
        flush: float = 1.0,
    ) -> None:
        self.id = id or str(uuid.uuid4())
        self._is_named = id is not None
        self.result: Any = None
        self.stop_requested = False
        self.text = ""
        self._sync = sync
        self._group = group
        self._message = None if message is None else encode(dict(message))
        self._lease = lease
        self._patience = wait
        self._pause = flush
        self._next = 1
        self._seq = 0
        self._buffer: list[str] = []
        self._size = 0
        self._failures = 0
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
                begun = await self._begun()
            except Conflicting as exc:
                if exc.code != "turn_running" or time.monotonic() + pause > end:
                    raise
                await anyio.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_LOOK_SECONDS)
            else:
                if self._patience:
                    await sync.catch_up()
                return begun

    async def _begun(self) -> Begun:
        sync, tries = self._sync, 0

        async def begin() -> Begun:
            nonlocal tries
            tries += 1
            return await sync.transport.begin_turn(sync.session, self.id, self._lease, self._message, False)

        begun: Begun = await _patiently(begin)
        is_answer_lost = tries > 1 and begun.next_seq == 1  # then it is ours that is there
        if self._is_named and not begun.created and not is_answer_lost:
            code = "turn_running" if begun.status == "running" else "turn_over"
            raise Conflicting(code, data=encode({"turn": self.id}))
        return begun

    async def write(self, chunk: Any) -> bool:
        """Add a text, or any JSON value. Sent by itself within a second. Returns whether to go on: False once
        somebody asked to stop. Raises turn_over, also once the block is left."""
        if self._lost is not None:
            raise self._lost
        if self._wake is None:
            raise RuntimeError("a turn is written to in its block: async with session.turn() as turn")
        if isinstance(chunk, str):
            self.text += chunk
            for start in range(0, len(chunk), _TEXT_CHARACTERS):
                self._add(encode(chunk[start : start + _TEXT_CHARACTERS]))
        else:
            self._add(encode(chunk))
        if self._size >= _FLUSH_CHARACTERS and not self._failures:
            try:
                await self._flush()
            except AsYouWereError as exc:
                if not is_passing(exc):
                    raise
        if self._buffer:
            self._wake.set()
        return not self.stop_requested

    def _add(self, text: str) -> None:
        if (size := len(text.encode())) > _CHUNK_BYTES:
            told = encode({"size_bytes": size, "max_bytes": _CHUNK_BYTES})
            raise TooLarge("too_large", f"A chunk that is no text may have {_CHUNK_BYTES} bytes.", data=told)
        self._seq += 1
        self._sync.record.journal.add_chunk(self._sync.session, self.id, self._seq, text)
        self._buffer.append(text)
        self._size += len(text)

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
        with suppress(AsYouWereError):  # told by the status and an event
            await _patiently(sync.save)  # what the app has appended before stands before it
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
            chunks = self._buffer[: fitting(self._buffer)]
            try:
                flushed = await self._sync.transport.flush(
                    self._sync.session, self.id, self._next, f"[{','.join(chunks)}]"
                )
            except BaseException as exc:
                self._failures += 1
                if isinstance(exc, Conflicting):
                    self._lost = exc
                raise
            del self._buffer[: len(chunks)]
            self._size = sum(map(len, self._buffer))
            self._next = flushed.next_seq
            self._failures = 0
            self._flushed_at = time.monotonic()
            if flushed.stop and not self.stop_requested:
                self.stop_requested = True
                self._sync.events.tell("turn", turn=self.id, status="stopping", seq=self._next - 1)

    async def _keep(self) -> None:
        """Flush what has been written for a while; renew the lease when nothing is."""
        assert self._wake is not None
        with self._scope:
            while self._lost is None:
                renewal = max(0.0, self._flushed_at + self._lease / 3 - time.monotonic())
                if await self._wake.wait(0 if self._failures else renewal):
                    await anyio.sleep(max(0.0, min(self._pause, renewal)))
                try:
                    await self._flush()
                    while self._buffer:
                        await self._flush()
                except AsYouWereError as exc:
                    if not is_passing(exc):
                        self._lost = self._lost or exc
                        return
                    await anyio.sleep(min(backoff(self._failures, exc.retry_after), self._lease / 4))


def fitting(chunks: list[str]) -> int:
    """How many of them one flush may have, at least one."""
    size = 0
    for count, chunk in enumerate(chunks[:CHUNKS]):
        size += len(chunk.encode()) + 1
        if size > _CHUNK_BYTES and count:
            return count
    return min(len(chunks), CHUNKS)


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


async def passed_through(turn: Turn, chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Each chunk as it came, its text saved in the turn; ends early if somebody asked to stop."""
    async with turn:
        async for chunk in chunks:
            text = text_of_event(chunk)
            going = await turn.write(text) if text else not turn.stop_requested
            yield chunk
            if not going:
                break
