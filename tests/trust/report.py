"""What came of a run: one line for people, a report for the record."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

Say = Callable[[str], None]
"""Told one line about the progress of a long run."""

Figure = int | float | str


@dataclass
class Outcome:
    """A run's figures by what they count, and what did not hold.

    short: the figures' names for the summary, in this order; default all of them.
    """

    name: str
    figures: dict[str, Figure] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    short: tuple[str, ...] = ()

    def count(self, name: str, more: int = 1) -> None:
        """Count one more of these."""
        self.figures[name] = int(self.figures.get(name, 0)) + more

    def require(self, holds: bool, failure: str) -> None:
        """Note a failure unless it holds."""
        if not holds:
            self.failures.append(failure)

    @property
    def held(self) -> bool:
        """Whether everything held."""
        return not self.failures

    def summary(self) -> str:
        """One line."""
        names = self.short or tuple(self.figures)
        counted = ", ".join(
            f"{name} {_written(self.figures[name])}" for name in names if name in self.figures
        )
        verdict = "held" if self.held else f"DID NOT HOLD ({len(self.failures)}): {_line(self.failures[0])}"
        return f"{self.name}: {verdict}: {counted}"


def write(outcome: Outcome, folder: Path) -> Path:
    """Write <name>.json and <name>.md; the path of the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {**asdict(outcome), "held": outcome.held}
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / f"{outcome.name}.json").write_text(text + "\n", encoding="utf-8")
    lines = [f"# {outcome.name}", "", outcome.summary(), "", "| what | figure |", "|---|---:|"]
    lines += [f"| {name} | {_written(figure)} |" for name, figure in outcome.figures.items()]
    lines += ["", *(f"- {name}: {fact}" for name, fact in outcome.facts.items())]
    if outcome.failures:
        lines += ["", "## What did not hold", ""]
        lines += [f"```text\n{failure}\n```" for failure in outcome.failures]
    path = folder / f"{outcome.name}.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def spoken(seconds: float) -> str:
    """A time for people: "40 s", "12 min", "1 h 5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _written(figure: Figure) -> str:
    return (
        f"{figure:,}" if isinstance(figure, int) else f"{figure:.1f}" if isinstance(figure, float) else figure
    )


def _line(text: str) -> str:
    first = text.strip().splitlines()[0] if text.strip() else "?"
    return first if len(first) <= 200 else first[:199] + "…"
