"""The group `streams`, short: all sides are measured, and what is said to be left is what is there."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bench.measurements import Figure
from tests.bench.peers import redis, streams
from tests.bench.peers.redis import Redis
from tests.bench.peers.streams import BY_SQL, OVER_HTTP, RESUMABLE, REWRITTEN, Runner
from tests.support.cluster import new_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    root = new_folder()
    root.chmod(0o711)
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.mark.slow
def test_streams__with_the_redis_that_is_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = shutil.which("redis-server") and (redis.PROGRAM.parent / "node_modules").exists()
    monkeypatch.setattr(streams, "PAUSE_SECONDS", 0.1)
    with ExitStack() as stack:
        server = stack.enter_context(Redis(folder / "redis")) if here else None
        figures = list(streams.compared(folder, server, (6,), 1, quick=True))
    sides = {BY_SQL, OVER_HTTP, REWRITTEN} | ({RESUMABLE} if here else set())
    for what in ("log written for an answer in 6 flushes", "a flush of 6"):
        assert {figure.name for figure in figures if figure.name.startswith(what)} == {f"{what}: {n}" for n in sides}
    assert all(figure.value > 0 for figure in figures if figure.name.startswith(("log", "a flush")))
    for victim in ("runner", "store"):
        left = figure_of(figures, f"left after kill -9 of the {victim}: {OVER_HTTP}")
        assert left.value >= 3
        assert left.unit == f"of {left.value} chunks"
    assert "interrupted" in figure_of(figures, f"left after kill -9 of the runner: {OVER_HTTP}").detail
    assert "'streaming'" in figure_of(figures, f"left after kill -9 of the runner: {REWRITTEN}").detail
    if here:
        assert figure_of(figures, f"left after kill -9 of the runner: {RESUMABLE}").value == 0
        assert figure_of(figures, f"left after kill -9 of the store: {RESUMABLE}").value == 3


def figure_of(figures: list[Figure], name: str) -> Figure:
    (found,) = [figure for figure in figures if figure.name == name]
    return found


def test_streams__without_redis__says_so_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASYOUWERE_NO_APT", "1")
    monkeypatch.setattr(redis.shutil, "which", lambda name: None)
    with ExitStack() as stack:
        assert streams.redis_or_none(tmp_path, stack) is None
    said = capsys.readouterr().err
    assert said == "asyouwere: streams without Redis: no redis-server is installed (Debian: apt-get install redis-server)\n"


def test_pieces__are_alike_and_all_of_it() -> None:
    for count in (4, *streams.FLUSHES):
        pieces = streams.pieces_of(count)
        assert len(pieces) == count
        assert len({len(piece) for piece in pieces}) == 1
        assert streams.TEXT_BYTES - count < sum(len(piece) for piece in pieces) <= streams.TEXT_BYTES


def test_runner__killed_half_way() -> None:
    program = "import json, sys, time; told = json.load(sys.stdin)\n"
    program += "for seq in range(1, told['chunks'] + 1): print(json.dumps({'seq': seq}), flush=True); time.sleep(0.05)"
    runner = Runner([sys.executable, "-c", program], {"chunks": 100})
    with runner.half_way(6):
        pass
    assert 3 <= runner.taken < 100
    assert [line["seq"] for line in runner.lines] == list(range(1, runner.taken + 1))


def test_runner__one_that_ends_early_is_said() -> None:
    with pytest.raises(RuntimeError, match="0 of 3 chunks"):
        Runner([sys.executable, "-c", ""], {}).wait_for(3)


def test_rewriting__keeps_the_message_as_the_ai_sdk_does() -> None:
    assert json.loads(streams.rewriting.parts("Grün")) == [{"type": "text", "text": "Grün"}]
