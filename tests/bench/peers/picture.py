"""The picture of the comparison: time of a save and bytes stored, against the size of the session.

.venv/bin/python -m tests.bench --only peers --pictures docs
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyouwere.local.demo.picture import (
    ASYOUWERE,
    DARK,
    DOCUMENTS,
    INK,
    MUTED,
    following_colour_scheme,
    human_bytes,
)
from tests.bench.measurements import number
from tests.bench.peers import taking_part
from tests.bench.pictures import STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KIND = "text"
LANGGRAPH, OPENAI, ADK = "#8250df", "#1a7f37", "#bf8700"
LINES: dict[str, tuple[str, str, Any]] = {
    taking_part.ASYOUWERE: ("asyouwere by SQL", ASYOUWERE, "-"),
    taking_part.OVER_HTTP: ("asyouwere over HTTP", ASYOUWERE, (0, (4, 2))),
    taking_part.FLOOR: ("bare insert", MUTED, (0, (1, 2))),
    taking_part.DOCUMENT: ("a jsonb document", DOCUMENTS, "-"),
    taking_part.PLAIN: ("LangGraph", LANGGRAPH, "-"),
    taking_part.DELTA: ("LangGraph, delta channel", LANGGRAPH, (0, (4, 2))),
    taking_part.OPENAI: ("OpenAI Agents", OPENAI, "-"),
    taking_part.ADK: ("Google ADK", ADK, "-"),
}
"""What each line is called and looks like."""
DARK_LINES = {**DARK, LANGGRAPH: "#ab7df8", OPENAI: "#3fb950", ADK: "#d29922"}


def draw(data: Path, folder: Path) -> Path:
    """Write peers.svg into the folder from the peers.json of a run; return its path."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it reports fonts it has no "medium" of
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    results = [result for result in json.loads(data.read_text())["results"] if result["kind"] == KIND]
    counts = [result["messages"] for result in results]
    path = folder / "peers.svg"
    with pyplot.rc_context(STYLE):  # type: ignore[arg-type,unused-ignore]
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.6))
        times = {name: [result["ms"]["save"].get(name) for result in results] for name in LINES}
        _panel(
            left,
            counts,
            times,
            "Time to save one turn",
            "median, log scale · LangGraph: one checkpoint a turn",
            lambda ms: f"{number(ms)} ms",
        )
        stored = {
            name: [result["stored"].get(name) for result in results]
            for name in LINES
            if name != taking_part.OVER_HTTP
        }
        _panel(
            right,
            counts,
            stored,
            "Stored for one turn",
            "all versions kept, with indexes, log scale",
            _size,
        )
        figure.subplots_adjust(left=0.055, right=0.79, top=0.85, bottom=0.12, wspace=1.1)
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)
    path.write_text(following_colour_scheme(path.read_text(encoding="utf-8"), DARK_LINES), encoding="utf-8")
    return path


def _size(size: float) -> str:
    return human_bytes(size, digits=0 if size >= 10_000 else 1)


def _panel(
    axes: Axes,
    counts: list[int],
    lines: dict[str, list[float]],
    title: str,
    subtitle: str,
    written: Callable[[float], str],
) -> None:
    for side, values in lines.items():
        _, colour, dashes = LINES[side]
        axes.plot(counts, values, color=colour, linestyle=dashes, linewidth=2.2, marker="o", markersize=3.5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=INK, pad=22)
    axes.text(0, 1.035, subtitle, transform=axes.transAxes, fontsize=9, color=MUTED)
    axes.set_xlabel("messages in the session, log scale")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: written(value))
    axes.set_xticks(counts)
    axes.grid(True, axis="y")
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0)
    axes.minorticks_off()
    axes.spines[["top", "right", "left"]].set_visible(False)
    bottom, top = (math.log(limit) for limit in axes.get_ylim())
    placed = -1.0
    for side, values in sorted(lines.items(), key=lambda line: line[1][-1]):
        name, colour, _ = LINES[side]
        placed = max((math.log(values[-1]) - bottom) / (top - bottom), placed + 0.062)
        place = {"transform": axes.transAxes, "va": "center", "fontsize": 9, "fontweight": "medium"}
        axes.text(1.03, placed, f"{name}, {written(values[-1])}", color=colour, **place)
