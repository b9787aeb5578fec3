"""Mode postgrest: one HTTP request a call, with the caller's own token, which PostgREST checks again.

The function holds no database secret: PostgREST takes role and claims from the token. Only the clean-up,
which nobody's token allows, has a key of the service. PostgREST runs every call in a transaction of its own,
a read-only one for functions that read, so nothing is left for the next caller here either.

The client parses what it sends and gets as any JSON; numbers of many digits would not survive that. So
content goes into the request as it is, and comes back as text (``select=others::text``), exact to the last
character.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Final

import httpx
from postgrest import AsyncPostgrestClient

from asyouwere.errors import AsYouWereError, Unavailable
from asyouwere.postgres.failures import Failure, may_run_again, to_error, unavailable
from asyouwere.postgres.shares import Shares
from asyouwere.service.auth.caller import Caller
from asyouwere.service.auth.token_errors import TokenError
from asyouwere.service.database import Argument, Row
from asyouwere.service.database.columns import JSON_ARGUMENTS, SELECT
from asyouwere.service.database.gateway import GatewayError, failure
from asyouwere.service.database.text_array import TextArray

__all__ = ["CutAnswer", "PostgrestDatabase"]

#: An idle connection is kept that long. Gateways close them after a minute or more.
_KEEP_SECONDS: Final = 30.0

#: Bytes of a request that are sent at once.
_PIECE: Final = 1 << 18
#: More than what can follow a state at the end of a response.
_END: Final = 64


class CutAnswer(Exception):
    """PostgREST's db-max-rows is so low that a document did not fit. It has to be at least 1,000."""


