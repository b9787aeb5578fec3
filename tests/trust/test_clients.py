"""The short form of the run with Python clients."""

from __future__ import annotations

from pathlib import Path

from tests.trust import clients
from tests.trust.report import Outcome


def test_clients__short_form(run_folder: Path) -> None:
    outcome = Outcome("clients")
    clients.run(outcome, run_folder, long=False, say=lambda line: None)
    assert outcome.held, outcome.failures[:3]
    assert outcome.figures["clients unequal"] == outcome.figures["messages lost or doubled"] == 0
    assert int(outcome.figures["saves"]) > 50
