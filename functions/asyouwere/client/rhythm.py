"""When to save: a while after the last change, at the latest a while after the first one that is in no save yet."""

from __future__ import annotations

import time
from dataclasses import dataclass

__all__ = ["Due", "Rhythm"]


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Seconds. debounce: from the last change to saving it; max_wait: from the first unsaved one at the latest; poll:
    between two looks for what others did, None for none."""

    debounce: float = 5.0
    max_wait: float = 30.0
    poll: float | None = 3.0


class Due:
    """When the next save is due. first_change: time.monotonic() of the first change that is in no save yet, None for
    none; is_refused: what there is will not be taken, so the next save waits for a change."""

    def __init__(self, rhythm: Rhythm) -> None:
        self.rhythm = rhythm
        self.first_change: float | None = None
        self.is_refused = False
        self._last_change = 0.0

    def changed(self) -> None:
        """Something has changed just now."""
        now = time.monotonic()
        self._last_change = now
        if self.first_change is None:
            self.first_change = now
        self.is_refused = False

    def seconds(self) -> float | None:
        """Until the next save, below 0 if it is late; None while there is nothing to save."""
        if self.first_change is None or self.is_refused:
            return None
        due = min(self._last_change + self.rhythm.debounce, self.first_change + self.rhythm.max_wait)
        return due - time.monotonic()
