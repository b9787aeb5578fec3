"""The runs' short forms, and that each would notice what it looks for."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.security import bombs, fuzz, neighbours, oracles, privacy, tokens
from tests.trust.report import Outcome


def quiet(line: str) -> None:
    """Progress that nobody hears."""


def test_tokens__short_form(run_folder: Path) -> None:
    outcome = Outcome("tokens")
    tokens.run(outcome, run_folder, long=False, say=quiet)
    assert outcome.held, outcome.failures
    assert int(outcome.figures["bad tokens"]) >= 30
    assert outcome.figures["not refused"] == outcome.figures["other answers"] == 0


def test_oracles__short_form(run_folder: Path) -> None:
    outcome = Outcome("oracles")
    oracles.run(outcome, run_folder, long=False, say=quiet)
    assert outcome.held, outcome.failures
    # most questions are about a session; the others see no rows or may not ask at all
    assert int(outcome.figures["answered: no such session"]) > int(outcome.figures["questions"]) / 3


def test_oracles__would_notice_a_difference() -> None:
    outcome = Outcome("oracles")
    oracles.compare(outcome, "q", {"foreign": "403", "never": "404"})
    assert not outcome.held
    assert outcome.figures["told apart"] == 1


def test_privacy__short_form(run_folder: Path) -> None:
    outcome = Outcome("privacy")
    privacy.run(outcome, run_folder, long=False, say=quiet)
    assert outcome.held, outcome.failures
    assert int(outcome.figures["planted words"]) > 50
    assert int(outcome.figures["exported versions"]) >= 6


def test_fuzz__short_form(run_folder: Path) -> None:
    outcome = Outcome("fuzz")
    fuzz.run(outcome, run_folder, long=False, say=quiet)
    assert outcome.held, outcome.failures
    assert outcome.figures["answers of 500"] == outcome.figures["crashes"] == 0
    # neither all good nor all nonsense
    assert int(outcome.figures["taken"]) > 1000
    assert int(outcome.figures["answers of 200"]) > 20


def test_fuzz__would_notice_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "_state", lambda text: 1 / 0)
    outcome = Outcome("fuzz")
    outcome.figures.update({"parser inputs": 0})
    fuzz._parsers(outcome, random.Random(1), 50, quiet)
    assert int(outcome.figures["crashes"]) > 5


def test_bombs__short_form(run_folder: Path) -> None:
    outcome = Outcome("bombs")
    bombs.run(outcome, run_folder, long=False, say=quiet)
    assert outcome.held, outcome.failures


def test_auc__of_equal_and_of_different_times() -> None:
    assert oracles.auc([1, 2, 3], [1, 2, 3]) == 0.5
    assert oracles.auc([4, 5], [1, 2, 3]) == 1
    assert oracles.auc([0], [1, 2, 3]) == 0


def test_neighbours__short_form(run_folder: Path) -> None:
    outcome = Outcome("neighbours")
    neighbours.run(outcome, run_folder, long=False, say=quiet)
    assert outcome.held, outcome.failures
    assert int(outcome.figures["attacks"]) == len(neighbours.ATTACKS)


def test_neighbours__would_notice_who_is_hurt() -> None:
    alone, well = neighbours.Seen([1.0]), neighbours.Seen([1.0, 50.0], memory=1.0, log=9000, refused=1)
    held = Outcome("neighbours")
    neighbours.judge(held, "x", well, alone, long=True)
    assert held.held
    for hurt in (
        neighbours.Seen([1.0], failed=["list: 500"]),
        neighbours.Seen([1.0], memory=513.0 * 2**20),
        neighbours.Seen([1.0], log=20_000, refused=1),
        neighbours.Seen([102.0]),
        neighbours.Seen([1.0], answers="3 × 40P01 by SQL"),
        neighbours.Seen([]),
    ):
        outcome = Outcome("neighbours")
        neighbours.judge(outcome, "x", hurt, alone, long=True)
        assert len(outcome.failures) == 1, hurt