class PostgrestDatabase:
    """Keeps connections to PostgREST, opened on first use, for the event loop they were opened in.

    url: PostgREST's address; publishable_key: what Supabase's gateway wants as ``apikey`` (None: no gateway);
    service_key: used for callers who are the service, in place of their token; pool_size: most connections;
    pool_timeout: seconds to wait for one of them or for a new one; statement_timeout: seconds that a call may
    take. The role's own statement_timeout holds as well: hosted Supabase gives signed-in users 8 seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        publishable_key: str | None = None,
        service_key: str | None = None,
        pool_size: int = 8,
        pool_timeout: float = 5.0,
        statement_timeout: float = 20.0,
    ) -> None:
        self._url = url.rstrip("/")
        self._publishable_key = publishable_key
        self._service_key = service_key
        self._size = pool_size
        self._pool_timeout = pool_timeout
        self._patience = statement_timeout
        self._shares = Shares((pool_size + 1) // 2, patience=pool_timeout)
        self._client: AsyncPostgrestClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def rows(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument], *, repeatable: bool = False
    ) -> list[Row]:
        content = _body(arguments)
        value, total = await self._call(caller, function, content, repeatable)
        if not isinstance(value, list):
            return [{function: value}]  # not a set of rows, but one value
        # PostgREST hands out at most db-max-rows at once. Only reading gives more than one row.
        while len(value) < total:
            more, total_now = await self._call(caller, function, content, repeatable, offset=len(value))
            if not more or total_now != total:
                raise unavailable()  # somebody changed it in between
            value += more
        return value

    async def chunks(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument], *, repeatable: bool = False
    ) -> list[bytes]:
        if function == "get_snapshot_chunks":
            header, *state = [piece async for piece in self.pieces(caller, function, arguments)]
            return [header, b"".join(state)]
        value, total = await self._call(caller, function, _body(arguments), repeatable)
        if len(value) < total:
            raise AsYouWereError("internal") from CutAnswer()
        return [chunk.encode() for chunk in value]

    async def pieces(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument]
    ) -> AsyncGenerator[bytes, None]:
        if function != "get_snapshot_chunks":
            for chunk in await self.chunks(caller, function, arguments, repeatable=True):
                yield chunk
            return
        # The state may have more chunks than PostgREST hands out rows, so it is asked for as one value.
        begun = False
        for last_try in (False, True):
            try:
                async with self._shares.one(caller.user_id):
                    request = self._request(caller, "get_snapshot", _body(arguments), 0)
                    response = await self._connected().session.send(request, stream=True)
                    async with contextlib.aclosing(response):
                        if not response.is_success:
                            await response.aread()
                            raise failure(response)
                        async for piece in _header_and_state(response.aiter_bytes(_PIECE)):
                            begun = True
                            yield piece
                return
            except (Failure, GatewayError, TimeoutError, httpx.RequestError) as exc:
                if last_try or begun or not _may_repeat(exc, repeatable=True):
                    raise self._error(caller, exc) from exc

    async def check(self) -> None:
        headers = {"apikey": self._publishable_key} if self._publishable_key else {}
        try:
            async with asyncio.timeout(self._pool_timeout):
                response = await self._connected().session.head(
                    f"{self._url}/free_agent_sessions", params={"select": "id", "limit": "0"}, headers=headers
                )
        except (httpx.RequestError, TimeoutError) as exc:
            raise unavailable() from exc
        if not response.is_success:
            raise unavailable()

    async def close(self) -> None:
        if self._client is not None and self._loop is asyncio.get_running_loop():
            await self._client.aclose()
        self._client = None

    async def _call(
        self, caller: Caller, function: str, content: bytearray, repeatable: bool, offset: int = 0
    ) -> tuple[Any, int]:
        """What the function returned, and how many rows that would be if all had been handed out."""
        response = await self._response(caller, function, content, repeatable, offset)
        if response.status_code == 204:
            return [], 0  # a function that returns nothing
        _, _, total = response.headers.get("content-range", "").partition("/")
        return json.loads(response.content), int(total) if total.isdecimal() else 0

    async def _response(
        self, caller: Caller, function: str, content: bytearray, repeatable: bool, offset: int = 0
    ) -> httpx.Response:
        for last_try in (False, True):
            try:
                return await self._once(caller, function, content, offset)
            except (Failure, GatewayError, TimeoutError, httpx.RequestError) as exc:
                if last_try or not _may_repeat(exc, repeatable):
                    raise self._error(caller, exc) from exc
        raise AssertionError("unreachable")  # pragma: no cover

    def _error(self, caller: Caller, exc: Exception) -> Exception:
        """The error of ours for what went wrong with a call."""
        if isinstance(exc, Failure):
            return to_error(exc)
        if isinstance(exc, GatewayError):
            if exc.code == "invalid_token" and self._uses_service_key(caller):
                return AsYouWereError("internal")  # the key is not good, nobody's token
            return exc.error()
        if isinstance(exc, TimeoutError | httpx.ReadTimeout | httpx.WriteTimeout):
            return Unavailable("timeout", retry_after=1)
        return unavailable()

    async def _once(self, caller: Caller, function: str, content: bytearray, offset: int) -> httpx.Response:
        """Raises Failure, GatewayError, httpx.RequestError, TimeoutError."""
        async with asyncio.timeout(self._patience + self._pool_timeout), self._shares.one(caller.user_id):
            response = await self._connected().session.send(self._request(caller, function, content, offset))
        if not response.is_success:
            raise failure(response)
        return response

    def _request(self, caller: Caller, function: str, content: bytearray, offset: int) -> httpx.Request:
        client = self._connected()
        # Built by the client; sent by hand, because it would write the content's numbers anew.
        builder = client.rpc(function, {}, count="exact")  # type: ignore[arg-type]
        if function in SELECT:
            builder = builder.select(*SELECT[function])
        request = builder.request
        parameters = request.params.set("offset", offset) if offset else request.params
        return client.session.build_request(
            "POST",
            str(request.path),
            content=bytes(content) if len(content) <= _PIECE else _pieces(content),
            params=parameters,
            headers={
                **request.headers,
                "Prefer": "count=exact",
                "Content-Type": "application/json",
                "Content-Length": str(len(content)),
                **self._credentials(caller),
            },
        )

    def _credentials(self, caller: Caller) -> dict[str, str]:
        if self._uses_service_key(caller):
            service = self._service_key or ""
            if service.count(".") == 2:  # a legacy key is a token itself
                return {"apikey": service, "Authorization": f"Bearer {service}"}
            return {"apikey": service}  # for a new one, which is none, the gateway puts a token in
        if not caller.token:
            raise TokenError("by_database")
        credentials = {"Authorization": f"Bearer {caller.token}"}
        if self._publishable_key:
            credentials["apikey"] = self._publishable_key
        return credentials

    def _uses_service_key(self, caller: Caller) -> bool:
        return caller.role == "service_role" and self._service_key is not None

    def _connected(self) -> AsyncPostgrestClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            # What belongs to another loop is of no use in this one.
            self._loop = loop
            self._client = AsyncPostgrestClient(
                self._url,
                http_client=httpx.AsyncClient(
                    timeout=httpx.Timeout(
                        self._patience, connect=self._pool_timeout, pool=self._pool_timeout
                    ),
                    limits=httpx.Limits(max_connections=self._size, keepalive_expiry=_KEEP_SECONDS),
                    follow_redirects=False,  # a token goes to nobody else
                    trust_env=False,
                ),
            )
        return self._client


def _body(arguments: Mapping[str, Argument]) -> bytearray:
    """The request: a JSON object of the arguments; those that are JSON already go in as they are."""
    body = bytearray(b"{")
    for name, value in arguments.items():
        body += f'"{name}":'.encode()
        if isinstance(value, TextArray):
            # one after the other, so that a large column is not there as text as well
            body += b"["
            for text in value:
                body += json.dumps(text, ensure_ascii=False).encode() + b","
            body[len(body) - bool(value) :] = b"]"
        elif isinstance(value, str) and name in JSON_ARGUMENTS:
            body += value.encode()
        else:
            body += json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        body += b","
    body[len(body) - bool(arguments) :] = b"}"
    return body


async def _pieces(content: bytearray) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _PIECE):
        yield bytes(content[start : start + _PIECE])


def _may_repeat(exc: Exception, repeatable: bool) -> bool:
    if isinstance(exc, Failure):
        return may_run_again(exc.sqlstate, repeatable=repeatable)
    known = (GatewayError, TimeoutError, httpx.TimeoutException)
    return repeatable and not isinstance(exc, known)


async def _header_and_state(content: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The one row of get_snapshot: what describes the snapshot, then pieces of its state as it was stored."""
    held, begun = b"", False
    async for piece in content:
        held += piece
        # Quotes inside a value are escaped, so this stands only where the column begins.
        if not begun and b',"state":' in held:
            header, _, held = held.partition(b',"state":')
            begun = True
            yield header.lstrip()[1:].lstrip() + b"}"
        if begun and len(held) > _END:
            yield held[:-_END]
            held = held[-_END:]
    yield held.rstrip().removesuffix(b"]").rstrip().removesuffix(b"}")
