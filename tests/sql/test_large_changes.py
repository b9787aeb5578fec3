"""Thousands of parts changed at once: what is compared each with each takes minutes here, what is hashed a second."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.sql.states import detail_of
from tests.support.database import Db

PARTS = 10_000
KINDS: dict[str, Any] = {
    "a list": [f"m{n}" for n in range(PARTS)],
    "an object": {f"k{n}": n for n in range(PARTS)},
}
CHANGED: dict[str, Any] = {
    "a list": [f"n{n}" for n in range(PARTS)],
    "an object": {f"k{n}": -n - 1 for n in range(PARTS)},
}


@pytest.fixture
def db(shared: Db) -> Db:
    return shared


def started(db: Db, kind: str) -> UUID:
    session_id = db.session("ada")
    db.save(session_id, {"large": KINDS[kind]})
    return session_id


def in_time(db: Db) -> None:
    """From here on, a statement that needs more than a comfortable time fails."""
    db.sql("set statement_timeout = '15s'")


@pytest.mark.parametrize("kind", KINDS)
def test_changes__all_of_a_large_container_went(db: Db, kind: str) -> None:
    with db.acting_as("ada"):
        session_id = started(db, kind)
        in_time(db)
        db.save(session_id, {})
        row = db.one("get_session_changes", p_session_id=session_id, p_since=1)
        assert row["changes"] == {"set": {}, "remove": ["/large"]}
        assert len(db.call("diff_snapshots", p_session_id=session_id, p_from=1, p_to=2)) == PARTS + 1


@pytest.mark.parametrize("kind", KINDS)
def test_conflict__both_changed_all_of_a_large_container(db: Db, kind: str) -> None:
    with db.acting_as("ada"):
        session_id = started(db, kind)
        in_time(db)
        db.save(session_id, {"large": CHANGED[kind]})
        with db.refuses("conflict") as refused:
            db.save(session_id, {"large": "small"}, p_base=1)
        assert len(detail_of(refused)["addresses"]) == PARTS + 1


@pytest.mark.parametrize("kind", KINDS)
def test_merge__another_changed_all_of_a_large_container(db: Db, kind: str) -> None:
    with db.acting_as("ada"):
        session_id = started(db, kind)
        in_time(db)
        db.save(session_id, {"large": CHANGED[kind]})
        row = db.save(session_id, {"large": KINDS[kind], "mine": 1}, p_base=1)
        assert (row["merged"], row["changed_parts"], len(row["others"]["set"])) == (True, 1, PARTS + 1)
