"""Answers that are made elsewhere, as they are made."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import anyio

from asyouwere.client.sync import Sync, is_passing
from asyouwere.client.transport import TurnLook
from asyouwere.client.waking import backoff
from asyouwere.errors import AsYouWereError

__all__ = ["Progress", "followed"]

_LOOK_SECONDS: Final = 0.25


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


def _progress(look: TurnLook) -> Progress:
    return Progress(
        look.id,
        look.next_seq - 1,
        [json.loads(chunk) for chunk in look.chunks],
        look.status,
        look.number,
        look.position,
    )
