"""What is saved: messages of real prose and code, or of letters that no compression makes smaller.

The prose is what Python brings along (`pydoc_data.topics`, its language reference), cut at random places.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Sequence
from functools import cache

ROLES = ("user", "assistant", "tool")
MEAN_CHARACTERS = 850
LARGEST = 6_000


class Messages:
    """An endless supply of messages as JSON text, the same for the same seed.

    mean: characters of content; lengths differ as they do in conversations, from a few words to some pages.
    compressible: real text (default), or random base64 letters.
    """

    def __init__(self, seed: int = 1, *, mean: int = MEAN_CHARACTERS, compressible: bool = True) -> None:
        self._random = random.Random(seed)
        self._mean = mean
        self._compressible = compressible
        self._count = 0

    def __call__(self) -> str:
        """The next message, about 50 bytes longer than its content."""
        length = min(LARGEST, max(20, round(self._random.expovariate(1 / self._mean))))
        role = ROLES[self._count % len(ROLES)]
        self._count += 1
        return compact({"role": role, "content": self._content(length)})

    def take(self, count: int) -> list[str]:
        """So many messages."""
        return [self() for _ in range(count)]

    def _content(self, length: int) -> str:
        if not self._compressible:
            return base64.b64encode(self._random.randbytes(length)).decode()[:length]
        text = _prose()
        begin = self._random.randrange(len(text) - length)
        return text[begin : begin + length]


@cache
def _prose() -> str:
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))


def compact(value: object) -> str:
    """JSON text as asyouwere keeps it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def state_text(messages: list[str], step: int = 0) -> str:
    """The JSON text of a session's state: messages, a step, and a small memory."""
    return (
        f'{{"step":{step},"memory":{{"board":{{"topic":"benchmarks","round":{step}}},"facts":[1,2,3]}},'
        f'"messages":[{",".join(messages)}]}}'
    )


def array(values: Sequence[str] | Sequence[int]) -> str:
    """A PostgreSQL array as text: parameters cost the driver the same on both sides of a comparison."""
    items = (
        str(value) if isinstance(value, int) else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for value in values
    )
    return "{" + ",".join(items) + "}"
