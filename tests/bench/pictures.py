"""The two pictures of a growing session, as SVG that follows the reader's colour scheme.

make bench BENCH="--only growing --pictures docs"
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyouwere.local.demo.measurements import running_median
from asyouwere.local.demo.picture import (
    ASYOUWERE,
    DOCUMENTS,
    GRID,
    INK,
    MUTED,
    PAPER,
    TEXT,
    following_colour_scheme,
    human_bytes,
)
from tests.bench.growing import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE: dict[str, Any] = {
    **TEXT,
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
}


def draw(points: Sequence[Point], folder: Path) -> list[Path]:
    """Write bench-time.svg and bench-storage.svg into the folder; return their paths."""
    return [
        _draw(
            folder / "bench-time.svg",
            points,
            "Time of one save",
            running_median([point.asyouwere_ms for point in points]),
            running_median([point.document_ms for point in points]),
            lambda value: f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms",
        ),
        _draw(
            folder / "bench-storage.svg",
            points,
            "Stored, every version kept",
            [point.asyouwere_bytes for point in points],
            [point.document_bytes for point in points],
            lambda value: human_bytes(value, digits=1 if value < 1e7 else 0),
        ),
    ]


def _draw(
    path: Path,
    points: Sequence[Point],
    title: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    written: Callable[[float], str],
) -> Path:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    counts = [point.messages for point in points]
    with pyplot.rc_context(STYLE):  # type: ignore[arg-type,unused-ignore]
        figure, axes = pyplot.subplots(figsize=(5.6, 3.1))
        for values, colour, name in (
            (theirs, DOCUMENTS, "a whole jsonb\ndocument a save"),
            (ours, ASYOUWERE, "asyouwere"),
        ):
            axes.plot(counts, values, color=colour, linewidth=2.2)
            label = f"{name}\n{written(values[-1])}"
            place = {"transform": axes.get_yaxis_transform(), "va": "center", "color": colour}
            axes.text(1.02, values[-1], label, fontweight="medium", **place)
        _frame(axes, title, counts[-1], max(max(ours), max(theirs)), written)
        figure.subplots_adjust(left=0.115, right=0.79, top=0.89, bottom=0.15)
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)
    path.write_text(following_colour_scheme(path.read_text(encoding="utf-8")), encoding="utf-8")
    return path


def _frame(axes: Axes, title: str, last: int, top: float, written: Callable[[float], str]) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    axes.set_xlabel("messages in the session, one save for each")
    axes.set_xlim(0, last)
    axes.set_ylim(0, top * 1.04)
    axes.yaxis.set_major_formatter(lambda value, _: written(value) if value else "0")
    axes.grid(True, axis="y")
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
