"""The sidebar's server: the history is here, the page sends the last message.

    POST /api/chat {"messages", "context"?, "sessionId"?} -> {"reply", "imageUrl"?, "sessionId"}
    GET  /api/sessions/{id}/export?format=json|pdf

idle_seconds, on_ended: see conversation.py. cleanup_seconds: between two clean-ups, by default 300. rate, and
rate_seconds: so many messages of a person in so many seconds, by default 20 in 60.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import httpx
from pydantic import BaseModel, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asyouwere.errors import AsYouWereError
from examples.sidebar.conversation import Conversations
from examples.sidebar.stand_in import picture, respond
from examples.stack import Stack

LARGEST = 2_000_000  # bytes of a request


class Message(BaseModel):
    """id: made up by the page; asked again under it, it is the same message."""

    role: str
    content: str = Field(min_length=1, max_length=8_000)
    id: str = Field(default_factory=lambda: str(uuid.uuid4()), max_length=64)


class Chat(BaseModel):
    """Of the messages only the last one is new: the rest is here already. context: what the user looks at."""

    messages: list[Message] = Field(min_length=1, max_length=200)
    context: dict[str, str] = Field(default_factory=dict, max_length=10)
    sessionId: uuid.UUID | None = None


class Refused(Exception):
    """status, code, a sentence for the page, and seconds to wait."""

    def __init__(self, status: int, code: str, detail: str, retry_after: int | None = None) -> None:
        self.problem = {"status": status, "code": code, "detail": detail}
        self.retry_after = retry_after


class Limiter:
    """So many messages of a person in so many seconds, in this process. asyouwere's own limits hold for all."""

    def __init__(self, rate: int, seconds: float) -> None:
        self.rate, self.seconds = rate, seconds
        self._times: dict[str, deque[float]] = defaultdict(deque)

    def take(self, person: str) -> None:
        """Count one. Raises Refused."""
        now, times = time.monotonic(), self._times[person]
        while times and times[0] < now - self.seconds:
            times.popleft()
        if len(times) >= self.rate:
            wait = int(times[0] + self.seconds - now) + 1
            raise Refused(429, "rate_limited", f"That was a lot at once. Try again in {wait} s.", wait)
        times.append(now)


def create(stack: Stack) -> Starlette:
    """The example's own addresses, and the clean-up beside them."""
    options = stack.options
    conversations = Conversations(
        stack.url, int(options.get("idle_seconds", 1800)), options.get("on_ended", "new")
    )
    limiter = Limiter(int(options.get("rate", 20)), float(options.get("rate_seconds", 60)))

    async def chat(request: Request) -> Response:
        asked = Chat.model_validate_json(await body_of(request))
        message, known = asked.messages[-1], str(asked.sessionId) if asked.sessionId else None
        async with conversations.going_on(token_of(request), known, message.id) as (session, turn):
            messages = session.state.setdefault("messages", [])
            answer = next((one for one in messages if one.get("answers") == message.id), None)
            if answer is None:  # else it was lost on its way to the page
                limiter.take(session.info["user_id"])
                if not any(one.get("id") == message.id for one in messages):
                    messages.append({"role": "user", "id": message.id, "content": message.content})
                reply, image = respond(session.state, message.content, asked.context)
                answer = {"role": "assistant", "content": reply, "answers": message.id}
                answer |= {"imageUrl": image} if image else {}
                await session.save_now()
                turn.result = answer
            told = {"reply": answer["content"], "sessionId": session.id}
            return JSONResponse(told | ({"imageUrl": answer["imageUrl"]} if "imageUrl" in answer else {}))

    async def export(request: Request) -> Response:
        format: Literal["json", "pdf"] = "pdf" if request.query_params.get("format") == "pdf" else "json"
        async with conversations.open(token_of(request), session=str(request.path_params["id"])) as session:
            content = await session.export(format)
        name = {"Content-Disposition": f'attachment; filename="conversation.{format}"'}
        return Response(content, headers=name, media_type=f"application/{format}")

    async def image(request: Request) -> Response:
        return Response(picture(request.path_params["name"]), media_type="image/svg+xml")

    async def clean_up() -> None:
        """What a scheduler does where there is one: docs/deploy.md."""
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            while True:
                await asyncio.sleep(float(options.get("cleanup_seconds", 300)))
                headers = {"Authorization": f"Bearer {stack.service_token()}"}
                with suppress(httpx.HTTPError):
                    await http.post(f"{stack.url}/cleanup-old-snapshots", headers=headers)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        cleaning = asyncio.create_task(clean_up())
        yield
        cleaning.cancel()
        with suppress(asyncio.CancelledError):
            await cleaning

    return Starlette(
        routes=[
            Route("/api/chat", chat, methods=["POST"]),
            Route("/api/sessions/{id:uuid}/export", export),
            Route("/images/{name}.svg", image),
        ],
        exception_handlers={Refused: refused, AsYouWereError: refused, ValidationError: refused},
        lifespan=lifespan,
    )


def token_of(request: Request) -> str:
    """The user's access token; asyouwere looks whether it is good."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Refused(401, "signed_out", "Please sign in again.")
    return token


async def body_of(request: Request) -> bytes:
    """What was sent, if it is not too much."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise Refused(413, "body_too_large", "That is too much at once.")
    return body


def refused(_: Request, exc: Exception) -> Response:
    """Everything that went wrong, as problem details."""
    if isinstance(exc, ValidationError):
        exc = Refused(422, "invalid_request", "That cannot be sent: it is empty, or too long.")
    if isinstance(exc, AsYouWereError):  # status 0: nobody answered
        exc = Refused(exc.status or 503, exc.code, str(exc), exc.retry_after)
    assert isinstance(exc, Refused)
    headers = {} if exc.retry_after is None else {"Retry-After": str(exc.retry_after)}
    status: Any = exc.problem["status"]
    return JSONResponse(exc.problem, status, headers, media_type="application/problem+json")
