"""Examples of every operation: one story, told in the order in which its requests work.

`examples.json` holds it. A test sends every request to the functions and compares what comes back.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Example", "examples", "story"]


@dataclass(frozen=True, slots=True)
class Example:
    """A request and its response.

    operation: the operation's id; name: of this example among those of the operation; by: who sends it: "ada",
    "bob", "guest" (not signed up) or "service"; path, query: the parameters; request, response: the
    bodies, None without one.
    """

    operation: str
    name: str
    status: int
    by: str = "ada"
    path: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    request: Any = None
    response: Any = None


@functools.cache
def story() -> list[Example]:
    """All examples, in their order."""
    text = Path(__file__).with_name("examples.json").read_text(encoding="utf-8")
    return [Example(**entry) for entry in json.loads(text)]


def examples(operation: str) -> list[Example]:
    """Those of one operation."""
    return [example for example in story() if example.operation == operation]
