"""Forgetting by the owner: delete_snapshots, forget_session_parts, delete_session with a base."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from tests.sql.states import change, detail_of, state_of
from tests.support.database import Db


@pytest.fixture
def db(shared: Db) -> Db:
    return shared


@pytest.fixture
def session_id(db: Db) -> Iterator[UUID]:
    """A session of ada's; whoever uses it acts as ada."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        yield session_id


def bodies(db: Db, session_id: UUID) -> str:
    """All that is stored of a session, of every number."""
    rows = db.superuser.execute(
        "select p.body from asyouwere.parts p join public.free_agent_sessions s on s.internal_id = p.session"
        " where s.id = %s order by p.since, p.path, p.item",
        (session_id,),
    ).fetchall()
    return " ".join(row["body"] for row in rows)


def stored(db: Db, session_id: UUID) -> tuple[int, int]:
    """Bytes as they are kept with the session, and as its parts have them."""
    (row,) = db.superuser.execute(
        "select s.stored_bytes, asyouwere.stored_bytes(s.internal_id) as counted"
        " from public.free_agent_sessions s where s.id = %s",
        (session_id,),
    ).fetchall()
    return row["stored_bytes"], row["counted"]


def numbers(db: Db, session_id: UUID) -> list[int]:
    return [row["number"] for row in db.call("list_snapshots", p_session_id=session_id)]


def test_delete_snapshots__goes_with_what_only_they_show(db: Db, session_id: UUID) -> None:
    for value in ("one", "two", "three", "four", "five"):
        db.save(session_id, {"secret": value, "kept": "always"}, p_label=value)
    shown = {number: state_of(db, session_id, number) for number in (1, 4, 5)}
    receipt = db.one("delete_snapshots", p_session_id=session_id, p_numbers=[2, 77], p_labels=["three", "none"])
    assert (receipt["number"], receipt["snapshots"], receipt["parts"], receipt["done"]) == (5, 2, 2, True)
    assert receipt["bytes"] > 0
    assert numbers(db, session_id) == [5, 4, 1]
    assert {number: state_of(db, session_id, number) for number in shown} == shown
    assert "two" not in bodies(db, session_id)
    assert "three" not in bodies(db, session_id)
    assert stored(db, session_id)[0] == stored(db, session_id)[1]
    with db.refuses("snapshot_gone"):
        state_of(db, session_id, 2)
    assert db.one("get_session_changes", p_session_id=session_id, p_since=3)["reset"] is True
    again = db.one("delete_snapshots", p_session_id=session_id, p_numbers=[2, 3])
    assert (again["snapshots"], again["parts"]) == (0, 0)


def test_delete_snapshots__the_first_ones(db: Db, session_id: UUID) -> None:
    for value in range(5):
        change(db, session_id, {"set": {"/n": value, f"/own{value}": value}})
    db.one("delete_snapshots", p_session_id=session_id, p_numbers=[1, 2, 4])
    assert state_of(db, session_id, 3) == {"n": 2, "own0": 0, "own1": 1, "own2": 2}
    assert [row["change"] for row in db.call("diff_snapshots", p_session_id=session_id, p_from=3, p_to=5)] == [
        "changed",
        "added",
        "added",
    ]
    assert stored(db, session_id)[0] == stored(db, session_id)[1]


def test_delete_snapshots__more_than_a_call_deletes_is_unreadable_at_once(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"messages": ["secret"] * 6000})
    db.save(session_id, {})
    receipt = db.one("delete_snapshots", p_session_id=session_id, p_numbers=[1])
    assert (receipt["snapshots"], receipt["done"]) == (1, False)
    with db.refuses("snapshot_gone"):
        state_of(db, session_id, 1)
    with db.acting_as("service"):
        for _ in range(20):
            if db.one("cleanup_old_snapshots", p_max_sessions=10)["done"]:
                break
    assert "secret" not in bodies(db, session_id)
    assert stored(db, session_id)[0] == stored(db, session_id)[1]


