"""An export on its way out: page by page from the database, so that a long history is never here at once."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Literal, ParamSpec, TypeVar

from asyouwere.service.http.admission import Slots
from asyouwere.service.http.responses import ApiResponse, Rest
from asyouwere.service.http.threads import one_thread

if TYPE_CHECKING:
    from asyouwere.service.export import MarkdownWriter
    from asyouwere.service.http.routing import Call

__all__ = ["export"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: Exports under way in this process: each holds a page of about 2 MB in a few forms.
_EXPORTS: Final = Slots(each=2, total=16)
#: PDFs in the making or waiting for their turn. Each takes hundreds of megabytes, so they take turns.
_PDFS: Final = Slots(each=1, total=4)


@functools.cache
def _reading() -> ThreadPoolExecutor:
    """The thread that reads pages for Markdown and PDF."""
    return one_thread("reading")


@functools.cache
def _typesetting() -> ThreadPoolExecutor:
    """The thread that waits for the process that makes a PDF."""
    return one_thread("typesetting")


def _load() -> None:
    """What exports need is a fifth of a second of imports; not while the event loop waits."""
    import asyouwere.service.export  # noqa: F401


async def _in(executor: ThreadPoolExecutor, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(executor, functools.partial(work, *args, **kwargs))


async def export(call: Call, format: Literal["json", "markdown", "pdf"]) -> ApiResponse:
    """The file. What goes wrong before its first page is an error; later the transfer ends half-way.

    Raises session_not_found; rate_limited if the caller has too many under way; for PDF too_large.
    """
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_EXPORTS.taken(call.caller, "exports"))
        if format == "pdf":
            stack.enter_context(_PDFS.taken(call.caller, "a PDF"))
            return await _pdf(call)
        pages = await stack.enter_async_context(
            contextlib.aclosing(_pages(call, latest_only=format == "markdown"))
        )
        head, *lines = await anext(pages)
        if format == "json":
            name = f"session-{call.path['session_id'].lower()}.json"
            return _streamed((head, b",".join(lines)), _json(bool(lines), pages), stack, "application/json", name)
        await _in(_reading(), _load)
        from asyouwere.service.export import MarkdownWriter, Reader, file_name

        reader = await _in(_reading(), Reader, head.decode())
        writer = MarkdownWriter(reader)
        first = (writer.opening(), await _in(_reading(), writer.page, [line.decode() for line in lines]))
        name = file_name(reader.title, "markdown")
        return _streamed(first, _markdown(writer, pages), stack, "text/markdown; charset=utf-8", name)
    raise AssertionError("unreachable")  # pragma: no cover


def _streamed(
    first: tuple[bytes, ...],
    more: AsyncGenerator[bytes, None],
    stack: contextlib.AsyncExitStack,
    media_type: str,
    name: str,
) -> ApiResponse:
    return ApiResponse(first, media_type=media_type, headers=_attachment(name), more=Rest(more, stack.pop_all()))


async def _pages(call: Call, *, latest_only: bool) -> AsyncGenerator[list[bytes], None]:
    """The pages: more of the document up to its parts (b"" once that is out), then parts. None holds a connection."""
    page: str | None = None
    while page != "null":
        rows = await call.database.chunks(
            call.caller,
            "export_session_page",
            {"p_session_id": call.path["session_id"], "p_page": page, "p_latest_only": latest_only},
            repeatable=True,
        )
        page = rows[0].decode()
        yield rows[1:]


async def _json(begun: bool, pages: AsyncIterator[list[bytes]]) -> AsyncGenerator[bytes, None]:
    async for head, *lines in pages:
        if head:
            yield head
        if lines:
            yield (b"," if begun else b"") + b",".join(lines)
            begun = True
    yield b"]}"


async def _markdown(writer: MarkdownWriter, pages: AsyncIterator[list[bytes]]) -> AsyncGenerator[bytes, None]:
    async for _, *lines in pages:
        yield await _in(_reading(), writer.page, [line.decode() for line in lines])
    yield await _in(_reading(), writer.closing)


async def _pdf(call: Call) -> ApiResponse:
    await _in(_reading(), _load)
    from asyouwere.service.export import PdfWriter, Reader, file_name

    reader: Reader | None = None
    writer: PdfWriter | None = None
    async with contextlib.aclosing(_pages(call, latest_only=True)) as pages:
        async for head, *lines in pages:
            if reader is None or writer is None:
                reader = await _in(_reading(), Reader, head.decode())
                writer = PdfWriter(reader)
            await _in(_reading(), writer.page, [line.decode() for line in lines])
    assert reader is not None
    assert writer is not None
    body = await _in(_typesetting(), writer.closing)
    return ApiResponse([body], media_type="application/pdf", headers=_attachment(file_name(reader.title, "pdf")))


def _attachment(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
