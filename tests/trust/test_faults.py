"""The faults, each for itself, and that an unclear answer or a lost save would be noticed."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.trust.faults import SCENARIOS
from tests.trust.faults.probe import Probe
from tests.trust.place import Place
from tests.trust.report import Outcome


@pytest.mark.parametrize("name", SCENARIOS)
def test_faults__short_form(run_folder: Path, name: str) -> None:
    outcome = Outcome("faults")
    SCENARIOS[name](outcome, run_folder, False)
    assert outcome.held, outcome.failures
    if str(outcome.figures.get(name, "")).startswith("skipped"):
        pytest.skip(str(outcome.figures[name]))


def test_probe__notices(run_folder: Path) -> None:
    def noticed(outcome: Outcome) -> bool:
        found = bool(outcome.failures)
        outcome.failures.clear()
        return found

    outcome = Outcome("faults")
    with Place(run_folder, settings={"fsync": "off"}) as place:
        probe = Probe(outcome, place, "test")
        probe.is_told(httpx.Response(503, headers={"Retry-After": "2"}), "a save")
        assert not noticed(outcome)
        probe.is_told(httpx.Response(503), "a save")
        assert noticed(outcome)
        probe.is_told(httpx.Response(500, headers={"Retry-After": "2"}), "a save")
        assert noticed(outcome)
        probe.goes_on(httpx.Response(404), "a read")
        assert noticed(outcome)

        probe.recovers()
        assert not noticed(outcome)
        probe.answered.append("never saved")
        probe.recovers()
        assert noticed(outcome)
        probe.answered.remove("never saved")
        probe.person.saved(probe.session, changes={"append": {"/messages": [probe.answered[0]]}})
        probe.recovers()
        assert noticed(outcome)
