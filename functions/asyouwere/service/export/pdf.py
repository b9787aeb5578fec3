"""A conversation as a PDF: within limits, made by a process of its own (typesetting.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from typing import Final

from asyouwere.errors import AsYouWereError, RateLimited, TooLarge
from asyouwere.service.export.blocks import ToolResult
from asyouwere.service.export.document import Conversation

__all__ = ["estimated_pages", "render"]

SECONDS: Final = 60
"""How long typesetting may take."""
MEMORY_BYTES: Final = 3_000_000_000
"""Address space the process may have, about twice what it really uses."""
WAIT_SECONDS: Final = 20
"""How long a PDF waits for the one before it. Each takes hundreds of megabytes, so they take turns."""

_ENVIRONMENT: Final = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "PYTHONHOME", "LD_LIBRARY_PATH",
    "ASYOUWERE_FONTS",
)  # fmt: skip
_ONE_AT_A_TIME: Final = threading.Lock()
_LINES_A_PAGE: Final = 48
_COLUMNS: Final = 110
_INSTEAD: Final = "Export Markdown or JSON instead."


def render(conversation: Conversation, *, page_limit: int) -> bytes:
    """The PDF.

    Raises too_large over about ``page_limit`` pages and if it takes too long; rate_limited if another PDF is
    in the making and stays so.
    """
    pages = estimated_pages(conversation, at_most=page_limit)
    if pages > page_limit:
        raise TooLarge("too_large", f"The PDF would have more than {page_limit:,} pages. {_INSTEAD}")
    if not (find_spec("typst") and find_spec("markdown_it")):
        raise AsYouWereError(
            "internal", "PDF export needs the packages typst and markdown-it-py. Install them."
        )
    if not _ONE_AT_A_TIME.acquire(timeout=WAIT_SECONDS):
        raise RateLimited(
            "rate_limited", "Another PDF is being made. Try again shortly.", retry_after=SECONDS // 2
        )
    try:
        return _typeset(conversation)
    finally:
        _ONE_AT_A_TIME.release()


def _typeset(conversation: Conversation) -> bytes:
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "asyouwere.service.export.typesetting", str(SECONDS), str(MEMORY_BYTES)],
            input=json.dumps(asdict(conversation), ensure_ascii=False).encode("utf-8"),
            capture_output=True,
            timeout=SECONDS,
            check=False,
            # The same packages as here, however they got onto the path; nothing secret goes along.
            env={**_harmless_environment(), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    except subprocess.TimeoutExpired:
        raise TooLarge("too_large", f"The PDF takes too long to typeset. {_INSTEAD}") from None
    if done.returncode == 0 and done.stdout.startswith(b"%PDF-"):
        return done.stdout
    if done.returncode < 0 or b"MemoryError" in done.stderr:
        raise TooLarge("too_large", f"The PDF takes too much memory to typeset. {_INSTEAD}")
    # The last line says what went wrong in our template or code; content does not get into it.
    reason = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    raise AsYouWereError("internal", "The PDF could not be made.") from RuntimeError(reason)


def estimated_pages(conversation: Conversation, *, at_most: int = sys.maxsize) -> int:
    """About how many A4 pages it would fill, rather more than fewer; counting stops after ``at_most``."""
    lines = 12.0 + len(conversation.facts)
    for text in _texts(conversation):
        lines += 0.6 + 0.75 * text.count("\n") + len(text) / _COLUMNS
        if lines > at_most * _LINES_A_PAGE:
            break
    return int(lines / _LINES_A_PAGE) + 1


def _texts(conversation: Conversation) -> Iterator[str]:
    for message in conversation.messages:
        yield "\n\n"  # the line with role and time, and the room around it
        for block in message.blocks:
            yield getattr(block, "text", "") or getattr(block, "arguments", "")
            if isinstance(block, ToolResult):
                yield from block.notes
    yield conversation.state


def _harmless_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
