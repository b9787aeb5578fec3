"""When a budget comes to its end: told once at 80 %, and once when it is used up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyouwere.client.events import Events
    from asyouwere.client.transport import Row

__all__ = ["Budgets"]

WARNING: Final = 0.8


class Budgets:
    """How much of the budgets that one hears of is used."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._levels: dict[str, int] = {}

    def heard(self, row: Row) -> Row:
        """Tell the event ``budget`` where more is used than was known: of the session's, of the owner's."""
        for whose, prefix in (("session", ""), ("user", "user_")):
            used: float | None = row.get(f"{prefix}used")
            level = 0 if used is None else int(used >= WARNING) + int(used >= 1)
            if used is not None and level > self._levels.get(whose, 0):
                cost, budget = row[f"{prefix}cost"], row[f"{prefix}budget"]
                self._events.tell("budget", of=whose, cost=cost, budget=budget, used=used, is_over=used >= 1)
            self._levels[whose] = level
        return row
