"""The agent on this machine: reads a session, makes an answer, and keeps it as a turn while it is being made.

The page only asks for it and follows the turn like anybody else, so that reloading or closing the page is nothing to
the answer. The agent is an app of the Python client, with the token of whoever asked: it can do what they can, and no
more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, Final

import httpx
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from asyouwere import client
from asyouwere.client.errors import Expired
from asyouwere.client.prices import PRICES, cost_of
from asyouwere.client.session import Session
from asyouwere.client.turns import Turn
from asyouwere.errors import AsYouWereError
from asyouwere.local.page.answers import compose, spoken
from asyouwere.local.page.model import Model, ModelFailed, stream_answer
from asyouwere.service.http.responses import problem, to_response

__all__ = ["Agent"]

_URL: Final = "http://127.0.0.1/functions/v1"
_READ_MESSAGES: Final = 50
_FLUSH_SECONDS: Final = 0.25
_LEASE_SECONDS: Final = 10
_CHARACTERS_OF_A_TOKEN: Final = 4
#: Answers under way at once; a page on this machine is one person's.
_MOST_AT_ONCE: Final = 20


class Agent:
    """app: the functions, asked in this process. model: default the answers that need none."""

    def __init__(self, app: ASGIApp, model: Model | None = None) -> None:
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), timeout=30)
        self._model = model
        self._running: set[asyncio.Task[None]] = set()

    async def start(self, authorization: str, asked: Mapping[str, object]) -> Response:
        """Begin a turn and answer with it (202), or with what the functions refuse; {"session": id, "turn": id}."""
        if len(self._running) >= _MOST_AT_ONCE:
            return JSONResponse({"code": "rate_limited"}, 429, {"Retry-After": "5"})
        session, turn = str(asked.get("session")), str(asked.get("turn"))
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._answer(authorization.removeprefix("Bearer "), session, turn, begun))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.wait([task, begun], return_when=asyncio.FIRST_COMPLETED)
        refused = None if begun.done() else task.exception()
        if isinstance(refused, Expired):
            refused = refused.__cause__  # that there is no such session, in the server's words
        if isinstance(refused, AsYouWereError):
            if not _is_there(refused, turn):
                return to_response(problem(refused), {})
        elif refused is not None:
            raise refused
        return JSONResponse({"id": turn}, 202)

    async def _answer(self, token: str, session_id: str, id: str, begun: asyncio.Future[None]) -> None:
        opening = client.open(_URL, token=token, session=session_id, journal=False, poll=None, http=self._http)
        try:
            async with opening as session:
                message = {"role": "assistant", "id": id}
                turn = session.turn(id, message=message, lease=_LEASE_SECONDS, flush=_FLUSH_SECONDS)
                async with turn:
                    begun.set_result(None)
                    await self._made(session, turn, message)
        except ModelFailed:
            pass  # its message says so
        except AsYouWereError:
            if not begun.done():
                raise
            # refused for good: another one has taken over, the session is gone, the token has run out

    async def _made(self, session: Session, turn: Turn, message: dict[str, Any]) -> None:
        """An answer, from its first word to its last. Raises ModelFailed."""
        messages, memory = session.context(_READ_MESSAGES), session.get("/memory")
        pieces, learned = self._pieces(messages, memory if isinstance(memory, dict) else {})
        tools: list[dict[str, Any]] = []
        failure: ModelFailed | None = None
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    if isinstance(piece, dict):
                        tools.append({name: value for name, value in piece.items() if name != "type"})
                    if not await turn.write(piece):
                        break
        except ModelFailed as exc:
            failure = exc
        told: dict[str, Any] = {"tools": tools} if tools else {}
        if failure is not None:
            told |= {"status": "failed", "error": str(failure)}
        elif turn.stop_requested:
            told["status"] = "stopped"
        else:
            for topic, fact in learned.items():
                session.set(f"/memory/blackboard/{_escaped(topic)}", fact)
        turn.result = {**message, "content": turn.text, **told}
        await self._record(session, turn, sum(len(str(one)) for one in messages))
        if failure is not None:
            raise failure

    def _pieces(self, messages: list[Any], memory: dict[str, Any]) -> tuple[Any, dict[str, str]]:
        """What is said, as it is said, and what is to be remembered of it."""
        if self._model is not None:
            return stream_answer(self._model, messages), {}
        composed = compose(messages, memory)
        return spoken(composed), composed.learned

    async def _record(self, session: Session, turn: Turn, read_characters: int) -> None:
        """What the answer cost, before it is finished: whoever sees it can see its cost. Tokens are guessed."""
        model = "local-demo" if self._model is None else self._model.name
        read, said = (count // _CHARACTERS_OF_A_TOKEN + 1 for count in (read_characters, len(turn.text)))
        cost = cost_of(model, read, said) if model in PRICES else 0
        await session.record_usage(model, read, said, cost, turn=turn, key=turn.id)

    async def close(self) -> None:
        """End every answer as far as it has come."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._http.aclose()


def _is_there(refused: AsYouWereError, turn: str) -> bool:
    """Whether it was asked for twice: that answer is being made, or was."""
    return refused.code == "turn_over" or (refused.code == "turn_running" and turn in (refused.data or ""))


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
