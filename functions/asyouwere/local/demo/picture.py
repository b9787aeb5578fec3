"""The picture of the demo: the time of a save and the storage, against the number of messages; below them an answer
while it is made.

`draw` writes the same picture as PNG (on white) and as SVG. The SVG follows the reader's colour scheme, so it
reads well on a light and on a dark page.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyouwere.local.demo.measurements import Answer, Measurements, running_median

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAPER, INK, MUTED, GRID = "#ffffff", "#1f2328", "#59636e", "#d1d9e0"
ASYOUWERE, DOCUMENTS = "#0a7ea4", "#d9622b"

TEXT: dict[str, Any] = {
    # The first is what matplotlib measures with, the others are as wide where a reader has not got it.
    "font.family": ["DejaVu Sans", "Verdana", "sans-serif"],
    # Text stays text: screen readers read it, a search finds it, a change of a name shows in a diff.
    "svg.fonttype": "none",
    "svg.hashsalt": "asyouwere",  # the same measurements give the same file
}
"""What every picture's text is like."""

DARK = {
    PAPER: "#0d1117",
    INK: "#f0f6fc",
    MUTED: "#9198a1",
    GRID: "#3d444d",
    ASYOUWERE: "#4cc3e8",
    DOCUMENTS: "#ff9360",
}
"""What each colour becomes on a dark page."""


