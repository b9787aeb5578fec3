"""Request bodies: JSON only, up to a limit and within a time, checked without losing anything of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from leftoff.errors import Invalid, LeftoffError, TooLarge, UnsupportedMediaType
from leftoff.exact_json import REQUEST_NESTING, members, parse
from leftoff.models import RequestModel

__all__ = ["beside", "read_body", "read_model", "validated"]

_M = TypeVar("_M", bound=RequestModel)
_T = TypeVar("_T")

#: Bytes that take some milliseconds to go through.
_LARGE: Final = 1 << 18


async def read_body(request: Request, limit: int, seconds: float) -> bytes:
    """The body's bytes. Raises UnsupportedMediaType, body_too_large, request_timeout.

    limit: bytes, held against the declared length first and against what really comes in any case.
    """
    headers = request.headers
    declared = headers.get("content-length", "")
    if declared in ("", "0") and "content-type" not in headers and "transfer-encoding" not in headers:
        return b""  # a scheduler's POST says nothing, so it needs no type
    _check_media_type(headers)
    too_large = TooLarge("body_too_large", data=f'{{"limit_bytes":{limit}}}')
    if declared.isdecimal() and (len(declared) > 15 or int(declared) > limit):
        raise too_large
    pieces = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.stream():
                size += len(piece)
                if size > limit:
                    raise too_large
                pieces.append(piece)
    except TimeoutError:
        raise LeftoffError("request_timeout") from None
    return b"".join(pieces)


async def beside(size: int, work: Callable[[], _T]) -> _T:
    """The result of work on a body; on a large one in a thread, so that others are answered meanwhile."""
    return await asyncio.to_thread(work) if size > _LARGE else work()


def _check_media_type(headers: Mapping[str, str]) -> None:
    media_type, _, parameters = headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != "application/json":
        raise UnsupportedMediaType("unsupported_media_type")
    name, _, charset = parameters.strip().partition("=")
    if name.strip().lower() == "charset" and charset.strip(' "').lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType("unsupported_media_type")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("unsupported_media_type")


def read_model(model: type[_M], body: bytes, *, max_depth: int = REQUEST_NESTING) -> _M:
    """The body as a request model. Fields of content stay JSON text, character by character as parsed.

    Raises invalid_json, number_out_of_range, nesting_too_deep, invalid_request.
    """
    text = parse(body, max_depth=max_depth)
    if text[0] != "{":
        raise Invalid("invalid_request", "The body must be a JSON object.")
    fields: dict[str, Any] = {}
    for name, value in members(text).items():
        if name in model.content_fields:
            fields[name] = None if value == "null" else value
        else:
            fields[name] = json.loads(value)
    return validated(model, fields)


def validated(model: type[_M], fields: Mapping[str, Any]) -> _M:
    """A request model from its fields. Raises invalid_request, which names the fields but no values."""
    try:
        return model.model_validate(fields)
    except ValidationError as exc:
        errors = [
            {"field": ".".join(map(str, error["loc"])), "problem": error["msg"]}
            for error in exc.errors(include_url=False, include_context=False, include_input=False)[:20]
        ]
        raise Invalid("invalid_request", data=json.dumps({"errors": errors}, separators=(",", ":"))) from None