def test_delete_snapshots__never_the_latest(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"n": 1})
    db.save(session_id, {"n": 2}, p_label="last")
    for arguments in ({"p_numbers": [1, 2]}, {"p_labels": ["last"]}, {"p_numbers": []}, {"p_numbers": list(range(1, 1002))}):
        with db.refuses("invalid_argument"):
            db.one("delete_snapshots", p_session_id=session_id, **arguments)
    assert numbers(db, session_id) == [2, 1]


def test_forget__an_address_is_in_no_number_afterwards(db: Db, session_id: UUID) -> None:
    change(db, session_id, {"set": {"/n": 0}})
    change(db, session_id, {"set": {"/memory": {"secret": {"deep": 1}, "other": "plain"}}}, p_label="named")
    change(db, session_id, {"set": {"/memory/secret": "secret again"}})
    change(db, session_id, {"set": {"/n": 1}})
    receipt = db.one("forget_session_parts", p_session_id=session_id, p_addresses=["/memory/secret"])
    assert (receipt["number"], receipt["snapshots"], receipt["done"]) == (5, 3, True)
    assert numbers(db, session_id) == [5, 1]
    assert state_of(db, session_id) == {"memory": {"other": "plain"}, "n": 1}
    assert state_of(db, session_id, 1) == {"n": 0}
    assert "deep" not in bodies(db, session_id)
    assert "again" not in bodies(db, session_id)
    assert stored(db, session_id)[0] == stored(db, session_id)[1]
    again = db.one("forget_session_parts", p_session_id=session_id, p_addresses=["/memory/secret"])
    assert (again["number"], again["snapshots"], again["parts"]) == (5, 0, 0)


def test_forget__what_is_gone_already_but_in_older_numbers(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"secret": "x", "n": 1})
    db.save(session_id, {"n": 1})
    db.save(session_id, {"n": 2})
    db.one("forget_session_parts", p_session_id=session_id, p_addresses=["/secret"])
    assert numbers(db, session_id) == [3, 2]


def test_forget__everything(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"secret": "x", "messages": ["y"]}, p_label="named")
    db.save(session_id, {"secret": "z"})
    receipt = db.one("forget_session_parts", p_session_id=session_id, p_addresses=[""])
    assert (receipt["number"], receipt["snapshots"]) == (3, 2)
    assert state_of(db, session_id) == {}
    assert bodies(db, session_id) == ""


def test_forget__the_last_item_and_not_one_in_the_middle(db: Db, session_id: UUID) -> None:
    change(db, session_id, {"set": {"/messages": ["a"]}})
    change(db, session_id, {"append": {"/messages": ["secret"]}})
    with db.refuses("list_gap"):
        db.one("forget_session_parts", p_session_id=session_id, p_addresses=["/messages/0"])
    db.one("forget_session_parts", p_session_id=session_id, p_addresses=["/messages/1"])
    assert numbers(db, session_id) == [3, 1]
    assert state_of(db, session_id) == {"messages": ["a"]}
    assert "secret" not in bodies(db, session_id)


@pytest.mark.parametrize(
    ("addresses", "code"),
    [
        ([], "invalid_argument"),
        ([{"address": "/a", "last": 1}], "invalid_argument"),
        (["a"], "invalid_address"),
        (["/a", "/a/b"], "overlapping_addresses"),
        (["/s/x"], "address_below_part"),
    ],
)
def test_forget__what_is_refused(db: Db, session_id: UUID, addresses: list[object], code: str) -> None:
    db.save(session_id, {"a": {"b": 1}, "s": "text"})
    with db.refuses(code):
        db.one("forget_session_parts", p_session_id=session_id, p_addresses=addresses)
    assert numbers(db, session_id) == [1]


def test_delete_session__only_if_nothing_came_after(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"n": 1})
    db.save(session_id, {"n": 2})
    with db.refuses("conflict") as refused:
        db.one("delete_session", p_session_id=session_id, p_base=1)
    assert detail_of(refused) == {"addresses": [], "latest": 2}
    assert db.one("delete_session", p_session_id=session_id, p_base=2)["snapshots"] == 2