def draw(measured: Measurements, folder: Path) -> tuple[Path, Path]:
    """Write demo.png and demo.svg into the folder, which must exist; return both paths."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it reports a font cache on first use
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style: dict[str, Any] = {
        **TEXT,
        "font.size": 10,
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
    with pyplot.rc_context(style):  # type: ignore[arg-type,unused-ignore]  # newer ones list every name
        figure = pyplot.figure(figsize=(11, 7.6))
        _times(figure.add_axes((0.04, 0.46, 0.31, 0.445)), measured)
        _storage(figure.add_axes((0.545, 0.46, 0.31, 0.445)), measured)
        _answer(figure.add_axes((0.04, 0.075, 0.815, 0.2)), measured.answer)
        png, svg = folder / "demo.png", folder / "demo.svg"
        figure.savefig(png, dpi=160)
        figure.savefig(svg, metadata={"Date": None})
        pyplot.close(figure)
    svg.write_text(following_colour_scheme(svg.read_text(encoding="utf-8")), encoding="utf-8")
    return png, svg


def _times(axes: Axes, measured: Measurements) -> None:
    from matplotlib.ticker import LogLocator

    saves = measured.saves
    counts = [point.messages for point in saves]
    changes = [point for point in saves if not point.whole]
    whole = [point for point in saves if point.whole]

    axes.scatter(counts, measured.documents_ms(), s=7, color=DOCUMENTS, alpha=0.25, linewidths=0)
    axes.scatter([p.messages for p in changes], measured.changes_ms(), s=7, color=ASYOUWERE, alpha=0.25, linewidths=0)
    axes.scatter(
        [p.messages for p in whole],
        measured.whole_ms(),
        s=24,
        marker="D",
        facecolors=PAPER,
        edgecolors=ASYOUWERE,
        linewidths=1.1,
        zorder=3,
    )
    ends = {
        "a jsonb document by SQL,\nwritten whole": (
            _median_line(axes, counts, measured.documents_ms(), DOCUMENTS),
            DOCUMENTS,
        ),
        "asyouwere over HTTP,\nwhat changed": (
            _median_line(axes, [p.messages for p in changes], measured.changes_ms(), ASYOUWERE),
            ASYOUWERE,
        ),
    }
    if whole:
        ends["◇ asyouwere over HTTP,\nthe whole state"] = (whole[-1].asyouwere_ms, ASYOUWERE)
    axes.set_yscale("log")
    _frame(
        axes,
        "Time of one save",
        "milliseconds, log scale · a dot is a save, a line their median",
        counts[-1],
    )
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _name_lines(axes, counts[-1], ends)
    _mark_crashes(axes, measured.crashes)


def _storage(axes: Axes, measured: Measurements) -> None:
    storage = measured.storage
    counts = [point.messages for point in storage]
    lines = {
        "a jsonb document\na save": ([point.document_bytes for point in storage], DOCUMENTS, "-", 2.2),
        "asyouwere": ([point.asyouwere_bytes for point in storage], ASYOUWERE, "-", 2.2),
        "JSON text of the\nlatest state alone": (
            [point.json_bytes for point in storage],
            MUTED,
            (0, (4, 2)),
            1.3,
        ),
    }
    for sizes, colour, dashes, width in lines.values():
        axes.plot(counts, sizes, color=colour, linestyle=dashes, linewidth=width)
    axes.set_yscale("log")
    axes.set_ylim(bottom=10_000)
    _frame(axes, "Stored, every version kept", "bytes on disk with indexes, log scale", counts[-1])
    axes.yaxis.set_major_formatter(lambda value, _: human_bytes(value, digits=0))
    _name_lines(axes, counts[-1], {name: (sizes[-1], colour) for name, (sizes, colour, _, _) in lines.items()})
    _mark_crashes(axes, measured.crashes)


def _answer(axes: Axes, answer: Answer) -> None:
    """Chunks against time: what the runner has sent, what the page has read."""
    last = max([1, *answer.flushed, *answer.read])
    end = max([1.0, *answer.flushed.values(), *answer.read.values()])
    axes.axvspan(answer.killed, answer.back, color=GRID, alpha=0.35, linewidth=0)
    lines = ((answer.flushed, MUTED, (0, (4, 2)), 1.3), (answer.read, ASYOUWERE, "-", 2.2))
    for chunks, colour, dashes, width in lines:
        axes.step([*chunks.values()], [*chunks], where="post", color=colour, linestyle=dashes, linewidth=width)
    _title(axes, "An answer while it is made", "chunks, one the runner's flush each, and when a page has them")
    axes.set_xlabel("seconds")
    axes.set_xlim(0, end * 1.01)
    axes.set_ylim(0, last * 1.06)
    _plain(axes)
    for name, height, colour in (("sent by the runner", 0.95, MUTED), ("read by the page", 0.8, ASYOUWERE)):
        place: dict[str, Any] = {"transform": axes.transAxes, "va": "center", "fontsize": 9.5, "fontweight": "medium"}
        axes.text(1.01, height, name, color=colour, **place)
    for name, moment, side in (("page loaded again", answer.reloaded, -1), ("functions killed", answer.killed, 1)):
        axes.axvline(moment, color=MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
        axes.annotate(
            name,
            (moment, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3 * side, -2),
            textcoords="offset points",
            fontsize=8,
            color=MUTED,
            va="top",
            ha="left" if side > 0 else "right",
        )


def human_bytes(size: float, digits: int = 1) -> str:
    """A size as people write it, in decimal units: 999 B, 1.5 kB, 23.4 MB."""
    units = ["B", "kB", "MB", "GB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.{0 if units[0] == 'B' else digits}f} {units[0]}"


def _median_line(axes: Axes, counts: Sequence[int], values: Sequence[float], colour: str) -> float:
    medians = running_median(values)
    axes.plot(counts, medians, color=colour, linewidth=2.2, zorder=4)
    return medians[-1]


def _frame(axes: Axes, title: str, subtitle: str, last: int) -> None:
    _title(axes, title, subtitle)
    axes.set_xlabel("messages in the session")
    axes.set_xlim(0, last * 1.01)
    _plain(axes)


def _title(axes: Axes, title: str, subtitle: str) -> None:
    """The subtitle stands right above the plot, however high that is."""
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color=INK, pad=24)
    axes.annotate(
        subtitle, (0, 1), xycoords="axes fraction", xytext=(0, 9), textcoords="offset points", fontsize=9, color=MUTED
    )


def _plain(axes: Axes) -> None:
    """No frame, and lines to read the height by."""
    axes.grid(True, axis="y")
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0)
    axes.minorticks_off()
    axes.spines[["top", "right", "left"]].set_visible(False)


def _name_lines(axes: Axes, last: int, ends: dict[str, tuple[float, str]]) -> None:
    """Write each line's name where it ends, moved apart where two would overlap."""
    bottom, top = (math.log(limit) for limit in axes.get_ylim())
    placed = -1.0  # as a share of the height, like all of these
    for name, (value, colour) in sorted(ends.items(), key=lambda item: item[1][0]):
        half_of_other_lines = 0.025 * name.count("\n")
        at = max((math.log(value) - bottom) / (top - bottom), placed + 0.06 + half_of_other_lines)
        placed = at + half_of_other_lines
        axes.text(
            1.02,
            at,
            name,
            transform=axes.transAxes,
            color=colour,
            fontsize=9.5,
            va="center",
            fontweight="medium",
        )


def _mark_crashes(axes: Axes, crashes: Sequence[int]) -> None:
    last = -math.inf
    for count in crashes:
        axes.axvline(count, color=MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
        if count < last + axes.get_xlim()[1] / 6:
            continue  # no room for a second name
        last = count
        axes.annotate(
            "all killed",
            (count, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -2),
            textcoords="offset points",
            fontsize=8,
            color=MUTED,
            va="top",
        )


def following_colour_scheme(svg: str, dark: Mapping[str, str] = DARK) -> str:
    """Give the SVG rules that exchange its colours on a dark page."""
    rules = "".join(
        f'[style*="{attribute}: {light}"]{{{attribute}:{changed} !important}}'
        for light, changed in dark.items()
        for attribute in ("fill", "stroke")
    )
    style = f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>"
    return svg.replace("<defs>", style + "<defs>", 1)
