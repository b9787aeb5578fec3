"""What the doctor says about one thing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True)
class Finding:
    """One line: the check's stable name, how bad it is, what is so, and what to do about it ("" if nothing).

    skip: it was not looked at, and the message says why; nothing is known of it, good or bad.

    Neither text holds a secret: they name settings, roles and objects; no passwords, no tokens.
    """

    check: str
    level: Level
    message: str
    advice: str = ""

    def __str__(self) -> str:
        advice = f"\n{'':24}→ {self.advice}" if self.advice else ""
        return f"{self.level:<5} {self.check:<17} {self.message}{advice}"

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def some(names: list[str], most: int = 5) -> str:
    """A list for a sentence, cut short."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
