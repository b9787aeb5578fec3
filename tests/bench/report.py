"""The figures as a table for the terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.bench.measurements import Figure, number

NOTES = """\
"×" is a ratio: the median of the ratios of neighbouring calls, made in turn (ABBA …), one pair a round. p10
to p90 is the spread of those ratios; a wide one says that the machine was busy with other things. Postgres
flushes every commit to the disk. Calls are made as a signed-in user (role, claims, row level security) with
psycopg, autocommit, prepared; arguments cost the driver the same on both sides. A ratio to a bare insert is
larger the faster the disk is: both sides wait for its flush, which says nothing of either."""


def print_table(figures: Sequence[Figure], console: Console) -> None:
    """The table for the terminal; the details stay in the report."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("")
    table.add_column("measured", justify="right")
    table.add_column("p10 to p90", justify="right", style="dim")
    table.add_column("target", justify="right")
    table.add_column("")
    for group, members in _groups(figures):
        table.add_row(Text(group, style="bold"))
        for figure in members:
            met = {None: Text(""), True: Text("met", style="green"), False: Text("missed", style="red")}[
                figure.met
            ]
            table.add_row(
                "  " + figure.name, _measured(figure), _spread(figure), str(figure.target or ""), met
            )
    console.print(table)


def write(figures: Sequence[Figure], facts: dict[str, str], folder: Path) -> tuple[Path, Path]:
    """Write report.md and report.json; return both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    markdown, data = folder / "report.md", folder / "report.json"
    markdown.write_text(_markdown(figures, facts), encoding="utf-8")
    content = {"facts": facts, "figures": [{**asdict(figure), "met": figure.met} for figure in figures]}
    data.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return markdown, data


def summary(figures: Iterable[Figure]) -> str:
    """How many targets are met."""
    judged = [figure for figure in figures if figure.met is not None]
    return f"{sum(figure.met is True for figure in judged)} of {len(judged)} targets met"


def _markdown(figures: Sequence[Figure], facts: dict[str, str]) -> str:
    lines = ["# asyouwere: what it costs", "", NOTES, ""]
    lines += [f"- {name}: {fact}" for name, fact in facts.items()]
    for group, members in _groups(figures):
        lines += ["", f"## {group}", "", "| what | measured | p10 to p90 | target | | against, and details |"]
        lines.append("|---|---:|---:|---:|---|---|")
        for figure in members:
            met = {None: "", True: "met", False: "**missed**"}[figure.met]
            cells = (
                figure.name,
                _measured(figure),
                _spread(figure),
                str(figure.target or ""),
                met,
                figure.detail,
            )
            lines.append("| " + " | ".join(cells) + " |")
    lines += ["", summary(figures) + "."]
    return "\n".join(lines) + "\n"


def _groups(figures: Sequence[Figure]) -> list[tuple[str, list[Figure]]]:
    return [(group, list(members)) for group, members in groupby(figures, key=lambda figure: figure.group)]


def _measured(figure: Figure) -> str:
    space = "" if figure.unit in ("", "×") or figure.unit.startswith("/") else " "
    return f"{number(figure.value)}{space}{figure.unit}"


def _spread(figure: Figure) -> str:
    return (
        "" if figure.low is None or figure.high is None else f"{number(figure.low)} to {number(figure.high)}"
    )
