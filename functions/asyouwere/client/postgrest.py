"""A Supabase project's PostgREST as a transport: no functions need to be deployed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from asyouwere.client.requests import Requests
from asyouwere.client.rpc import Argument, RpcTransport, Texts
from asyouwere.state.exact_json import encode, items, members, parse

__all__ = ["PostgrestTransport"]

_NESTING: Final = 1_000
#: Arguments of the type json: their text goes in as it is. (Arrays of texts carry bodies.)
_JSON: Final = frozenset({"p_message", "p_chunks", "p_changes", "p_choices", "p_metadata"})


class PostgrestTransport(RpcTransport):
    """``requests``: to the address that ends with ``/rest/v1``."""

    def __init__(self, requests: Requests) -> None:
        super().__init__(_Rpc(requests))


class _Rpc:
    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def rows(self, function: str, arguments: Mapping[str, Argument]) -> list[Texts]:
        body = await self._requests.send("POST", f"/rpc/{function}", text=_body(arguments))
        if not body:
            return [{}]
        text = parse(body, max_depth=_NESTING)
        if not text.startswith("["):
            return [members(text) if text.startswith("{") else {"": text}]
        return [members(row) if row.startswith("{") else {"": row} for row in items(text)]

    async def close(self) -> None:
        await self._requests.close()


def _body(arguments: Mapping[str, Any]) -> str:
    given = [
        f'"{name}":{value if name in _JSON else encode(value)}'
        for name, value in arguments.items()
        if value is not None
    ]
    return "{" + ",".join(given) + "}"
