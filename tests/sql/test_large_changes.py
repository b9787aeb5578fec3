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
        detail = detail_of(refused)
        assert (len(detail["addresses"]), detail["count"]) == (100, 1000)  # at most so many are named, and counted


@pytest.mark.parametrize("kind", KINDS)
def test_merge__another_changed_all_of_a_large_container(db: Db, kind: str) -> None:
    with db.acting_as("ada"):
        session_id = started(db, kind)
        in_time(db)
        db.save(session_id, {"large": CHANGED[kind]})
        row = db.save(session_id, {"large": KINDS[kind], "mine": 1}, p_base=1)
        assert (row["merged"], row["changed_parts"], len(row["others"]["set"])) == (True, 1, PARTS + 1)


def test_merge__thousands_of_lists_made_shorter_beside_as_many_changed(db: Db) -> None:
    with db.acting_as("ada"):
        session_id = db.session("ada")
        db.save(session_id, {f"l{n}": [1, 2] for n in range(PARTS)})
        db.save(session_id, {f"l{n}": [0, 2] for n in range(PARTS)})
        in_time(db)
        row = db.save(session_id, p_changes={"remove": [f"/l{n}/1" for n in range(PARTS)]}, p_base=1)
        assert (row["merged"], row["changed_parts"]) == (True, PARTS)


@pytest.mark.parametrize("choices", [0, 1000])
def test_merge_fork__thousands_of_clashes_decided(db: Db, choices: int) -> None:
    with db.acting_as("ada"):
        session_id = started(db, "an object")
        (fork,) = db.call("fork_session", p_session_id=session_id)
        db.save(session_id, {"large": CHANGED["an object"]})
        db.save(fork["id"], {"large": {f"k{n}": "mine" for n in range(PARTS)}})
        in_time(db)
        row = db.one(
            "merge_fork", p_session_id=fork["id"], p_prefer="fork",
            p_choices={f"/large/k{n}": "origin" for n in range(choices)},
        )  # fmt: skip
        assert row["changed_parts"] == PARTS - choices


MOST = 125_000


def test_save__too_many_parts_by_every_way(db: Db) -> None:
    """A limit that all clients meet: the container and its items are parts, and so is the state's own row."""
    listed = "[" + ",".join(["1"] * (MOST - 1)) + "]"
    with db.acting_as("ada"):
        session_id = db.session("ada")
        in_time(db)
        refused_calls: list[tuple[str, dict[str, Any]]] = [
            ("create_session_snapshot", {"p_state": f'{{"a":{listed}}}'}),
            ("create_session_snapshot", {"p_changes": f'{{"set":{{"/a":{listed[:-1]},1]}}}}'}),
            ("create_session_snapshot", {"p_changes": f'{{"append":{{"/a":{listed[:-1]},1,1]}}}}'}),
            # an address that ends in a number is opened late
            ("create_session_snapshot", {"p_changes": f'{{"set":{{"/7":{listed[:-1]},1]}}}}'}),
            ("append_session_messages", {"p_messages": f"{listed[:-1]},1,1]"}),
            (
                "save_session_parts",
                {
                    "p_ops": ["append"] * (MOST + 1),
                    "p_paths": ["/a/"] * (MOST + 1),
                    "p_items": [None] * (MOST + 1),
                    "p_bodies": ["1"] * (MOST + 1),
                },
            ),
        ]
        for function, arguments in refused_calls:
            with db.refuses("too_large") as refused:
                db.call(function, p_session_id=session_id, **arguments)
            assert detail_of(refused) == {"max_parts": MOST}
        assert db.one("get_session", p_session_id=session_id)["latest_number"] == 0


@pytest.mark.slow
def test_save__as_many_parts_as_allowed(db: Db) -> None:
    with db.acting_as("ada"):
        session_id = db.session("ada")
        db.save(session_id, f'{{"a":[{",".join(["1"] * (MOST - 2))}]}}')
        assert db.one("get_session", p_session_id=session_id)["latest_number"] == 1
