"""The short form of convergence, and that it would notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trust import convergence
from tests.trust.convergence import World
from tests.trust.place import Place
from tests.trust.report import Outcome


def test_convergence__short_form(run_folder: Path) -> None:
    outcome = Outcome("convergence")
    convergence.devices(outcome, run_folder, long=False, say=lambda line: None)
    assert outcome.held, outcome.failures
    for name in (
        "refused and told",
        "answer lost",
        "request lost",
        "arrived out of order",
        "clients crashed",
    ):
        assert outcome.figures[name], f"nothing of {name}: the run shows nothing"


def test_compare__notices_what_differs(run_folder: Path) -> None:
    with Place(run_folder) as place:
        outcome = Outcome("convergence")
        world = World(outcome, place, "0.0")
        world.play(40)
        assert outcome.held, outcome.failures

        device = next(device for device in world.devices if device.told.accepted)
        device.tree = {**(device.tree or {}), "not": "there"}
        world._compare()
        assert outcome.figures["clients unequal"] == 1

        device.sync()
        accepted = device.told.accepted
        twice = next(request for request in accepted if request.token is not None)
        accepted[:] = [*accepted, twice]
        device.count += 1
        world._compare()
        assert outcome.figures["appends lost or doubled"] == 1

        device.count += 1
        with pytest.raises(AssertionError, match="was not told of all"):
            world._compare()
        device.count -= 2
        accepted.pop()
        world.storage.rows_without(
            "delete from session_snapshots where session_id = %s and number = %s",
            world.session,
            world.model.latest,
        )
        with pytest.raises(AssertionError):
            world._compare()
        world.close()
