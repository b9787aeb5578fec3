"""A session as a file to read: Markdown or PDF. (The complete one, JSON, is what the database hands out.)

    reader = Reader(head)                       # of a document of export_session_page
    writer = MarkdownWriter(reader)             # or PdfWriter
    writer.opening() + writer.page(lines) + … + writer.closing()

They show the latest content: facts, messages, tool calls, and the other members of the state as JSON.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final, Literal

from asyouwere.service.export.document import Reader
from asyouwere.service.export.markdown import MarkdownWriter
from asyouwere.service.export.pdf import PAGE_LIMIT, PdfWriter

__all__ = ["PAGE_LIMIT", "Format", "MarkdownWriter", "PdfWriter", "Reader", "file_name", "render"]

Format = Literal["markdown", "pdf"]
_ENDINGS: Final = {"markdown": "md", "pdf": "pdf"}
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")


def render(head: str, lines: Iterable[str], format: Format, *, page_limit: int = PAGE_LIMIT) -> bytes:
    """The file at once. head: of the export document, up to its parts; lines: the parts. Raises like PdfWriter."""
    reader = Reader(head)
    if format == "markdown":
        writer = MarkdownWriter(reader)
        return b"".join([writer.opening(), writer.page(lines), writer.closing()])
    pdf = PdfWriter(reader, page_limit=page_limit)
    pdf.page(lines)
    return pdf.closing()


def file_name(title: str, format: Format) -> str:
    """ASCII letters, digits, hyphens and one dot; safe in a header and on every system."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    stem = _NOT_IN_NAMES.sub("-", plain)[:60].strip("-") or "session"
    return f"{stem}.{_ENDINGS[format]}"
