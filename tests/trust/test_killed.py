"""The short form of the run with clients that are killed."""

from __future__ import annotations

from pathlib import Path

from tests.trust import killed
from tests.trust.report import Outcome


def test_killed__short_form(run_folder: Path) -> None:
    outcome = Outcome("killed")
    killed.run(outcome, run_folder, long=False, say=lambda line: None)
    assert outcome.held, outcome.failures[:3]
    assert outcome.figures["lost"] == outcome.figures["doubled"] == 0
    assert int(outcome.figures["edits"]) > 50
