"""What a handler hands back, and how it goes out.

A body is one piece of bytes or several: a restored state arrives from the database as chunks and leaves as
chunks, so that a large one is never copied whole.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from asyouwere.errors import CODES, AsYouWereError, MethodNotAllowed

__all__ = ["PROBLEM_TYPE", "ApiResponse", "Rest", "Stream", "json_response", "problem", "to_response"]

PROBLEM_TYPE: Final = "urn:asyouwere:problem:"

#: Up to this size a copy costs less than sending the pieces one by one.
_ONE_PIECE: Final = 1 << 20

#: Cloud Run refuses a response of a stated length above 32 MiB; it takes a longer one in chunks.
_STATED_LENGTH: Final = 30 << 20

#: Bytes of a large body that are handed to the server at once.
_SENT_AT_ONCE: Final = 1 << 20

#: How long a reader may take for one piece of what is made while it is sent.
_PATIENCE_SECONDS: Final = 30.0

#: Responses are somebody's own: no cache may keep them, no browser may guess their type.
_ALWAYS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Stream(Protocol):
    """Pieces of a body that are made while it is sent. Closed at the end, also if nobody has asked for any."""

    def __aiter__(self) -> Stream: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None: ...


class Rest:
    """A Stream of what is still to come, and what is held for it until the end."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], held: contextlib.AsyncExitStack) -> None:
        self._pieces = pieces
        self._held = held

    def __aiter__(self) -> Rest:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        async with self._held:
            await self._pieces.aclose()


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """body: UTF-8 in pieces; status: default 200; headers: besides those that every response has; logged:
    figures for the request log and telemetry, never content; more: what follows the body, made while it is
    sent; held: what is given back once all is sent."""

    body: Sequence[bytes] = ()
    status: int = 200
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    logged: Mapping[str, int] = field(default_factory=dict)
    more: Stream | None = None
    held: contextlib.AsyncExitStack | None = None

    @property
    def size(self) -> int:
        """Bytes of the body, as far as they are known."""
        return sum(map(len, self.body))


def json_response(text: str, status: int = 200, **logged: int) -> ApiResponse:
    """A response of finished JSON text, with figures for the request log and telemetry."""
    return ApiResponse((text.encode(),), status, logged=logged)


def problem(error: AsYouWereError) -> ApiResponse:
    """An error as RFC 9457 problem details. Equal errors give equal bytes: the request id is in a header."""
    import json

    code = CODES[error.code]
    text = json.dumps(
        {
            "type": PROBLEM_TYPE + error.code,
            "title": code.title,
            "status": error.status,
            "detail": str(error),
            "code": error.code,
        },
        separators=(",", ":"),
    )
    inside = (error.data or "").strip()[1:-1].strip()
    if inside:
        text = f"{text[:-1]},{inside}}}"
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allow
    return ApiResponse((text.encode(),), error.status, "application/problem+json", headers)


def to_response(response: ApiResponse, extra: Mapping[str, str]) -> Response:
    """The Starlette response; extra: headers that belong to the request, such as its id."""
    headers = {**_ALWAYS, **response.headers, **extra}
    if response.status == 204:
        return Response(status_code=204, headers=headers)
    if response.size <= _ONE_PIECE and response.more is None:
        return Response(b"".join(response.body), response.status, headers, response.media_type)
    return _Pieces(response, headers)


class _Pieces(Response):
    """A body sent piece by piece; a slow reader holds up the next piece, not the memory."""

    def __init__(self, response: ApiResponse, headers: Mapping[str, str]) -> None:
        is_known = response.more is None and response.size <= _STATED_LENGTH
        stated = {"Content-Length": str(response.size)} if is_known else {}
        super().__init__(None, response.status, {**headers, **stated}, response.media_type)
        if not stated:
            del self.headers["Content-Length"]  # Starlette's: that of the empty body it was given
        self._pieces = response.body
        self._more = response.more
        self._held = response.held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._held is not None:
            async with self._held:
                await self._send(send)
            return
        if self._more is None:
            await self._send(send)
            return
        # Servers take pieces for a client that is gone without a word.
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await self._send(send, self._more, gone)
        finally:
            gone.cancel()
            await self._more.aclose()

    async def _send(
        self, send: Send, more: Stream | None = None, gone: asyncio.Future[None] | None = None
    ) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._pieces:
            for start in range(0, len(piece), _SENT_AT_ONCE):
                # a slow reader keeps what is held for it no longer than others' patience
                async with asyncio.timeout(None if self._held is None else _PATIENCE_SECONDS):
                    part = memoryview(piece)[start : start + _SENT_AT_ONCE]
                    await send({"type": "http.response.body", "body": part, "more_body": True})
        if more is not None and gone is not None:
            while (made := await _next_piece(more, gone)) is not None:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await send({"type": "http.response.body", "body": made, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _next_piece(more: Stream, gone: asyncio.Future[None]) -> bytes | None:
    """None at the end, or as soon as the client is gone: what it held is free then, however long the silence."""
    made = asyncio.ensure_future(anext(more, None))
    try:
        await asyncio.wait((made, gone), return_when=asyncio.FIRST_COMPLETED)
        return None if gone.done() else made.result()
    finally:
        if not made.done():
            made.cancel()
            await asyncio.wait((made,))


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
