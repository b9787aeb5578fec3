"""The demo's picture and its numbers: readable on a light and a dark page, whatever was measured."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from asyouwere.local.demo.measurements import (
    Answer,
    Measurements,
    SavePoint,
    StoragePoint,
    percentile,
    running_median,
)
from asyouwere.local.demo.picture import DARK, draw, human_bytes


def measured(saves: int, crashes: list[int]) -> Measurements:
    counts = range(1, saves + 1)
    return Measurements(
        saves=[SavePoint(n, 4.0 + n % 3, 1.0 + n / 10, 1000, whole=n % 25 == 0) for n in counts],
        storage=[StoragePoint(n, 300_000 + 3000 * n, 20_000 + 400 * n * n, 1100 * n) for n in counts],
        crashes=crashes,
        answer=streamed(saves),
    )


def streamed(chunks: int) -> Answer:
    """One chunk a second, read half a second later; the functions are away while the last one is under way."""
    times = {seq: float(seq) for seq in range(1, chunks + 1)}
    read = {seq: at + 0.5 for seq, at in times.items()} | {chunks: chunks + 2.5}
    return Answer(flushed=times, read=read, killed=chunks + 0.1, back=chunks + 2.0)


def test_draw__every_colour_changes_on_a_dark_page(tmp_path: Path) -> None:
    _, svg = draw(measured(80, [20, 50]), tmp_path)
    text = svg.read_text()
    used = {
        colour
        for style in re.findall(r'style="([^"]*)"', text)
        for colour in re.findall("#[0-9a-f]{6}", style)
    }
    assert used == set(DARK)
    assert text.index("prefers-color-scheme: dark") < text.index("<defs>")
    for colour in DARK.values():
        assert colour in text
    ElementTree.fromstring(text)


@pytest.mark.parametrize(("saves", "crashes"), [(1, []), (2, [1]), (30, [10, 11, 12])])
def test_draw__few_points(tmp_path: Path, saves: int, crashes: list[int]) -> None:
    png, svg = draw(measured(saves, crashes), tmp_path)
    assert png.stat().st_size > 10_000
    assert svg.stat().st_size > 10_000


def test_human_bytes__units() -> None:
    sizes = [0, 999, 1000, 1499, 999_949, 999_960, 23_400_000, 5_000_000_000, 7_000_000_000_000]
    shown = ["0 B", "999 B", "1.0 kB", "1.5 kB", "1.0 MB", "1.0 MB", "23.4 MB", "5.0 GB", "7000.0 GB"]
    assert [human_bytes(size) for size in sizes] == shown
    assert human_bytes(1500, digits=0) == "2 kB"


def test_percentile__nearest_rank() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, p) for p in (1, 50, 99, 100)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([3.0], 99) == 3.0
    assert percentile([], 50) == 0.0


def test_running_median__follows_without_the_spikes() -> None:
    assert running_median([1, 1, 90, 1, 2, 2, 2], window=3) == [1, 1, 1, 2, 2, 2, 2]


def test_lags__without_chunks_that_waited_for_the_functions() -> None:
    assert streamed(3).lags_ms() == [500.0, 500.0]
    assert Answer().lags_ms() == []
