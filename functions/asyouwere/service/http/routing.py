"""Addresses and methods: what requests are matched against and the OpenAPI document is made from.

Not Starlette's router, which checks the path first: here the token is verified before a path's values are looked at,
so that a stranger learns nothing from an address; and a route is data, from which the OpenAPI document is made.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from asyouwere.errors import Invalid, MethodNotAllowed, NotFound
from asyouwere.service.http.responses import ApiResponse

if TYPE_CHECKING:
    from asyouwere.service.auth.caller import Caller
    from asyouwere.service.database import Database
    from asyouwere.service.models import RequestModel, ResponseModel
    from asyouwere.service.settings import Settings

__all__ = ["Call", "Handler", "Route", "RouteTable", "allowed", "check_path", "pick"]

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,9}")
LARGEST_NUMBER: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has passed the checks all requests have in common.

    path: the values of the pattern's names, checked; query: the query parameters; header: the request's
    headers, without regard to case; body: the bytes, none for a method without one. Reading it as a model
    empties it, so that a large one is not there several times.
    """

    caller: Caller
    database: Database
    settings: Settings
    path: Mapping[str, str]
    query: Mapping[str, str]
    header: Mapping[str, str]
    body: bytearray


Handler = Callable[[Call], Awaitable[ApiResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method at one address.

    pattern: "" or "/{session_id}/..." below the function; body, query, response, other_responses: the models that
    say what is expected and what comes back; or_null: or `null`, if there is none; body_optional: an empty one will
    do; media_types: the media types of a response that is no model, each with its schema; status: of a success;
    status_if_there: of one that found what was to be made; errors: the codes it can give besides those that every
    route can; audience: whose tokens it accepts; limit: the setting that limits its body.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    pattern: str
    handler: Handler
    summary: str
    body: type[RequestModel] | None = None
    body_optional: bool = False
    query: type[RequestModel] | None = None
    response: type[ResponseModel] | None = None
    other_responses: Sequence[type[ResponseModel]] = ()
    or_null: bool = False
    media_types: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    status: int = 200
    status_if_there: int | None = None
    errors: Sequence[str] = ()
    audience: Literal["user", "service"] = "user"
    limit: Literal["max_body_bytes", "max_import_bytes", "small_body_bytes"] = "small_body_bytes"

    @property
    def takes_body(self) -> bool:
        """Whether a body is read at all."""
        return self.body is not None


class RouteTable:
    """The routes of one function."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._patterns: dict[str, tuple[list[str], dict[str, Route]]] = {}
        for route in self.routes:
            _, methods = self._patterns.setdefault(route.pattern, (route.pattern.split("/")[1:], {}))
            methods[route.method] = route

    def match(self, path: str) -> tuple[Mapping[str, Route], dict[str, str]]:
        """The routes at a path below the function, by method, and the path's values. Raises NotFound."""
        segments = path.strip("/").split("/") if path.strip("/") else []
        for pattern, methods in self._patterns.values():
            if len(pattern) == len(segments):
                values = _values(pattern, segments)
                if values is not None:
                    return methods, values
        raise NotFound("not_found")


def pick(methods: Mapping[str, Route], method: str) -> Route:
    """The route for a method; HEAD is answered as GET. Raises MethodNotAllowed."""
    route = methods.get("GET" if method == "HEAD" else method)
    if route is None:
        raise MethodNotAllowed(allowed(methods))
    return route


def allowed(methods: Iterable[str]) -> str:
    """The value of an Allow header."""
    names = set(methods) | {"OPTIONS"}
    if "GET" in names:
        names.add("HEAD")
    return ", ".join(sorted(names))


def check_path(values: Mapping[str, str]) -> None:
    """Raise for values that cannot be right. Asked after the token, as everything about a session is."""
    if not _UUID.fullmatch(values.get("session_id", "00000000-0000-0000-0000-000000000000")):
        raise NotFound("session_not_found")
    if not _UUID.fullmatch(values.get("turn_id", "00000000-0000-0000-0000-000000000000")):
        raise NotFound("turn_not_found")
    number = values.get("number", "1")
    if not _NUMBER.fullmatch(number) or int(number) > LARGEST_NUMBER:
        raise NotFound("snapshot_not_found")
    if not _UUID.fullmatch(values.get("user_id", "00000000-0000-0000-0000-000000000000")):
        raise Invalid("invalid_request", "A user id is a uuid.")


def _values(pattern: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    values = {}
    for expected, given in zip(pattern, segments, strict=True):
        if expected.startswith("{"):
            values[expected[1:-1]] = given
        elif expected != given:
            return None
    return values
