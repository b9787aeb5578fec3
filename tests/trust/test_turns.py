"""The turns run's short form, and that it would notice a loss."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyouwere.local.demo.reader import Reader
from tests.trust import turns
from tests.trust.report import Outcome
from tests.trust.turns import Made, Size


def test_turns__short_form(run_folder: Path) -> None:
    outcome = Outcome("turns")
    turns.run(outcome, run_folder, long=False, say=lambda line: None, size=Size(40, 2, (1.0, 2.0), 90))
    assert outcome.held, outcome.failures
    wrong = ("lost", "twice", "behind the fence", "chunks missed or read twice")
    assert [outcome.figures[name] for name in wrong] == [0, 0, 0, 0]


def test_check__counts_lost_doubled_and_late(run_folder: Path) -> None:
    from uuid import uuid4

    from tests.trust.place import Place

    with Place(run_folder) as place:
        for said, counted in (("1 2 4 ", "lost"), ("1 2 2 3 ", "twice"), ("1 2 3 4 ", "behind the fence")):
            outcome = Outcome("turns")
            made = Made(str(place.db.session("ada")), str(uuid4()), answered=3, sent=3, done=True)
            turn = {"p_session_id": made.session, "p_turn_id": made.turn}
            with place.db.acting_as("ada"):
                place.db.one("begin_turn", **turn)
                place.db.one("append_turn_chunks", **turn, p_from_seq=1, p_chunks=[said])
                place.db.one("finish_turn", **turn)
            turns.check(outcome, place, [made])
            assert outcome.figures[counted] == 1
            assert not outcome.held


@pytest.mark.parametrize(
    ("seen", "status", "off"),
    [
        ([(1, "1 "), (2, "2 ")], "done", 0),
        ([(1, "1 ")], "done", 1),
        ([(1, "1 "), (2, "2 "), (2, "2 ")], "done", 1),
        ([(2, "2 "), (1, "1 ")], "done", 0),
        ([(1, "1 "), (2, "2 ")], "interrupted", 0),
    ],
    ids=["all", "missed", "twice", "out of order", "told another end"],
)
def test_check_follower__finds(seen: list[tuple[int, str]], status: str, off: int) -> None:
    outcome = Outcome("turns")
    follower = Reader("http://127.0.0.1:1", "", "s", "t")
    follower.seen = [(number, text, 0.0) for number, text in seen]
    follower.end = {"status": status, "position": 0}
    follower.connections = [0]
    follower.join = lambda timeout=None: None  # type: ignore[method-assign]
    turns._check_follower(outcome, Made("s", "t"), follower, {"next_seq": 3, "status": "done", "position": 0})
    assert outcome.figures["chunks missed or read twice"] == off
    assert outcome.held is (seen == [(1, "1 "), (2, "2 ")] and status == "done")
