"""A conversation as a PDF: within limits, made by a process of its own (typesetting.py)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from importlib.util import find_spec
from typing import Final

from asyouwere.errors import AsYouWereError, TooLarge
from asyouwere.service.export.blocks import ToolCall, ToolResult
from asyouwere.service.export.document import Conversation, Message, Reader

__all__ = ["PAGE_LIMIT", "PdfWriter"]

SECONDS: Final = 60
"""How long typesetting may take."""
MEMORY_BYTES: Final = 320 << 20
"""Memory the process may have, so that it and the function that waits for it stay below 512 MiB together."""
PAGE_LIMIT: Final = 150
"""Pages a PDF may have, estimated before it is made. So many take about 5 s and 150 to 270 MB of memory."""

WIDE_LIMIT: Final = 400_000
"""East Asian characters and emoji a PDF may have: each takes 40 µs to typeset, ten times a Latin letter."""

_ENVIRONMENT: Final = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "PYTHONHOME", "LD_LIBRARY_PATH",
    "ASYOUWERE_FONTS",
)  # fmt: skip
_LINES_A_PAGE: Final = 48
_COLUMNS: Final = 110
# Take two columns of the page.
_WIDE: Final = re.compile("[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\uff00-\uff60\U0001f000-\U0003ffff]+")
_INSTEAD: Final = "Export Markdown or JSON instead."


class PdfWriter:
    """Collects a conversation page by page, then has it typeset."""

    def __init__(self, reader: Reader, *, page_limit: int = PAGE_LIMIT) -> None:
        if not (find_spec("typst") and find_spec("markdown_it")):
            raise AsYouWereError(
                "internal", "PDF export needs the packages typst and markdown-it-py. Install them."
            )
        self._reader = reader
        self._limit = page_limit
        self._lines = 12.0 + len(reader.facts)
        self._wide = 0
        self._messages: list[Message] = []

    def page(self, lines: Iterable[str]) -> None:
        """Take the messages among some parts. Raises too_large as soon as there are too many."""
        for message in self._reader.messages(lines):
            self._messages.append(message)
            self._add(_texts(message))

    def closing(self) -> bytes:
        """The PDF. Takes seconds for a long one.

        Raises too_large over about ``page_limit`` pages and if it takes too long or too much memory.
        """
        state = self._reader.state()
        self._add([state])
        conversation = Conversation(self._reader.title, self._reader.facts, tuple(self._messages), state)
        self._messages = []
        return _typeset(conversation)

    @property
    def estimated_pages(self) -> int:
        """About how many A4 pages it would fill so far, rather more than fewer."""
        return int(self._lines / _LINES_A_PAGE) + 1

    def _add(self, texts: Iterable[str]) -> None:
        for text in texts:
            wide = 0 if text.isascii() else len(text) - len(_WIDE.sub("", text))
            self._wide += wide
            self._lines += 0.6 + 0.75 * text.count("\n") + (len(text) + wide) / _COLUMNS
            if self._wide > WIDE_LIMIT:
                raise TooLarge(
                    "too_large",
                    f"The PDF would have more than {WIDE_LIMIT:,} East Asian characters. {_INSTEAD}",
                )
            if self.estimated_pages > self._limit:
                raise TooLarge(
                    "too_large", f"The PDF would have more than {self._limit:,} pages. {_INSTEAD}"
                )


def _typeset(conversation: Conversation) -> bytes:
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "asyouwere.service.export.typesetting", str(SECONDS), str(MEMORY_BYTES)],
            input=json.dumps(asdict(conversation), ensure_ascii=False).encode("utf-8"),
            capture_output=True,
            timeout=SECONDS,
            check=False,
            # The same packages as here, however they got onto the path; nothing secret goes along. One thread: more
            # would take the processor from the saves beside it, and memory for each.
            env={
                **_harmless_environment(),
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "RAYON_NUM_THREADS": "1",
            },
            creationflags=getattr(subprocess, "IDLE_PRIORITY_CLASS", 0),  # Windows; typesetting.py does it elsewhere
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


def _texts(message: Message) -> Iterator[str]:
    yield "\n\n"  # the line with role and time, and the room around it
    for block in message.blocks:
        yield block.arguments if isinstance(block, ToolCall) else block.text
        if isinstance(block, ToolResult):
            yield from block.notes


def _harmless_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
