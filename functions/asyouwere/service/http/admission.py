"""Who may begin something long, so that nobody's exports keep others waiting.

    slots = Slots(each=2, total=8)
    with slots.taken(caller): ...

A slot is one piece of work under way in this process. Whoever has his share, or comes when all are taken, is told
429 at once: waiting would only hide it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Iterator
from typing import Final

from asyouwere.errors import RateLimited
from asyouwere.postgres.shares import Shares
from asyouwere.service.auth.caller import Caller
from asyouwere.service.http.responses import ApiResponse
from asyouwere.service.settings import Settings

__all__ = ["LARGE_ANSWER", "Slots", "large_body", "large_reads", "reads", "sent_in_turn"]

_RETRY_SECONDS: Final = 5

#: How long somebody's large body waits, before it is taken, for the one of theirs that is under way.
_PATIENCE_SECONDS: Final = 10.0


class Slots:
    """Work under way. each: of one caller; total: of all. Strangers without an account count as one caller."""

    def __init__(self, each: int, total: float = math.inf) -> None:
        self._each = each
        self._total = total
        self._taken: Counter[str | None] = Counter()

    @contextlib.contextmanager
    def taken(self, caller: Caller, what: str) -> Iterator[None]:
        """A slot until the end of the block. Raises rate_limited; what: is under way, in that sentence."""
        who = caller.user_id
        if self._taken[who] >= self._each:
            raise RateLimited(
                "rate_limited",
                f"You have {what} under way. Wait for the end of it, then ask again.",
                retry_after=_RETRY_SECONDS,
            )
        if self._taken.total() >= self._total:
            raise RateLimited(
                "rate_limited",
                f"Too many others have {what} under way. Ask again shortly.",
                retry_after=2 * _RETRY_SECONDS,
            )
        self._taken[who] += 1
        try:
            yield
        finally:
            self._taken[who] -= 1
            if not self._taken[who]:
                del self._taken[who]


@functools.cache
def reads(settings: Settings) -> Slots:
    """Restores, comparisons and changes under way in this process. No total: most of them are short."""
    return Slots(settings.reads_per_caller)


@functools.cache
def large_reads(settings: Settings) -> Slots:
    """Those that may take long or much: all callers' together leave connections and memory for everything else."""
    return Slots(settings.large_reads_per_caller, settings.large_reads)


#: Bytes of an answer that is counted as large.
LARGE_ANSWER: Final = 1 << 20


def sent_in_turn(response: ApiResponse, caller: Caller, settings: Settings) -> ApiResponse:
    """What was read, on its way out: a large answer is a large read until all of it is sent, as long as it is here.

    Only for what was read: of what was written nobody could tell whether it is. Raises rate_limited.
    """
    if response.size <= LARGE_ANSWER:
        return response
    with contextlib.ExitStack() as stack:
        stack.enter_context(large_reads(settings).taken(caller, "large answers"))
        held = contextlib.AsyncExitStack()
        held.enter_context(stack.pop_all())
        return dataclasses.replace(response, held=held)
    raise AssertionError("unreachable")  # pragma: no cover


#: One large body of each caller in this process, from its first byte to its answer.
_LARGE_BODIES: Final = Shares(1, patience=_PATIENCE_SECONDS)


async def large_body(caller: Caller, until: contextlib.AsyncExitStack) -> None:
    """Wait for the caller's turn with a large body, and hold it until the stack ends. Raises rate_limited.

    Waiting, not refused at once: two tabs that save a lot are no attack, and what waits is not yet here.
    """
    try:
        await until.enter_async_context(_LARGE_BODIES.one(caller.user_id))
    except TimeoutError:
        raise RateLimited(
            "rate_limited",
            "You have large requests under way. Wait for the end of them, then send this again.",
            retry_after=_RETRY_SECONDS,
        ) from None
