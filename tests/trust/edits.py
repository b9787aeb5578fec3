"""What an app does to its state, at random: the same for clients of any language."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal

TOPICS = ("tea", "rain", "Kyoto", "null", "-0")
PIECES = (".", "…", "🙂", "\ud800")

Kind = Literal["append", "grow", "topic", "forget", "board", "scratch", "pop", "step"]


@dataclass(frozen=True)
class Edit:
    """kind: what; id, piece: of a message; name, value: of what has a name. by_call: by a function of the client's, where
    there is another way."""

    kind: Kind
    id: str = ""
    piece: str = ""
    name: str = ""
    value: Any = None
    by_call: bool = False


class Author:
    """Who makes them up. name: begins the ids of its messages; wrote: all messages of all authors, as they were last
    written."""

    def __init__(self, name: str, chance: random.Random, wrote: dict[str, str]) -> None:
        self.name = name
        self.wrote = wrote
        self._chance = chance
        self._count = 0
        self._open: str | None = None

    def new_id(self) -> str:
        """For a message that nobody else makes."""
        self._count += 1
        return f"{self.name} {self._count}"

    def next(self) -> Edit:
        """Any edit; a message that is appended counts as written."""
        chance, what = self._chance, self._chance.random()
        if what < 0.35 and self._open is not None:
            return Edit("grow", id=self._open, piece=chance.choice(PIECES))
        if what < 0.6:
            self._open = self.new_id()
            self.wrote[self._open] = self._open
            return Edit("append", id=self._open, by_call=chance.random() < 0.5)
        if what < 0.75:
            return Edit("topic", name=chance.choice("abc"), value=chance.choice(TOPICS))
        if what < 0.82:
            return Edit("forget", name=chance.choice("abc"))
        if what < 0.9:
            return Edit("board", name=chance.choice("xy"), value=self._count)
        if what < 0.95:
            return Edit("scratch", value=self._count)
        return Edit("pop" if what < 0.975 else "step")
