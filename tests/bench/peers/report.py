"""What the rounds gave, as tables (peers.md) and as data for the picture (peers.json)."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.measurements import number, percentile
from tests.bench.peers.rounds import OPERATIONS, Measured
from tests.bench.peers.taking_part import ASYOUWERE

TITLES = {
    "save": "Save one turn",
    "restore": "Restore the latest",
    "restore_old": "Restore an older version",
    "poll": "Poll that finds nothing new",
}
NOTES = """\
A turn is a user's and an assistant's message of 850 characters on average, and the step that the app is at. All sides
saved the same turns into sessions of the same content, one after the other, in another order each lap; each is a Python process of
its own, which times its own calls; JSON is made from objects and parsed into objects on every side. "×" is how many times
as long it took as asyouwere by SQL: the median of the ratios of the same lap, with its p10 and p90; then the median in
milliseconds. "–": the store has no such thing.

- asyouwere: `create_session_snapshot`, `get_snapshot_chunks`, `get_session_changes` by psycopg as a signed-in user under
  row level security. Over HTTP: the functions, with a token, in a server process of their own.
- bare insert: three rows into a table with a primary key; JSONB document: the whole state in one row a turn.
- LangGraph: a graph of one node that answers at once, durability "exit" (one checkpoint a turn, the fastest it has)
  or, where that is said, the default, "async" (three checkpoints a turn, written while the graph goes on);
  only the time inside the saver counts, not the graph's, nor the reading of the state at the beginning of each turn. The delta
  channel has its default of a snapshot every 100 updates. Messages are dicts, or message objects where that is said.
- OpenAI Agents: both items by one `add_items`; it keeps no state besides. Google ADK: two `append_event`, the step as state
  delta; restoring gives `Event` objects where the others give dicts.
- All with pools and prepared statements; other people's as superuser, so without row level security.
- Bytes stored: growth of all tables and indexes after vacuum, all versions kept, divided by the turns.
"""


def write(
    results: Sequence[Measured],
    crowds: Mapping[str, tuple[float, list[float]]],
    versions: Mapping[str, Mapping[str, str]],
    folder: Path,
) -> None:
    """peers.md and peers.json into the folder."""
    packages = {package: found for side in versions.values() for package, found in side.items()}
    lines = ["# asyouwere and other session stores", "", NOTES]
    lines += ["Versions: " + ", ".join(f"{package} {found}" for package, found in packages.items()) + "."]
    for kind in dict.fromkeys(result.kind for result in results):
        of_kind = [result for result in results if result.kind == kind]
        for operation in OPERATIONS:
            lines += _table(
                f"{TITLES[operation]}, {kind}",
                of_kind,
                lambda result, side, o=operation: _times(result, o, side),
            )  # type: ignore[misc]
        lines += _table(
            f"Bytes stored a turn, {kind}", of_kind, lambda result, side: _bytes(result.stored, side)
        )
        lines += _table(
            f"Bytes of write-ahead log a turn, {kind}", of_kind, lambda result, side: _bytes(result.wal, side)
        )
    lines += [
        "",
        "## 16 clients, each with a session of 1,000 messages",
        "",
        "| | turns/s | p50 ms | p99 ms |",
        "|---|---:|---:|---:|",
    ]
    for name, (rate, times) in crowds.items():
        lines.append(
            f"| {name} | {number(rate)} | {number(percentile(times, 50))} | {number(percentile(times, 99))} |"
        )
    (folder / "peers.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = {"versions": packages, "results": [_data(result) for result in results]}
    (folder / "peers.json").write_text(json.dumps(data, indent=1), encoding="utf-8")


def _table(title: str, results: Sequence[Measured], cell: Any) -> list[str]:
    sides = list(dict.fromkeys(side for result in results for side in result.stored))
    heads = " | ".join(f"{result.shape.messages:,} messages" for result in results)
    lines = ["", f"## {title}", "", f"| | {heads} |", "|---" + "|---:" * len(results) + "|"]
    lines += [f"| {side} | " + " | ".join(cell(result, side) for result in results) + " |" for side in sides]
    return lines


def _times(result: Measured, operation: str, side: str) -> str:
    times = list(result.times[operation][side].values())
    if not times:
        return "–"
    ratios = result.ratios(operation, side, ASYOUWERE)
    spread = f"{number(statistics.median(ratios))} × ({number(percentile(ratios, 10))} to {number(percentile(ratios, 90))}), "
    return f"{'' if side == ASYOUWERE else spread}{number(statistics.median(times))} ms"


def _bytes(values: Mapping[str, float], side: str) -> str:
    ratio = "" if side == ASYOUWERE else f"{number(values[side] / values[ASYOUWERE])} ×, "
    return f"{ratio}{values[side]:,.0f}"


def _data(result: Measured) -> dict[str, Any]:
    return {
        "messages": result.shape.messages,
        "kind": result.kind,
        "ms": {
            operation: {side: statistics.median(times.values()) for side, times in sides.items() if times}
            for operation, sides in result.times.items()
        },
        "stored": result.stored,
        "wal": result.wal,
    }
