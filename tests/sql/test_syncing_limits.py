"""Changes and comparisons that would be too much for one answer."""

from __future__ import annotations

import pytest

from tests.sql.states import change
from tests.support.database import Db


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [
        ({"l": ["é" * 450_000] * 5}, {"l": ["x" * 890_000] * 3}, True),
        ({"l": ["é" * 450_000] * 9}, {"l": ["x" * 890_000] * 10}, False),
        ({"l": list(range(9_000))}, {"l": list(range(1, 9_001))}, True),
        ({"l": list(range(11_000))}, {"l": list(range(1, 11_001))}, False),
    ],
    ids=["megabytes", "too many megabytes", "parts", "too many parts"],
)
def test_diff__is_bounded(db: Db, first: object, second: object, fits: bool) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, first)
        db.save(session_id, second)
        for way in ({"p_from": 1, "p_to": 2}, {"p_from": 2, "p_to": 1}):
            if fits:
                assert len(db.call("diff_snapshots", p_session_id=session_id, **way)) >= 5
            else:
                with db.refuses("too_large"):
                    db.call("diff_snapshots", p_session_id=session_id, **way)
        assert len(db.call("diff_snapshots", p_session_id=session_id, p_from=2, p_to=2)) == 0


def test_changes__too_much_is_a_reset(db: Db) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {"l": ["x" * 990_000] * 9, "n": 0})
        change(db, session_id, {"set": {"/n": 1}})
        row = db.one("get_session_changes", p_session_id=session_id, p_since=0)
        assert (row["number"], row["reset"], row["changes"]) == (2, True, None)
        row = db.one("get_session_changes", p_session_id=session_id, p_since=1)
        assert (row["number"], row["reset"], row["changes"]) == (2, False, {"set": {"/n": 1}, "remove": []})
