"""A request from its arrival to its response: the same way for every function, deployed or local.

service = Service()                                       # settings from the environment, on first use
response = await service.respond("sessions", request)
"""

from __future__ import annotations

import contextlib
import gc
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from asyouwere.errors import AsYouWereError, Forbidden, Invalid
from asyouwere.service.auth.caller import Caller
from asyouwere.service.auth.token_errors import TokenError
from asyouwere.service.auth.verifier import Verifier
from asyouwere.service.database import Database, open_database
from asyouwere.service.http.admission import large_body
from asyouwere.service.http.bodies import read_body
from asyouwere.service.http.cors import cors_headers, preflight_headers
from asyouwere.service.http.log import log_failure, log_line
from asyouwere.service.http.responses import ApiResponse, problem, to_response
from asyouwere.service.http.routing import Call, Route, allowed, check_path, pick
from asyouwere.service.routes.registry import FUNCTIONS
from asyouwere.service.settings import Settings, SettingsError

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

    from asyouwere.service.telemetry import Observed, Telemetry

__all__ = ["FUNCTIONS_PATH", "Service"]

#: Where Supabase clients look for functions.
FUNCTIONS_PATH: Final = "/functions/v1/"

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: Added by Supabase clients to choose a region.
_GATEWAY_PARAMETERS: Final = frozenset({"forceFunctionRegion"})


@dataclass(slots=True)
class _Seen:
    """What the request log wants to know even if there is no response."""

    body_bytes: int = 0
    route: str | None = None
    refused: str | None = None  # why a token was


class Service:
    """Settings, keys and database of one process, all made on first use."""

    def __init__(self, settings: Settings | None = None, database: Database | None = None) -> None:
        self._settings = settings
        self._database = database
        self._verifier: Verifier | None = None
        self._telemetry: Telemetry | None = None

    @property
    def settings(self) -> Settings:
        """The settings; read from the environment unless given. Raises SettingsError."""
        if self._settings is None:
            self._settings = Settings.from_environment()
        return self._settings

    @property
    def database(self) -> Database:
        """The database; connected to on first use."""
        if self._database is None:
            self._database = open_database(self.settings)
            if self.settings.telemetry:
                from asyouwere.service.telemetry import ObservedDatabase

                self._database = ObservedDatabase(self._database, self.telemetry)
        return self._database

    @property
    def telemetry(self) -> Telemetry:
        """Where spans and figures go. Only for settings that say so: it takes long to import."""
        if self._telemetry is None:
            from asyouwere.service.telemetry import Telemetry

            self._telemetry = Telemetry()
        return self._telemetry

    async def respond(self, function: str, request: Request) -> Response:
        """Answer one request to one function; whatever goes wrong, the response is a problem of ours."""
        try:
            observing = self.settings.telemetry
        except SettingsError:
            observing = False
        if not observing:
            return await self._respond(function, request, None)
        with self.telemetry.request(function, request.method, request.headers) as observed:
            response = await self._respond(function, request, observed)
        if self.settings.telemetry_flush:
            await self.telemetry.flush_when_idle()
        return response

    async def _respond(self, function: str, request: Request, observed: Observed | None) -> Response:
        started = time.perf_counter()
        request_id = request.headers.get("x-request-id", "")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = secrets.token_hex(12)
        extra = {"X-Request-Id": request_id}
        code = None
        seen = _Seen()
        try:
            settings = self.settings
            extra.update(cors_headers(request.headers.get("origin"), settings.allowed_origins))
            response = await self._handle(function, request, extra, seen)
        except AsYouWereError as exc:
            code = exc.code
            if isinstance(exc, TokenError):
                seen.refused = exc.reason
            response = problem(exc)
            if exc.__cause__ is not None and exc.status == 500:
                log_failure(request_id, exc)
        except ClientDisconnect:
            code = "client_gone"
            response = ApiResponse(status=499)
        except SettingsError as exc:
            code = "internal"
            log_line(severity="ERROR", message=f"settings: {exc}", request_id=request_id)
            response = problem(AsYouWereError("internal"))
        except Exception as exc:  # noqa: BLE001 - the last resort; what is known of it goes to the log
            code = "internal"
            log_failure(request_id, exc)
            response = problem(AsYouWereError("internal"))
        if self._settings is None or self._settings.request_log:
            log_line(
                severity="INFO" if response.status < 500 else "ERROR",
                message="request",
                request_id=request_id,
                function=function,
                method=request.method,
                status=response.status,
                ms=round((time.perf_counter() - started) * 1000, 1),
                bytes_in=seen.body_bytes,
                bytes_out=response.size,
                **response.logged,
                **({"code": code} if code else {}),
                **({"token": seen.refused} if seen.refused else {}),
            )
        if observed is not None:
            observed.route, observed.status, observed.code = seen.route, response.status, code
            observed.bytes_in, observed.bytes_out = seen.body_bytes, response.size
            observed.figures = response.logged
        if not gc.isenabled():  # main.py's doing; by now all is imported
            gc.freeze()
            gc.enable()
        return to_response(response, extra)

    async def _handle(self, function: str, request: Request, extra: dict[str, str], seen: _Seen) -> ApiResponse:
        path = _path_below(function, request.scope["path"])
        if path == "/openapi.json":
            return _document(function, request.method)
        methods, values = FUNCTIONS[function].match(path)
        if request.method == "OPTIONS":
            extra.update(preflight_headers(request.headers, self.settings.allowed_origins, allowed(methods)))
            return ApiResponse(status=204)
        route = pick(methods, request.method)
        seen.route = route.pattern
        caller = await self._caller(route, request)
        check_path(values)
        body = bytearray()
        async with contextlib.AsyncExitStack() as stack:
            if route.takes_body:
                limit: int = getattr(self.settings, route.limit)
                body = await read_body(
                    request, limit, self.settings.body_timeout_seconds, lambda: large_body(caller, stack)
                )
                seen.body_bytes = len(body)
            query = _query(request.query_params) if route.query is not None else {}
            call = Call(caller, self.database, self.settings, values, query, request.headers, body)
            return await route.handler(call)
        raise AssertionError("unreachable")  # pragma: no cover

    async def _caller(self, route: Route, request: Request) -> Caller:
        if self._verifier is None:
            self._verifier = Verifier(self.settings)
        headers = request.headers.getlist("authorization")
        if len(headers) != 1:
            raise TokenError("malformed" if headers else "no_token")
        caller = await self._verifier.caller(headers[0], audience=route.audience)
        if (caller.role == "service_role") != (route.audience == "service"):
            # The service has no user's sessions, and a user has no business with the clean-up.
            if caller.role == "service_role":
                raise TokenError("wrong_role")
            raise Forbidden("forbidden", "Only the service may do that.")
        return caller


def _path_below(function: str, path: str) -> str:
    """The path below the function, which has an address of its own or lies under /functions/v1/<name>."""
    prefix = FUNCTIONS_PATH + function
    if path == prefix or path.startswith(prefix + "/"):
        return path[len(prefix) :]
    return path


def _query(params: QueryParams) -> Mapping[str, str]:
    pairs = [(name, value) for name, value in params.multi_items() if name not in _GATEWAY_PARAMETERS]
    query = dict(pairs)
    if len(query) != len(pairs):
        raise Invalid("invalid_request", "A query parameter is there twice.")
    return query


def _document(function: str, method: str) -> ApiResponse:
    from asyouwere.service.openapi import document_text

    pick({"GET": FUNCTIONS[function].routes[0]}, method)
    return ApiResponse((document_text(function),))
