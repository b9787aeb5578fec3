"""What the demo prints: a story while it runs, tables at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from asyouwere.local.demo.checks import Guarantees
from asyouwere.local.demo.conversation import Script
from asyouwere.local.demo.measurements import Measurements, percentile
from asyouwere.local.demo.picture import human_bytes

WIDTH = 110  # where the output is no terminal
MOST_ROWS = 8  # of a difference


def console() -> Console:
    """For standard output; without colours and with a fixed width where that is no terminal."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDTH)


def progress(to: Console) -> Progress:
    """A bar that stays when it is full."""
    return Progress(
        TextColumn("     {task.description:<36}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=to,
    )


def tell(to: Console, line: str) -> None:
    """A sentence of the story, indented."""
    to.print(Padding(line, (0, 0, 0, 6)))


def act(to: Console, number: int, title: str) -> None:
    to.print(f"\n[bold]{number}[/]  [bold]{title}[/]")


def introduction(to: Console, script: Script) -> None:
    calls = sum(len(message.get("tool_calls", ())) for message in script.messages)
    tell(
        to,
        f"{len(script.messages)} messages with {calls} tool calls, in {script.languages} languages, "
        f"saved in {len(script.steps)} turns over HTTP.",
    )


def differences(to: Console, rows: list[dict[str, Any]]) -> None:
    """The rows of a diff, values cut to what fits."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), header_style="dim")
    for title in ("", "address", "before", "after"):
        table.add_column(title, no_wrap=True, overflow="ellipsis", max_width=36)
    signs = {"added": "[green]+[/]", "removed": "[red]-[/]", "changed": "[yellow]~[/]"}
    for row in rows[:MOST_ROWS]:
        before, after = (_cut(row[key]) for key in ("before", "after"))
        if row["change"] == "added":
            before = ""
        if row["change"] == "removed":
            after = ""
        table.add_row(signs[row["change"]], escape(row["address"]), escape(before), escape(after))
    to.print(Padding(table, (0, 0, 0, 4)))
    if len(rows) > MOST_ROWS:
        tell(to, f"… and {len(rows) - MOST_ROWS} more")


def clean_up(to: Console, cleaned: dict[str, Any], kept: int) -> None:
    tell(
        to,
        f"The newest {kept} were to stay. Removed: {cleaned['snapshots']} snapshots, and with them "
        f"{cleaned['parts']} parts ({human_bytes(cleaned['bytes'])} of JSON) that no other version needs.",
    )


def numbers(to: Console, measured: Measurements, replaced: int) -> None:
    """Times and sizes, next to those of whole documents."""
    changes, whole, documents = measured.changes_ms(), measured.whole_ms(), measured.documents_ms()
    tenth = max(1, len(changes) // 10)
    last = measured.storage[-1]

    table = Table(box=box.ROUNDED, header_style="bold", title_justify="left", padding=(0, 1))
    table.add_column("")
    table.add_column("asyouwere", justify="right", style="cyan")
    table.add_column("whole documents", justify="right")
    table.add_column("", style="dim")
    table.add_row(
        "a save, p50", _ms(percentile(changes, 50)), _ms(percentile(documents, 50)), "the changes of a turn"
    )
    table.add_row("a save, p99", _ms(percentile(changes, 99)), _ms(percentile(documents, 99)))
    table.add_row(
        "the first tenth, p50", _ms(percentile(changes[:tenth], 50)), _ms(percentile(documents[:tenth], 50))
    )
    table.add_row(
        "the last tenth, p50", _ms(percentile(changes[-tenth:], 50)), _ms(percentile(documents[-tenth:], 50))
    )
    if whole:
        table.add_row("a whole state, p50", _ms(percentile(whole, 50)), "", f"{len(whole)} of the saves")
    table.add_row("a restore, p50", _ms(percentile(measured.restores_ms, 50)), "", "every version, once")
    table.add_row("a restore, p99", _ms(percentile(measured.restores_ms, 99)), "")
    answer = measured.answer
    table.add_row("a chunk flushed, p50", _ms(percentile(answer.flushes_ms, 50)), "", "of an answer while it is made")
    table.add_row(
        "until it is read, p50", _ms(percentile(answer.lags_ms(), 50)), "", "a look every 200 ms", end_section=True
    )
    table.add_row(
        "on disk, all versions",
        human_bytes(last.asyouwere_bytes),
        human_bytes(last.document_bytes),
        "with indexes",
    )
    versions = measured.versions_json_bytes
    table.add_row(
        f"of {human_bytes(versions)} JSON",
        f"{last.asyouwere_bytes / versions:.1%}",
        f"{last.document_bytes / versions:.1%}",
        "all versions written out",
    )
    table.add_row(
        f"of {human_bytes(last.json_bytes)} JSON",
        f"{last.asyouwere_bytes / last.json_bytes:.1f} ×",
        f"{last.document_bytes / last.json_bytes:.1f} ×",
        "the latest state alone",
    )
    sent = sum(point.sent_bytes for point in measured.saves)
    table.add_row("sent by the app", human_bytes(sent), human_bytes(versions), "over the whole conversation")
    to.print(table)
    to.print(
        "[dim]asyouwere: over HTTP, with token, access check and idempotency key, from the app and back. "
        "Whole documents: one jsonb row a save, by SQL on an open connection, right after, in the same "
        "Postgres. "
        f"jsonb cannot hold {replaced} of the messages as they are; they were altered for it.[/]"
    )


def guarantees(to: Console, found: Guarantees) -> None:
    """A line for each guarantee, and below it what is wrong with it."""
    table = Table(box=box.ROUNDED, show_header=False, padding=(0, 1))
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column(style="dim")
    for title in found.titles:
        problems = found.problems(title)
        mark = "[bold red]✗[/]" if problems else "[bold green]✓[/]"
        table.add_row(mark, title, escape(found.evidence(title)))
        for problem in problems:
            table.add_row("", f"[red]{escape(problem)}[/]", "")
    to.print(table)


def ending(
    to: Console, found: Guarantees, pictures: tuple[Path, Path], data: Path | None, seconds: float
) -> None:
    failed = sum(bool(found.problems(title)) for title in found.titles)
    verdict = (
        f"[bold red]{failed} of {len(found.titles)} did not hold[/]" if failed else "[bold green]All held[/]"
    )
    to.print(f"\n{verdict}, in {seconds:.0f} seconds.")
    to.print(f"Picture  {pictures[0]}\n         {pictures[1]}", soft_wrap=True)
    if data is not None:
        to.print(f"Data     {data}", soft_wrap=True)


def _ms(value: float) -> str:
    return f"{value:.1f} ms"


def _cut(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text.encode(errors="backslashreplace").decode()[:80]
