"""The turns run's short form, and that it would notice a loss."""

from __future__ import annotations

from pathlib import Path

from tests.trust import turns
from tests.trust.report import Outcome
from tests.trust.turns import Made, Size


def test_turns__short_form(run_folder: Path) -> None:
    outcome = Outcome("turns")
    turns.run(outcome, run_folder, long=False, say=lambda line: None, size=Size(40, 2, (1.0, 2.0), 90))
    assert outcome.held, outcome.failures
    assert [outcome.figures[name] for name in ("lost", "twice", "behind the fence")] == [0, 0, 0]


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
