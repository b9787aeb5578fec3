"""Taking from the end of a list: pop_session_items."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from tests.sql.states import change, save_text, state_of
from tests.support.database import Db, Row


@pytest.fixture
def db(shared: Db) -> Db:
    return shared


@pytest.fixture
def session_id(db: Db) -> Iterator[UUID]:
    """A session of ada's; whoever uses it acts as ada."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        yield session_id


def pop(db: Db, session_id: UUID, address: str = "/messages", **arguments: Any) -> Row:
    return db.one("pop_session_items", p_session_id=session_id, p_address=address, **arguments)


def test_pop__one_by_default_and_several(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"messages": list(range(10)), "n": 1})
    row = pop(db, session_id)
    assert (row["number"], row["created"], row["replayed"]) == (2, True, False)
    assert (row["items"], row["first_position"], row["message_count"]) == ([9], 9, 9)
    row = pop(db, session_id, p_count=3)
    assert (row["items"], row["first_position"], row["message_count"]) == ([6, 7, 8], 6, 6)
    assert state_of(db, session_id) == {"messages": list(range(6)), "n": 1}
    assert state_of(db, session_id, 1)["messages"] == list(range(10))
    assert db.one("get_session", p_session_id=session_id)["last_message"] is None  # it is no text
    row = pop(db, session_id, p_count=1000)
    assert (row["items"], row["first_position"]) == (list(range(6)), 0)
    assert state_of(db, session_id) == {"messages": [], "n": 1}
    assert row["size_bytes"] == db.one("get_latest_snapshot", p_session_id=session_id)["size_bytes"]


def test_pop__nothing_there(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"messages": []})
    for address in ("/messages", "/none", "/none/inside"):
        row = pop(db, session_id, address, p_idempotency_key=address)
        assert (row["number"], row["created"], row["items"], row["first_position"]) == (1, False, [], None)
        again = pop(db, session_id, address, p_idempotency_key=address)
        assert (again["replayed"], again["items"]) == (True, [])


def test_pop__a_list_inside_an_object_keeps_every_character(db: Db, session_id: UUID) -> None:
    save_text(db, session_id, r'{"a":{"b":["\u0000",1.10,"\ud800"]}}')
    (row,) = db.sql("select items::text from pop_session_items(%s, '/a/b', 2)", (session_id,))
    assert row["items"] == r'[1.10,"\ud800"]'


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("/n", "not_a_list"),
        ("/o", "not_a_list"),
        ("", "not_a_list"),
        ("/messages/0", "not_a_list"),
        ("/messages/1/x", "address_below_part"),
        ("messages", "invalid_address"),
    ],
)
def test_pop__what_is_no_list(db: Db, session_id: UUID, address: str, code: str) -> None:
    db.save(session_id, {"messages": [1, {"x": [1]}], "n": 1, "o": {}})
    with db.refuses(code):
        pop(db, session_id, address)


@pytest.mark.parametrize("arguments", [{"p_count": 0}, {"p_count": 1001}, {"p_count": None}, {"p_idempotency_key": ""}])
def test_pop__arguments_out_of_range(db: Db, session_id: UUID, arguments: dict[str, Any]) -> None:
    with db.refuses("invalid_argument"):
        pop(db, session_id, **arguments)


def test_pop__the_same_key_answers_the_same_items(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"messages": [1, 2, 3]})
    first = pop(db, session_id, p_idempotency_key="k")
    change(db, session_id, {"append": {"/messages": ["later"]}})
    again = pop(db, session_id, p_idempotency_key="k")
    assert again == {**first, "replayed": True}
    assert state_of(db, session_id)["messages"] == [1, 2, "later"]
    with db.refuses("idempotency_key_reused"):
        pop(db, session_id, p_count=2, p_idempotency_key="k")


def test_pop__the_same_key_after_the_items_are_swept(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"messages": [1, 2, 3]})
    first = pop(db, session_id, p_count=2, p_idempotency_key="k")
    db.call("delete_snapshots", p_session_id=session_id, p_numbers=[1])
    again = pop(db, session_id, p_count=2, p_idempotency_key="k")
    assert (again["number"], again["replayed"]) == (first["number"], True)
    assert (again["items"], again["first_position"]) == (None, None)


def test_pop__48_callers_get_48_items(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"messages": list(range(50))})
    people = [db.connect_as("ada") for _ in range(16)]

    def three(connection: Any) -> list[int]:
        return [
            item
            for _ in range(3)
            for row in db.call("pop_session_items", on=connection, p_session_id=session_id, p_address="/messages")
            for item in row["items"]
        ]

    with ThreadPoolExecutor(16) as pool:
        taken = [item for items in pool.map(three, people) for item in items]
    assert sorted(taken) == list(range(2, 50))
    assert state_of(db, session_id)["messages"] == [0, 1]


def test_create_with_state__16_callers_make_one_session_with_one_number(db: Db) -> None:
    people = [db.connect_as("ada") for _ in range(16)]

    def create(place: int) -> Row:
        return db.call(
            "get_or_create_session", on=people[place], p_key="raced", p_state={"by": place, "messages": ["hi"]}
        )[0]

    with ThreadPoolExecutor(16) as pool:
        rows = list(pool.map(create, range(16)))
    assert len({row["id"] for row in rows}) == 1
    assert {(row["latest_number"], row["message_count"]) for row in rows} == {(1, 1)}
    (maker,) = (place for place, row in enumerate(rows) if row["created"])
    with db.acting_as("ada"):
        assert state_of(db, rows[0]["id"])["by"] == maker


def test_create_with_state__a_state_that_is_refused_makes_no_session(db: Db) -> None:
    with db.acting_as("ada"):
        with db.refuses("invalid_state"):
            db.one("get_or_create_session", p_key="refused", p_state="[1]")
        assert db.one("get_or_create_session", p_key="refused", p_state={})["latest_number"] == 1


def test_create_with_state__the_service_for_somebody(db: Db) -> None:
    with db.acting_as("service"):
        row = db.one("get_or_create_session", p_user_id=db.user("eve"), p_state={"a": 1})
    with db.acting_as("eve"):
        assert state_of(db, row["id"]) == {"a": 1}
