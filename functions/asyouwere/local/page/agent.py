"""The agent on this machine: reads a session, makes an answer, and keeps it as a turn while it is being made.

The page only asks for it and follows the turn like anybody else, so that reloading or closing the page is nothing to
the answer. The agent is an app of the Python client, with the token of whoever asked: it can do what they can, and no
more. A guest who signs in hands the answers that run to the account (`carry_on`): they go on with its token.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import quote

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
#: How soon a stop is heard while a model says nothing.
_LOOK_SECONDS: Final = 0.25
#: How long an answer whose token is refused waits for the one of an account; the lease is longer.
_HANDOVER_SECONDS: Final = 6
_CHARACTERS_OF_A_TOKEN: Final = 4
#: Answers under way at once; a page on this machine is one person's.
_MOST_AT_ONCE: Final = 20


class Agent:
    """app: the functions, asked in this process. model: default the answers that need none."""

    def __init__(self, app: ASGIApp, model: Model | None = None) -> None:
        self._functions = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._model = model
        self._running: dict[asyncio.Task[None], _Asker] = {}

    async def start(self, authorization: str, asked: Mapping[str, object]) -> Response:
        """Begin a turn and answer with it (202), or with what the functions refuse; {"session": id, "turn": id}."""
        if len(self._running) >= _MOST_AT_ONCE:
            return JSONResponse({"code": "rate_limited"}, 429, {"Retry-After": "5"})
        session, turn = str(asked.get("session")), str(asked.get("turn"))
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asker = _Asker(self._functions, authorization, session, turn)
        task = asyncio.create_task(self._answer(asker, begun))
        self._running[task] = asker
        task.add_done_callback(self._running.pop)
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

    async def carry_on(self, authorization: str) -> Response:
        """Go on with this token where an answer's own may not write any more: its session was claimed."""
        handed = 0
        for asker in list(self._running.values()):
            if not await asker.may_write(asker.authorization) and await asker.may_write(authorization):
                asker.authorization = authorization
                handed += 1
        return JSONResponse({"answers": handed})

    async def _answer(self, asker: _Asker, begun: asyncio.Future[None]) -> None:
        token = asker.authorization.removeprefix("Bearer ")
        try:
            async with (
                httpx.AsyncClient(transport=asker, timeout=30) as http,
                client.open(_URL, token=token, session=asker.session, journal=False, poll=None, http=http) as session,
            ):
                message = {"role": "assistant", "id": asker.turn}
                turn = session.turn(asker.turn, message=message, lease=_LEASE_SECONDS, flush=_FLUSH_SECONDS)
                async with turn:
                    asker.is_patient = True
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
            async with aclosing(_until_stopped(pieces, turn)) as heard:
                async for piece in heard:
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


class _Asker(httpx.AsyncBaseTransport):
    """As whom an answer is made. Refused in the middle of it, a request waits a moment for another token."""

    def __init__(self, functions: httpx.AsyncBaseTransport, authorization: str, session: str, turn: str) -> None:
        self.authorization = authorization
        self.session = session
        self.turn = turn
        self.is_patient = False
        self._functions = functions

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        until = time.monotonic() + _HANDOVER_SECONDS
        while True:
            used = request.headers["Authorization"] = self.authorization
            response = await self._functions.handle_async_request(request)
            if not self.is_patient or response.status_code not in (401, 403, 404):
                return response
            while self.authorization is used:
                if time.monotonic() > until:
                    return response
                await asyncio.sleep(0.1)

    async def may_write(self, authorization: str) -> bool:
        """Whether the turn is this person's to write: to begin what has begun changes nothing."""
        async with httpx.AsyncClient(transport=self._functions, base_url=_URL) as http:
            begun = await http.post(
                f"/sessions/{quote(self.session, safe='')}/turns",
                headers={"Authorization": authorization},
                json={"turn_id": self.turn, "lease_seconds": _LEASE_SECONDS},
            )
        return begun.is_success


async def _until_stopped(pieces: AsyncIterator[Any], turn: Turn) -> AsyncGenerator[Any]:
    """The pieces as they come, until somebody asks to stop, though the next one may be ever so late."""
    end = object()
    upcoming: asyncio.Future[Any] | None = None
    try:
        while not turn.stop_requested:
            upcoming = upcoming or asyncio.ensure_future(anext(pieces, end))
            done, _ = await asyncio.wait([upcoming], timeout=_LOOK_SECONDS)
            if not done:
                continue
            piece, upcoming = upcoming.result(), None
            if piece is end:
                return
            yield piece
    finally:
        if upcoming is not None:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)


def _is_there(refused: AsYouWereError, turn: str) -> bool:
    """Whether it was asked for twice: that answer is being made, or was."""
    return refused.code == "turn_over" or (refused.code == "turn_running" and turn in (refused.data or ""))


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
