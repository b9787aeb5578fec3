"""Request bodies: JSON only, up to a limit and within a time, checked without losing anything of them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from asyouwere.errors import AsYouWereError, Invalid, TooLarge, UnsupportedMediaType
from asyouwere.service.http.threads import one_thread
from asyouwere.service.models import RequestModel
from asyouwere.state.exact_json import REQUEST_NESTING, as_text, each_member, parse_view

__all__ = ["read_body", "read_model", "run_off_loop_if_large", "validated"]

_M = TypeVar("_M", bound=RequestModel)
_T = TypeVar("_T")

#: Bytes that take some milliseconds to go through.
_LARGE: Final = 1 << 18

#: From glibc's malloc.h.
_M_MMAP_THRESHOLD: Final = -3

#: More fields than any request has.
_MANY_FIELDS: Final = 50


async def read_body(
    request: Request, limit: int, seconds: float, on_large: Callable[[], Awaitable[None]] | None = None
) -> bytearray:
    """The body's bytes. Raises UnsupportedMediaType, body_too_large, request_timeout.

    limit: bytes, held against the declared length first and against what really comes in any case; on_large: waited
    for once, before more is taken of a body that is large.
    """
    headers = request.headers
    declared = headers.get("content-length", "")
    if declared in ("", "0") and "content-type" not in headers and "transfer-encoding" not in headers:
        return bytearray()  # a scheduler's POST says nothing, so it needs no type
    _check_media_type(headers)
    too_large = TooLarge("body_too_large", data=f'{{"limit_bytes":{limit}}}')
    if declared.isdecimal() and (len(declared) > 15 or int(declared) > limit):
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            if on_large is not None and declared.isdecimal() and int(declared) > _LARGE:
                await on_large()
                on_large = None
            async for piece in request.stream():
                if len(body) + len(piece) > limit:
                    raise too_large
                body += piece
                if on_large is not None and len(body) > _LARGE:
                    await on_large()
                    on_large = None
    except TimeoutError:
        raise AsYouWereError("request_timeout") from None
    return body


async def run_off_loop_if_large(size: int, work: Callable[[], _T]) -> _T:
    """The result of work on a body; on a large one in a thread, so that others are answered meanwhile."""
    if size <= _LARGE:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_large_bodies(), work)


@functools.cache
def _large_bodies() -> ThreadPoolExecutor:
    """The thread that reads large bodies.

    Also has the C library return every large block of memory to the system as soon as it is free. By itself glibc
    takes the first large one that is freed as a sign to keep the next ones: a third copy of every large body, for
    good. Elsewhere (musl, macOS) there is nothing to be set.
    """
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 17)
    return one_thread("large-bodies")


def _check_media_type(headers: Mapping[str, str]) -> None:
    media_type, _, parameters = headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != "application/json":
        raise UnsupportedMediaType("unsupported_media_type")
    name, _, charset = parameters.strip().partition("=")
    if name.strip().lower() == "charset" and charset.strip(' "').lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType("unsupported_media_type")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("unsupported_media_type")


def read_model(
    model: type[_M],
    body: bytearray,
    *,
    max_depth: int = REQUEST_NESTING,
    views: frozenset[str] = frozenset(),
) -> _M:
    """The body as a request model. Fields of content stay JSON text, character by character as parsed; those
    among ``views`` are handed over as views of it (see exact_json), for callers who spare memory.

    The body is empty afterwards, for the same reason. Raises invalid_json, number_out_of_range,
    nesting_too_deep, invalid_request.
    """
    view = parse_view(body, max_depth=max_depth)
    if view[0] != "{":
        raise Invalid("invalid_request", "The body must be a JSON object.")
    fields: dict[str, Any] = {}
    for key, start, end in each_member(view):
        name = as_text(key)
        if name in fields:
            raise _invalid_request([(name if name in model.model_fields else "", "Is there twice.")])
        if len(fields) > _MANY_FIELDS and name not in model.model_fields:
            break  # they are refused anyway, and nobody needs to hear of all of them
        if name not in model.content_fields:
            fields[name] = _plain(view, start, end)
        elif view.startswith("null", start):
            fields[name] = None
        else:
            fields[name] = view[start:end] if name in views else as_text(view[start:end])
    return validated(model, fields)


def _plain(view: str, start: int, end: int) -> Any:
    """The value of a field that is no content, and so none of the containers."""
    if view[start] in "[{":
        return [] if view[start] == "[" else {}  # what is in it makes it no better
    return json.loads(as_text(view[start:end]))


def validated(model: type[_M], fields: Mapping[str, Any]) -> _M:
    """A request model from its fields. Raises invalid_request, which names the fields but no values."""
    try:
        return model.model_validate(fields)
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False)[:20]
        raise _invalid_request([(".".join(map(str, error["loc"])), _problem(error)) for error in errors]) from None


def _invalid_request(problems: list[tuple[str, str]]) -> Invalid:
    """Names the fields and what is wrong with them, never their values."""
    errors = [{"field": field, "problem": problem} for field, problem in problems]
    return Invalid("invalid_request", data=json.dumps({"errors": errors}, separators=(",", ":")))


#: What pydantic finds, as a person says it; the names in braces are those of its context.
_PROBLEMS: Final = {
    "missing": "Is required.",
    "extra_forbidden": "Is no field of this request.",
    "string_type": "Must be a string.",
    "string_pattern_mismatch": "Must be a UUID.",  # the only pattern there is
    "string_too_short": "Must have at least {min_length} characters.",
    "string_too_long": "May have at most {max_length} characters.",
    "string_unicode": "Must not hold a lone surrogate.",
    "int_type": "Must be a whole number.",
    "int_parsing": "Must be a whole number.",
    "int_parsing_size": "Is too large.",
    "int_from_float": "Must be a whole number.",
    "float_type": "Must be a number.",
    "float_parsing": "Must be a number.",
    "finite_number": "Must be a finite number.",
    "bool_type": "Must be true or false.",
    "bool_parsing": "Must be true or false.",
    "greater_than_equal": "Must be at least {ge}.",
    "less_than_equal": "May be at most {le}.",
    "literal_error": "Must be {expected}.",
    "list_type": "Must be a list.",
    "dict_type": "Must be an object.",
    "value_error": "{error}.",
}


def _problem(error: Mapping[str, Any]) -> str:
    sentence = _PROBLEMS.get(error["type"], "Is not as it should be.").format_map(error.get("ctx") or {})
    return sentence[0].upper() + sentence[1:]
