"""What the demo measures while it plays: times in milliseconds, sizes in bytes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SavePoint:
    """One turn, saved both ways at this many messages. Times include writing the JSON."""

    messages: int
    asyouwere_ms: float
    document_ms: float
    sent_bytes: int
    whole: bool = False


@dataclass(frozen=True)
class StoragePoint:
    """What is on disk after this many messages, indexes included, and the JSON text of the latest state."""

    messages: int
    asyouwere_bytes: int
    document_bytes: int
    json_bytes: int


@dataclass
class Answer:
    """An answer that was streamed. Times in seconds since it began.

    flushed, read: when each chunk was sent, and when the reader had it, by number; reloaded, killed, back: when the
    reader loaded the page again, when the functions were killed, when they were there again.
    """

    flushed: dict[int, float] = field(default_factory=dict)
    read: dict[int, float] = field(default_factory=dict)
    flushes_ms: list[float] = field(default_factory=list)
    reloaded: float = 0.0
    killed: float = 0.0
    back: float = 0.0

    def lags_ms(self) -> list[float]:
        """From flush to reader, of each chunk that was not under way while the functions were down."""
        return [
            (at - self.flushed[seq]) * 1000
            for seq, at in self.read.items()
            if seq in self.flushed and not (self.flushed[seq] < self.back and at > self.killed)
        ]


@dataclass
class Measurements:
    """Everything that the table and the picture show. ``crashes`` holds the message counts of the kills."""

    saves: list[SavePoint] = field(default_factory=list)
    storage: list[StoragePoint] = field(default_factory=list)
    restores_ms: list[float] = field(default_factory=list)
    crashes: list[int] = field(default_factory=list)
    versions_json_bytes: int = 0
    answer: Answer = field(default_factory=Answer)

    def changes_ms(self) -> list[float]:
        return [point.asyouwere_ms for point in self.saves if not point.whole]

    def whole_ms(self) -> list[float]:
        return [point.asyouwere_ms for point in self.saves if point.whole]

    def documents_ms(self) -> list[float]:
        return [point.document_ms for point in self.saves]


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent of the values do not exceed (nearest rank). 0.0 for no values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def running_median(values: Sequence[float], window: int = 25) -> list[float]:
    """The median of the values around each value; fewer at both ends."""
    half = window // 2
    return [statistics.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]
