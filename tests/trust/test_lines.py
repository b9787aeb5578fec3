"""The short form of the cut lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trust import lines
from tests.trust.report import Outcome


def test_lines__short_form(run_folder: Path) -> None:
    outcome = Outcome("lines")
    lines.run(outcome, run_folder, long=False, say=lambda line: None)
    assert outcome.held, outcome.failures


def test_agreed__notices_two_that_did_it_and_two_numbers() -> None:
    did, told = {"number": 1, "replayed": False}, {"number": 1, "replayed": True}
    assert lines.agreed([told, did, told])["number"] == 1
    with pytest.raises(AssertionError, match="done 2 times"):
        lines.agreed([did, did, told])
    with pytest.raises(AssertionError, match="different answers"):
        lines.agreed([did, {"number": 2, "replayed": True}])
