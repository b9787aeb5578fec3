"""The short form of the run with clients of both languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trust import clients
from tests.trust.browser_client import Browsers, bundle
from tests.trust.clients import World
from tests.trust.place import Place
from tests.trust.report import Outcome


def test_clients__short_form(run_folder: Path) -> None:
    outcome = Outcome("clients")
    clients.run(outcome, run_folder, long=False, say=lambda line: None)
    assert outcome.held, outcome.failures[:3]
    assert outcome.figures["clients unequal"] == outcome.figures["messages lost or doubled"] == 0
    assert int(outcome.figures["saves"]) > 50
    assert int(outcome.figures["clients: browser"]) >= 3


@pytest.mark.anyio
async def test_settle__notices_what_differs(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "SETTLING_SECONDS", 10.0)
    outcome = Outcome("clients")
    with Place(run_folder) as place:
        async with Browsers.running(outcome, place, bundle(run_folder)) as browsers:
            world = World(outcome, place, "0.0", ["browser", "functions", "postgres"], browsers)
            await world.play(20)
            await world.settle()
            assert outcome.held, outcome.failures
            world.wrote["not there"] = ""
            await world.settle()
            await world.close()
    assert outcome.figures == {**outcome.figures, "messages lost or doubled": 1}
    assert "written were [('not there', '')]" in outcome.failures[0]
