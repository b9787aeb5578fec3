"""Measuring two things side by side, and what comes out.

Both are run in turn, one call each (ABBA …), so that whatever else the machine does hits both alike; what
counts is the median of the ratios of neighbours. A time from a busy machine says nothing, such a ratio does.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

Action = Callable[[int], object]
"""Does one round; the argument is the number of the round, from 0."""

WARM_UP = 12  # more than the five plans that Postgres makes for a statement before it settles for one


@dataclass(frozen=True)
class Target:
    """What a figure should be: at most, or at least, this."""

    limit: float
    at_least: bool = False

    def met_by(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {number(self.limit)}"


@dataclass(frozen=True)
class Figure:
    """One line of the report.

    value: in `unit` ("×" is a ratio). low, high: the 10th and 90th percentile, if there is a spread.
    detail: what was divided by what, or what else is worth knowing.
    """

    group: str
    name: str
    value: float
    unit: str
    target: Target | None = None
    low: float | None = None
    high: float | None = None
    samples: int = 0
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if there is none."""
        return None if self.target is None else self.target.met_by(self.value)


@dataclass(frozen=True)
class Comparison:
    """Times of two actions run in turn, in milliseconds, one pair a round."""

    ours: list[float]
    floor: list[float]

    @property
    def ratios(self) -> list[float]:
        return [ours / floor for ours, floor in zip(self.ours, self.floor, strict=True)]

    def figure(self, group: str, name: str, target: Target | None, detail: str) -> Figure:
        """The median ratio, with the medians of both times in the detail."""
        ratios = self.ratios
        times = f"{milliseconds(self.ours)} against {milliseconds(self.floor)}"
        return Figure(
            group,
            name,
            statistics.median(ratios),
            "×",
            target,
            percentile(ratios, 10),
            percentile(ratios, 90),
            len(ratios),
            f"{times}; {detail}",
        )


def compare(ours: Action, floor: Action, rounds: int, warm_up: int = WARM_UP) -> Comparison:
    """Run both in turn; who comes first changes every round."""
    for lap in range(warm_up):
        ours(lap)
        floor(lap)
    times: tuple[list[float], list[float]] = ([], [])
    with undisturbed():
        for lap in range(warm_up, warm_up + rounds):
            turns = ((0, ours), (1, floor)) if lap % 2 else ((1, floor), (0, ours))
            for which, action in turns:
                times[which].append(timed(action, lap))
    return Comparison(*times)


def timed(action: Action, lap: int) -> float:
    """Milliseconds of one call."""
    begin = time.perf_counter_ns()
    action(lap)
    return (time.perf_counter_ns() - begin) / 1e6


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Python's garbage collector out of the timing."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def milliseconds(times: Sequence[float]) -> str:
    """The median as a person reads it: 0.84 ms."""
    return f"{number(statistics.median(times))} ms"


def number(value: float) -> str:
    """Three digits that matter; thousands with commas."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}".removesuffix(".0")
    if value == round(value, 1):
        return f"{value:g}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"
