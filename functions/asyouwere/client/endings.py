"""Ending answers whose runner is gone."""

from __future__ import annotations

import json

import anyio

from asyouwere.client.sync import Sync, is_passing
from asyouwere.client.turns import fitting
from asyouwere.client.waking import backoff
from asyouwere.errors import AsYouWereError, Conflicting
from asyouwere.state.exact_json import encode

__all__ = ["end_for"]


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
            start = 0
            while start < len(missing):
                some = missing[start : start + fitting(missing[start:])]
                await sync.transport.flush(sync.session, turn, look.next_seq + start, f"[{','.join(some)}]")
                start += len(some)
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
