"""HTTP requests with a token: one connection pool for a server, one renewal of the token after a 401."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from asyouwere.client.errors import Unreachable, refusal
from asyouwere.client.tokens import Tokens
from asyouwere.version import __version__

if TYPE_CHECKING:
    import httpx

__all__ = ["Requests"]

_LONGEST_WAIT_SECONDS: Final = 300


class Requests:
    """Sends requests and raises for what is no success.

    headers: sent with each; own: whether the client is closed with this.
    """

    def __init__(
        self,
        base_url: str,
        tokens: Tokens | None,
        *,
        headers: Mapping[str, str] | None = None,
        client: httpx.AsyncClient,
        own: bool = True,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._tokens = tokens
        self._headers = {"User-Agent": f"asyouwere-python/{__version__}", **(headers or {})}
        self._own = own
        self._client = client
        self._address: Callable[[str], httpx.URL] = functools.lru_cache(64)(self._parsed)

    async def send(
        self,
        method: str,
        path: str,
        *,
        text: str | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        is_json: bool = True,
    ) -> bytes:
        """The body of a success. text: JSON to send; is_json: whether the answer has to be. Raises AsYouWereError,
        Unreachable: also for what somebody else answered, as the page of a hotel's network."""
        response = await self._answer(method, path, text, query, headers)
        if response.status_code == 401 and self._tokens is not None and self._tokens.renewable:
            await self._tokens.renewed()
            response = await self._answer(method, path, text, query, headers)
        if not response.is_success:
            raise problem(response)
        if is_json and response.content and "json" not in response.headers.get("content-type", ""):
            raise Unreachable("Somebody else answered, not the server.")
        return response.content

    async def _answer(
        self,
        method: str,
        path: str,
        text: str | None,
        query: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
    ) -> httpx.Response:
        import httpx

        sent = await self._sent(headers)
        if text is not None:
            sent["Content-Type"] = "application/json"
        try:
            return await self._client.request(
                method,
                self._address(path),
                content=None if text is None else text.encode(),
                params=query,
                headers=sent,
            )
        except (httpx.RequestError, OSError) as exc:
            raise Unreachable from exc

    @asynccontextmanager
    async def stream(self, path: str, headers: Mapping[str, str]) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of an answer that comes bit by bit; none if there is nothing more to come (204)."""
        import httpx

        try:
            async with self._client.stream(
                "GET",
                self._base + path,
                headers=await self._sent(headers),
                timeout=httpx.Timeout(30.0, read=60.0),
            ) as response:
                if not response.is_success:
                    await response.aread()
                    raise problem(response)
                yield _lines(response.aiter_text())
        except (httpx.RequestError, OSError) as exc:
            raise Unreachable from exc

    def _parsed(self, path: str) -> httpx.URL:
        import httpx

        return httpx.URL(self._base + path)

    async def _sent(self, headers: Mapping[str, str] | None) -> dict[str, str]:
        sent = {**self._headers, **(headers or {})}
        if self._tokens is not None:
            sent["Authorization"] = f"Bearer {await self._tokens.current()}"
        return sent

    async def close(self) -> None:
        if self._own:
            await self._client.aclose()


async def _lines(texts: AsyncIterator[str]) -> AsyncIterator[str]:
    """Lines that end with a line feed; not with U+2028 and the like, which may stand in JSON."""
    rest = ""
    async for text in texts:
        *whole, rest = (rest + text).split("\n")
        for line in whole:
            yield line.removesuffix("\r")


def problem(response: httpx.Response) -> Exception:
    """The exception for an answer that is no success: problem details of the functions, or PostgREST's."""
    try:
        told = response.json()
    except ValueError:
        told = None
    said: dict[str, Any] = told if isinstance(told, dict) else {}
    wait = response.headers.get("retry-after", "")
    retry_after = min(int(wait), _LONGEST_WAIT_SECONDS) if wait.isdecimal() else None
    if "hint" in said and isinstance(said.get("hint"), str):
        return _of_postgrest(response.status_code, said, retry_after)
    usual = {"type", "title", "status", "detail", "code"}
    return refusal(
        said.get("code"),
        response.status_code,
        said.get("detail"),
        {name: value for name, value in said.items() if name not in usual and "hint" not in said},
        retry_after,
    )


def _of_postgrest(status: int, said: dict[str, Any], retry_after: int | None) -> Exception:
    import json

    try:
        data = json.loads(said.get("details") or "{}")
    except ValueError:
        data = {}
    data = data if isinstance(data, dict) else {}
    wait = data.get("retry_after")
    return refusal(
        said["hint"], status, said.get("message"), data, retry_after or (wait if isinstance(wait, int) else None)
    )
