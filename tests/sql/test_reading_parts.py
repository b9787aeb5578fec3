"""Some addresses of a state: get_session_parts, and messages from the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from tests.sql.states import change, change_text, detail_of, save_text, state_of
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


STATE = {
    "messages": [{"n": n} for n in range(10)],
    "memory": {"board": {"topic": {"a": 1}, "list": [1, [2]], "none": {}}, "7": "seven", "": "empty"},
    "step": 3,
    "nothing": None,
    "empty": [],
}


def parts(db: Db, session_id: UUID, *addresses: Any, **arguments: Any) -> list[Row]:
    return db.call("get_session_parts", p_session_id=session_id, p_addresses=list(addresses), **arguments)


def value(db: Db, session_id: UUID, address: Any, **arguments: Any) -> Any:
    (row,) = parts(db, session_id, address, **arguments)
    assert row["present"]
    return row["value"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", STATE),
        ("/memory", STATE["memory"]),
        ("/memory/board", STATE["memory"]["board"]),  # type: ignore[index,call-overload]
        ("/memory/board/topic", {"a": 1}),
        ("/memory/board/list", [1, [2]]),
        ("/memory/board/none", {}),
        ("/memory/7", "seven"),
        ("/memory/", "empty"),
        ("/messages/3", {"n": 3}),
        ("/messages", STATE["messages"]),
        ("/step", 3),
        ("/nothing", None),
        ("/empty", []),
    ],
)
def test_parts__every_kind_of_address_now_and_at_an_older_number(
    db: Db, session_id: UUID, address: str, expected: Any
) -> None:
    db.save(session_id, STATE, p_label="then")
    assert value(db, session_id, address) == expected
    db.save(session_id, {"messages": [0] * 20, "memory": 1, "step": 4, "new": 1})
    assert value(db, session_id, address, p_number=1) == expected
    assert value(db, session_id, address, p_label="then") == expected


def test_parts__are_what_a_restore_shows_at_every_number(db: Db, session_id: UUID) -> None:
    steps: list[dict[str, Any]] = [
        {"set": {"": STATE}},
        {"append": {"/messages": ["x"]}, "set": {"/memory/board/topic": 5}},
        {"remove": ["/messages/10", "/messages/9"], "set": {"/messages/0": "first"}},
        {"remove": ["/memory/board"], "append": {"/messages": ["y", "z"]}},
        {"set": {"/memory": {"board": {"new": [[]]}}, "/messages": ["only"]}},
        {"remove": ["/messages"]},
    ]
    for step in steps:
        change(db, session_id, step)
    for number in range(len(steps) + 1):
        state = state_of(db, session_id, number)
        for row in parts(
            db, session_id, "", "/memory", "/memory/board", "/messages", "/messages/0", "/step", p_number=number
        ):
            wanted: Any = state
            for key in row["address"].split("/")[1:]:
                if isinstance(wanted, list):
                    wanted = wanted[int(key)] if int(key) < len(wanted) else None
                else:
                    wanted = (wanted or {}).get(key)
            assert row["value"] == wanted, (number, row["address"])
            assert row["number"] == number


@pytest.mark.parametrize(
    ("window", "first", "items"),
    [
        ({"last": 3}, 7, [7, 8, 9]),
        ({"last": 30}, 0, list(range(10))),
        ({"last": 0}, 10, []),
        ({"first": 2}, 0, [0, 1]),
        ({"first": 2, "after": 4}, 5, [5, 6]),
        ({"last": 2, "before": 4}, 2, [2, 3]),
        ({"after": 2, "before": 5}, 3, [3, 4]),
        ({"after": 2, "before": 5, "last": 9}, 3, [3, 4]),
        ({"after": 20}, 21, []),
    ],
)
def test_parts__a_window_of_a_list(
    db: Db, session_id: UUID, window: dict[str, int], first: int, items: list[int]
) -> None:
    db.save(session_id, STATE)
    change(db, session_id, {"append": {"/messages": ["later"]}})
    for arguments, length in (({"p_number": 1}, 10),):
        (row,) = parts(db, session_id, {"address": "/messages", **window}, **arguments)
        assert (row["first_position"], row["list_length"]) == (first, length)
        assert row["value"] == [{"n": n} for n in items]
    (row,) = parts(db, session_id, {"address": "/messages", "last": 1})
    assert (row["value"], row["first_position"], row["list_length"]) == (["later"], 10, 11)


def test_parts__come_in_the_order_asked_and_twice_if_asked_twice(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"a": 1, "b": 2})
    rows = parts(db, session_id, "/b", "/a", "/c", "/b")
    assert [(row["address"], row["present"], row["value"]) for row in rows] == [
        ("/b", True, 2),
        ("/a", True, 1),
        ("/c", False, None),
        ("/b", True, 2),
    ]


def test_parts__before_the_first_save(db: Db, session_id: UUID) -> None:
    assert value(db, session_id, "") == {}
    assert [row["present"] for row in parts(db, session_id, "/messages", {"address": "/a/b", "last": 1})] == [False] * 2


def test_parts__of_a_state_with_nul_and_half_characters(db: Db, session_id: UUID) -> None:
    text = r'{"a\u0000":{"b\ud800":"\u0000"},"c":["\udfff\u0000",1.10],"d":2}'
    save_text(db, session_id, text)
    asked = r'["","/a\u0000","/a\u0000/b\uD800","/c",{"address":"/c","last":1},"/\u0064","/a\u0001\u0003"]'
    rows = db.sql(
        "select address::text, present, value::text from get_session_parts(%s, %s)", (session_id, asked)
    )
    assert [(row["address"], row["value"]) for row in rows] == [
        ('""', text),
        (r'"/a\u0000"', r'{"b\ud800":"\u0000"}'),
        (r'"/a\u0000/b\ud800"', r'"\u0000"'),
        ('"/c"', r'["\udfff\u0000",1.10]'),
        ('"/c"', "[1.10]"),
        ('"/d"', "2"),
        (r'"/a\u0001\u0003"', None),
    ]
    change_text(db, session_id, r'{"set":{"/d":3}}')
    (row,) = db.sql("select value::text from get_session_parts(%s, %s, 1)", (session_id, r'["/a\u0000/b\ud800"]'))
    assert row["value"] == r'"\u0000"'


@pytest.mark.parametrize("pointer", ["/memory/board/topic/a", "/messages/0/n", "/messages/0/n/m/k", "/memory/board/list/0"])
def test_parts__inside_of_a_part_is_refused_with_its_address(db: Db, session_id: UUID, pointer: str) -> None:
    db.save(session_id, STATE)
    with db.refuses("address_below_part") as refused:
        parts(db, session_id, pointer)
    assert pointer.startswith(detail_of(refused)["part"] + "/")


@pytest.mark.parametrize("pointer", ["/step/x", "/messages/x", "/messages/10", "/messages/99/x", "/no/a/b/c/d", "/messages/-"])
def test_parts__where_nothing_is_or_can_be(db: Db, session_id: UUID, pointer: str) -> None:
    db.save(session_id, STATE)
    (row,) = parts(db, session_id, pointer)
    assert (row["present"], row["value"]) == (False, None)


@pytest.mark.parametrize(
    ("addresses", "code"),
    [
        ("[]", "invalid_argument"),
        ("{}", "invalid_argument"),
        ("[1]", "invalid_argument"),
        ("[null]", "invalid_argument"),
        (json.dumps(["/a"] * 101), "invalid_argument"),
        ('[{"last":1}]', "invalid_argument"),
        ('[{"address":"/messages","last":-1}]', "invalid_argument"),
        ('[{"address":"/messages","last":1.5}]', "invalid_argument"),
        ('[{"address":"/messages","last":null}]', "invalid_argument"),
        ('[{"address":"/messages","last":99999999999}]', "invalid_argument"),
        ('[{"address":"/messages","last":1,"first":1}]', "invalid_argument"),
        ('[{"address":"/messages","lats":1}]', "invalid_argument"),
        ('["messages"]', "invalid_address"),
        ('["/a~2"]', "invalid_address"),
        (json.dumps(["/" + "a" * 2000]), "address_too_long"),
        ('[{"address":"/step","last":1}]', "not_a_list"),
        ('[{"address":"","after":1}]', "not_a_list"),
        ('[{"address":"/messages/1","first":1}]', "not_a_list"),
    ],
)
def test_parts__what_is_refused(db: Db, session_id: UUID, addresses: str, code: str) -> None:
    db.save(session_id, STATE)
    with db.refuses(code):
        db.call("get_session_parts", p_session_id=session_id, p_addresses=addresses)


def test_parts__numbers_that_are_not_there(db: Db, session_id: UUID) -> None:
    db.save(session_id, STATE)
    for arguments in ({"p_number": 2}, {"p_label": "x"}):
        with db.refuses("snapshot_not_found"):
            parts(db, session_id, "/step", **arguments)


def test_parts__together_never_more_than_a_state(db: Db, session_id: UUID) -> None:
    db.superuser.execute("update asyouwere.settings set max_state_bytes = 1048576")
    try:
        db.save(session_id, {"a": "x" * 600_000})
        assert len(parts(db, session_id, "/a", "/a")) == 2
        with db.refuses("too_large"):
            parts(db, session_id, "", "/a", "/a")
    finally:
        db.superuser.execute("update asyouwere.settings set max_state_bytes = default")


# -- messages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "positions"),
    [
        ({"p_last": 3}, [7, 8, 9]),
        ({"p_last": 3, "p_before": 7}, [4, 5, 6]),
        ({"p_last": 3, "p_after": 7}, [8, 9]),
        ({"p_last": 0}, []),
        ({"p_before": 2}, [0, 1]),
        ({"p_after": 2, "p_before": 5}, [3, 4]),
        ({"p_after": 2, "p_limit": 1}, [3]),
    ],
)
def test_list_messages__from_the_end_and_between(
    db: Db, session_id: UUID, arguments: dict[str, int], positions: list[int]
) -> None:
    db.save(session_id, STATE)
    rows = db.call("list_messages", p_session_id=session_id, **arguments)
    assert [row["position"] for row in rows] == positions
    assert [row["body"] for row in rows] == [{"n": n} for n in positions]


def test_list_messages__last_is_at_most_a_thousand(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"messages": [1] * 1005})
    rows = db.call("list_messages", p_session_id=session_id, p_last=5000)
    assert [rows[0]["position"], rows[-1]["position"], len(rows)] == [5, 1004, 1000]
