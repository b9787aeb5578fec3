"""One conversation on the server: begun, found again, ended by idleness, and what a new one takes over from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import asyouwere
from asyouwere.errors import AsYouWereError

__all__ = ["Conversations"]

CARRIED: Final = 10  # messages that a new session takes over from one that has ended
WAIT_SECONDS: Final = 60  # for another message of the same conversation to be answered
GONE: Final = ("session_expired", "session_not_found")


@dataclass(frozen=True)
class Conversations:
    """url: of asyouwere's functions. idle_seconds: after which a session ends; the clean-up marks it.

    on_ended: what a message to an ended session does: revive it, or begin a new one with its last messages.
    """

    url: str
    idle_seconds: int = 1800
    on_ended: Literal["new", "revive"] = "new"

    @asynccontextmanager
    async def going_on(
        self, token: str, session_id: str | None, message_id: str
    ) -> AsyncIterator[tuple[asyouwere.Session, Any]]:
        """The session to go on in, and a turn in it: one message is answered at a time, over all servers.

        The first call has no id. What comes next is found by key, not by chance: asked twice at once, or from two
        devices, it is the same new session.
        """
        which = {"session": session_id} if session_id else {"key": f"sidebar:{message_id}"}
        carried: dict[str, Any] = {}
        async with AsyncExitStack() as stack:
            while True:
                try:
                    session = await stack.enter_async_context(self.open(token, **which))
                except AsYouWereError as exc:
                    if exc.code not in GONE or not session_id:
                        raise
                    which = {"key": f"sidebar:after:{session_id}"}  # cleared: there is nothing to take over
                    continue
                if session.info.get("expired_at") is None or self.on_ended == "revive":
                    break  # the next save revives it
                carried = {"messages": session.context(last=CARRIED), "posts": list(session.get("/posts", []))[-1:]}
                which = {"key": f"sidebar:after:{session.id}"}
            turn = await stack.enter_async_context(session.turn(wait=WAIT_SECONDS))
            if carried and "messages" not in session.state:
                session.update(carried)
            yield session, turn

    def open(self, token: str, **which: str) -> asyouwere.Opening:
        """A session by its id (session=…), or by its key, made if there is none."""
        return asyouwere.open(
            self.url,
            token=token,
            kind="chat",
            expires_after_seconds=self.idle_seconds,
            journal=False,
            poll=None,
            **which,  # type: ignore[arg-type]
        )
