"""Export documents made the way the database makes them: from the parts of a state."""

from __future__ import annotations

import json
from typing import Any

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


def document_of(state: Any, **session: Any) -> str:
    """The export document of a session with this state; keyword arguments change its session's fields."""
    return document_of_text(parse(encode(state).encode("utf-8", "surrogatepass")), **session)


def document_of_text(state_text: str, **session: Any) -> str:
    """A document from the canonical text of a state. One part more is dead, as in any history."""
    rows = [
        f'[{encode(path)},{item},1,null,"2026-11-20T09:{max(item, 0) % 60:02}:30+00:00",{body}]'
        for (path, item), body in split(state_text).items()
    ]
    rows.append('["/gone/",-1,1,2,"2026-11-20T09:00:00+00:00","a dead part"]')
    return (
        '{"format":"asyouwere-session","version":1,'
        f'"session":{json.dumps({**SESSION, **session})},"snapshots":{json.dumps(SNAPSHOTS)},'
        f'"parts":[{",".join(rows)}]}}'
    )


def conversation_of(*messages: Any) -> str:
    """The export document of a session with these messages and nothing else."""
    return document_of({"messages": list(messages)})
