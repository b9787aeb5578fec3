"""A session as a file to keep: JSON (complete), Markdown or PDF (to read).

    rendered = render(document_text, "pdf")
    Response(rendered.body, media_type=rendered.media_type)

The JSON is the document of ``export_session`` as it is. Markdown and PDF show the latest content: facts,
messages, tool calls, and the other members of the state as JSON.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["FORMATS", "PAGE_LIMIT", "Format", "Rendered", "render"]

Format = Literal["json", "markdown", "pdf"]
FORMATS: Final[tuple[Format, ...]] = ("json", "markdown", "pdf")
PAGE_LIMIT: Final = 600
"""Pages a PDF may have, estimated before it is made. So many take about 12 s, 800 MB of memory and 15 MB."""

_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A file. filename: ASCII letters, digits, hyphens and one dot; safe in a header and on every system."""

    body: bytes
    media_type: str
    filename: str


def render(document_text: str, format: Format, *, page_limit: int = PAGE_LIMIT) -> Rendered:
    """The export document as a file.

    document_text: what the rows of export_session make up, concatenated. page_limit: for PDF only.
    Takes seconds for a long PDF, which a process of its own makes: call it in a thread.
    Raises errors.TooLarge (too_large) for a PDF over the limit, ValueError if the text is no export document.
    """
    if format == "json":
        # A lone surrogate is not UTF-8; its escape is the same JSON.
        body = document_text.encode("utf-8", "backslashreplace")
        return Rendered(body, "application/json", f"{_stem(_json_title(document_text))}.json")
    from asyouwere.service.export.document import read

    conversation = read(document_text)
    stem = _stem(conversation.title)
    if format == "markdown":
        from asyouwere.service.export import markdown

        return Rendered(
            markdown.render(conversation).encode("utf-8"), "text/markdown; charset=utf-8", f"{stem}.md"
        )
    if format == "pdf":
        from asyouwere.service.export import pdf

        return Rendered(pdf.render(conversation, page_limit=page_limit), "application/pdf", f"{stem}.pdf")
    raise ValueError(f"unknown format {format!r}")


def _json_title(document_text: str) -> str:
    """The session's name, if it stands near the start: megabytes are not read for a file name."""
    found = re.search(r'"name"\s*:\s*"([^"\\]{1,200})"', document_text[:4000])
    return found.group(1) if found else ""


def _stem(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return _NOT_IN_NAMES.sub("-", plain)[:60].strip("-") or "session"
