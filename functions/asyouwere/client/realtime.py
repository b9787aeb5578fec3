"""Hearing of news at once, by Supabase Realtime: through the app's own client of supabase-py, which it hands in.

What is told is a number or a turn, never content; whoever hears it looks. Broadcasts may get lost, so looks go on,
less often. Works on asyncio, as that client does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import anyio

from asyouwere.client.waking import backoff

__all__ = ["Realtime", "listen"]

_LOG: Final = logging.getLogger("asyouwere")


class Realtime(Protocol):
    """As much of supabase-py's ``AsyncClient`` (or its ``.realtime``) as is used."""

    def channel(self, topic: str, params: Any = None) -> Any: ...

    async def remove_channel(self, channel: Any) -> Any: ...


async def listen(
    client: Realtime,
    session: str,
    on_state: Callable[[bool], None],
    on_snapshot: Callable[[int], None],
    on_turn: Callable[[str, int], None],
) -> None:
    """Listen until cancelled. on_state: told whether it hears, each time that changes; what was said before nobody
    heard."""
    failures = 0

    def state(name: Any, _: Any = None) -> None:
        on_state(str(getattr(name, "value", name)) == "SUBSCRIBED")

    def heard(message: Mapping[str, Any]) -> None:
        told = message.get("payload", {})
        if message.get("event") == "snapshot":
            on_snapshot(int(told["number"]))
        elif message.get("event") == "turn":
            on_turn(str(told["turn"]), int(told["seq"]))

    while True:
        channel = client.channel(f"asyouwere:{session}", {"config": {"private": True}})
        try:
            channel.on_broadcast("*", heard)
            await channel.subscribe(state)
            await anyio.sleep_forever()
        except Exception as exc:  # noqa: BLE001 - whatever it raises; looks go on
            _LOG.warning("realtime is not to be had (%s): looking from time to time", type(exc).__name__)
        finally:
            on_state(False)
            with anyio.move_on_after(2, shield=True):
                await client.remove_channel(channel)
        failures += 1
        await anyio.sleep(backoff(failures))
