"""Export documents made the way the database makes them: from the parts of a state."""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

from asyouwere.service import export
from asyouwere.service.export.document import Conversation
from asyouwere.service.export.document import read as read_pages
from asyouwere.state.exact_json import encode, parse
from asyouwere.state.tree import split

SESSION: dict[str, Any] = {
    "id": "01938d3a-0000-7000-8000-000000000001",
    "name": "A test",
    "model": "model-9",
    "kind": "agent",
    "status": "idle",
    "created_at": "2026-11-20T08:59:00.123456+00:00",
    "size_bytes": 954321,
}
SNAPSHOTS: list[dict[str, Any]] = [
    {"number": 3, "label": None, "size_bytes": 120, "created_at": "2026-11-20T09:01:00+00:00"},
    {
        "number": 1204,
        "label": "before the refactor",
        "size_bytes": 954321,
        "created_at": "2026-11-21T10:01:00+00:00",
    },
]


class Document(NamedTuple):
    """What the pages of an export hold: the beginning of the document, and its parts."""

    head: str
    lines: list[str]


def render(document: Document, format: Literal["markdown", "pdf"], **limits: Any) -> bytes:
    """The file of a document."""
    return export.render(document.head, document.lines, format, **limits)


def read(document: Document) -> Conversation:
    """The conversation in a document."""
    return read_pages(document.head, document.lines)


def document_of(state: Any, **session: Any) -> Document:
    """The export document of a session with this state; keyword arguments change its session's fields."""
    return document_of_text(parse(encode(state).encode("utf-8", "surrogatepass")), **session)


def document_of_text(state_text: str, **session: Any) -> Document:
    """A document from the canonical text of a state. One part more is dead, as in any history."""
    parts = split(state_text)
    rows = [
        f'[{encode(path)},{item},1,null,"2026-11-20T09:{max(item, 0) % 60:02}:30+00:00",{body}]'
        for (path, item), body in sorted(parts.items(), key=lambda part: (part[0][0].encode(), part[0][1]))
    ]
    rows.append('["/gone/",-1,1,2,"2026-11-20T09:00:00+00:00","a dead part"]')
    count = sum(path == "/messages/" and item >= 0 for path, item in parts)
    head = (
        '{"format":"asyouwere-session","version":1,'
        f'"session":{json.dumps({**SESSION, "message_count": count, **session})},'
        f'"snapshots":{json.dumps(SNAPSHOTS)},"parts":['
    )
    return Document(head, rows)


def conversation_of(*messages: Any) -> Document:
    """The export document of a session with these messages and nothing else."""
    return document_of({"messages": list(messages)})
