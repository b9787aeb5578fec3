"""Restoring, comparing, going back, branching off, labels."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from asyouwere.state import exact_json
from tests.sql.states import change, detail_of, save_text, state_of, text_of
from tests.support.database import Db, Row


@pytest.fixture
def db(shared: Db) -> Db:
    return shared


@pytest.fixture
def session_id(db: Db):
    """A session of ada's; whoever uses it acts as ada."""
    session_id = db.session("ada", name="original")
    with db.acting_as("ada"):
        yield session_id


# -- restoring -------------------------------------------------------------------------------------------------


def test_get__before_the_first_save(db: Db, session_id) -> None:
    row = db.one("get_latest_snapshot", p_session_id=session_id)
    created_at = row.pop("created_at")
    assert created_at == db.one("get_session", p_session_id=session_id)["created_at"]
    assert row == {
        "session_id": session_id,
        "number": 0,
        "label": None,
        "size_bytes": 0,
        "message_count": 0,
        "status": "idle",
        "latest_number": 0,
        "metadata": None,
        "external_id": None,
        "parent_number": None,
        "state": {},
    }
    assert text_of(db, session_id) == "{}"
    assert state_of(db, session_id, 0) == {}
    with db.refuses("snapshot_not_found"):
        state_of(db, session_id, 1)


def test_get__by_number_and_label(db: Db, session_id) -> None:
    db.save(session_id, {"n": 1}, p_label="first")
    db.save(session_id, {"n": 2, "messages": ["a"]})
    row = db.one("get_snapshot", p_session_id=session_id, p_number=1)
    assert (row["number"], row["label"], row["latest_number"], row["state"]) == (1, "first", 2, {"n": 1})
    assert db.one("get_snapshot", p_session_id=session_id, p_label="first") == row
    assert db.one("get_snapshot", p_session_id=session_id, p_label="first", p_number=1) == row
    latest = db.one("get_latest_snapshot", p_session_id=session_id)
    assert (latest["number"], latest["size_bytes"], latest["message_count"]) == (2, 329, 1)
    assert db.one("get_snapshot", p_session_id=session_id) == latest
    assert db.one("get_snapshot", p_session_id=session_id, p_number=2) == latest
    assert state_of(db, session_id, 0) == {}


def test_get__chunks_begin_with_the_header(db: Db, session_id) -> None:
    db.save(session_id, {"n": 1}, p_label='a "label"')
    rows = [row["get_snapshot_chunks"] for row in db.call("get_snapshot_chunks", p_session_id=session_id)]
    header = json.loads(rows[0])
    row = db.one("get_snapshot", p_session_id=session_id)
    assert list(header) == [name for name in row if name != "state"]
    assert (header["number"], header["label"], header["status"]) == (1, 'a "label"', "idle")
    assert json.loads("".join(rows[1:])) == {"n": 1}


def test_get__refusals(db: Db, session_id) -> None:
    db.save(session_id, {"n": 1}, p_label="one")
    refused: list[Row] = [{"p_number": 2}, {"p_number": -1}, {"p_label": "two"}, {"p_label": "one", "p_number": 2}]
    for arguments in refused:
        for function in ("get_snapshot", "get_snapshot_chunks"):
            with db.refuses("snapshot_not_found"):
                db.call(function, p_session_id=session_id, **arguments)
    with db.refuses("snapshot_not_found") as refusal:
        state_of(db, session_id, 7)
    assert detail_of(refusal) == {"number": 7, "latest": 1}


SHAPES: list[Any] = [
    {},
    {"a": {}},
    {"a": []},
    {"a": {"b": {}}},
    {"a": {"b": []}},
    {"a": {"b": {"c": {}}}},
    {"a": {"b": {"c": []}}},
    {"a": [[], {}, None]},
    {"a": {"b": [1, [2], {"c": 3}]}, "a!": 1, "a/": 2, "b": []},
    {"": {"": {"": {"": ""}}}},
    {"l": list(range(31))},
    {"l": list(range(32)), "m": 1},
    {"l": list(range(33)), "l0": {"x": list(range(65))}},
    {"messages": [{"i": i} for i in range(1000)], "z": {"y": {"x": 1}, "w": 2}},
    {str(n): {str(m): {str(k): [n, m, k] for k in range(3)} for m in range(4)} for n in range(20)},
]


def test_get__every_shape_at_every_age(db: Db, session_id) -> None:
    for shape in SHAPES:
        db.save(session_id, shape)
    for number, shape in enumerate(SHAPES, 1):
        assert state_of(db, session_id, number) == shape
        assert json.loads(text_of(db, session_id, number)) == shape
    # As the latest they go another way.
    for shape in SHAPES:
        db.save(session_id, shape)
        assert json.loads(text_of(db, session_id)) == shape


EXACT: list[tuple[str, Any]] = [
    ("values", ["\0", "a\0b", "\\u0000", "\\\0", "\ud800", "\udfff\ud800", "😀", "\u2028", "\x7f", '"', "\n\t\b\f\r\x1f"]),
    ("keys", {"": 1, "a/b": 2, "a~b": 3, "~1": 4, "~0": 5, "a.b": 6, "0": 7, "00": 8, "-1": 9, "\0": 10, "\ud800": 11}),
    ("key like an escape", {"\\u0000": 1, "\\": 2, '"': 3, "\n": 4, "__proto__": 5, "constructor": 6, "😀": 7}),
    ("empty", {"o": {}, "l": [], "s": "", "n": None, "oo": {"o": {}}, "ll": [[]], "ol": {"l": []}, "lo": [{}]}),
]


@pytest.mark.parametrize(("name", "value"), EXACT, ids=[name for name, _ in EXACT])
def test_exact__any_json_at_any_depth(db: Db, session_id, name: str, value: Any) -> None:
    states = [{"v": value}, {"messages": [value]}, {"v": {"w": value}}, {"v": {"w": {"x": value}}}, {"v": {"w": {"x": [value]}}}]
    if isinstance(value, dict):
        states += [value, {"v": dict.fromkeys(value, value)}]
    for number, state in enumerate(states, 1):
        assert save_text(db, session_id, exact_json.encode(state))["number"] == number
        assert json.loads(text_of(db, session_id)) == state
    for number, state in enumerate(states, 1):
        assert json.loads(text_of(db, session_id, number)) == state


def test_exact__numbers_keep_their_spelling(db: Db, session_id) -> None:
    numbers = "[-0,-0.0,1e23,1E23,1.0,1.10,0.1e1,100000000000000000000000,1234567890123456789012345678901234567890]"
    for state in (f'{{"a":{numbers}}}', f'{{"a":{{"b":{numbers}}}}}', f'{{"a":{{"b":{{"c":{numbers}}}}}}}'):
        save_text(db, session_id, state)
        assert text_of(db, session_id) == state


def test_exact__what_is_kept_whole_keeps_order_and_doubles(db: Db, session_id) -> None:
    state = '{"messages":[{"z":1,"a":2,"z":3}],"o":{"p":{"q":{"z":1,"y":[{"b":1,"a":2}],"x":3}}}}'
    save_text(db, session_id, state)
    assert text_of(db, session_id) == state


def test_exact__null_is_not_absent(db: Db, session_id) -> None:
    save_text(db, session_id, '{"a":null,"l":[null,null]}')
    assert text_of(db, session_id) == '{"a":null,"l":[null,null]}'
    change(db, session_id, {"set": {"/l/0": None}, "remove": ["/a"]})
    assert text_of(db, session_id) == '{"l":[null,null]}'


# -- comparing -------------------------------------------------------------------------------------------------


def difference(db: Db, session_id: UUID, start: int | None, end: int | None) -> list[tuple[Any, ...]]:
    rows = db.call("diff_snapshots", p_session_id=session_id, p_from=start, p_to=end)
    return [tuple(row.values()) for row in rows]


def test_diff__addresses_in_order(db: Db, session_id) -> None:
    db.save(session_id, {"messages": [{"a": 1}, 2, 3], "m": {"x": 1, "y/z": {"w": 1}}, "t": "old"})
    db.save(session_id, {"messages": [{"a": 2}, 2], "m": {"x": 1, "y/z": 5, "n": {}}, "u": None})
    assert difference(db, session_id, 1, 2) == [
        ("/m/n", "added", None, {}),
        ("/m/y~1z", "changed", {}, 5),
        ("/m/y~1z/w", "removed", 1, None),
        ("/messages/0", "changed", {"a": 1}, {"a": 2}),
        ("/messages/2", "removed", 3, None),
        ("/t", "removed", "old", None),
        ("/u", "added", None, None),
    ]
    backwards = {"added": "removed", "removed": "added", "changed": "changed"}
    assert difference(db, session_id, 2, 1) == [
        (address, backwards[kind], after, before) for address, kind, before, after in difference(db, session_id, 1, 2)
    ]
    assert difference(db, session_id, 2, 2) == []
    assert [row[:2] for row in difference(db, session_id, 0, 1)][:2] == [("/m", "added"), ("/m/x", "added")]


def test_diff__what_went_and_came_back_is_no_difference(db: Db, session_id) -> None:
    for n in (1, 2, 1):
        db.save(session_id, {"n": n, "l": [n]})
    assert difference(db, session_id, 1, 3) == []
    assert len(difference(db, session_id, 2, 3)) == 2


def test_diff__refusals(db: Db, session_id) -> None:
    db.save(session_id, {"n": 1})
    for start, end in ((1, 2), (2, 1), (-1, 1)):
        with db.refuses("snapshot_not_found"):
            difference(db, session_id, start, end)
    for start, end in ((None, 1), (1, None)):
        with db.refuses("invalid_argument"):
            difference(db, session_id, start, end)


def test_diff__keys_that_postgres_cannot_read(db: Db, session_id) -> None:
    save_text(db, session_id, '{"a\\u0000":"\\ud800"}')
    rows = db.sql("select address::text, before::text, after::text from diff_snapshots(%s, 0, 1)", (session_id,))
    assert rows == [{"address": '"/a\\u0000"', "before": None, "after": '"\\ud800"'}]


# -- going back ------------------------------------------------------------------------------------------------


def test_revert__a_new_number_with_the_old_content(db: Db, session_id) -> None:
    first = {"messages": ["a", "b"], "m": {"x": {"y": 1}}, "t": 1}
    db.save(session_id, first)
    db.save(session_id, {"messages": ["a", "c", "d"], "m": 5})
    row = db.one("revert_session", p_session_id=session_id, p_number=1)
    assert (row["number"], row["created"], row["message_count"]) == (3, True, 2)
    assert state_of(db, session_id) == first
    assert state_of(db, session_id, 2) == {"messages": ["a", "c", "d"], "m": 5}
    assert row["size_bytes"] == db.one("get_snapshot", p_session_id=session_id, p_number=1)["size_bytes"]
    # What the revert did is a change like any other: it syncs, and it can be built on.
    assert db.one("get_session_changes", p_session_id=session_id, p_since=2)["changes"] == {
        "set": {"/m": {}, "/m/x": {}, "/m/x/y": 1, "/messages/1": "b", "/t": 1},
        "remove": ["/messages/2"],
    }
    change(db, session_id, {"append": {"/messages": ["e"]}})
    assert state_of(db, session_id)["messages"] == ["a", "b", "e"]


def test_revert__to_nothing_and_to_the_latest(db: Db, session_id) -> None:
    db.save(session_id, {"a": {"b": [1]}})
    assert db.one("revert_session", p_session_id=session_id, p_number=1)["created"] is False
    row = db.one("revert_session", p_session_id=session_id, p_number=0)
    assert (row["number"], row["size_bytes"], row["changed_parts"]) == (2, 0, 3)
    assert state_of(db, session_id) == {}
    db.one("revert_session", p_session_id=session_id, p_number=1)
    assert state_of(db, session_id) == {"a": {"b": [1]}}


def test_revert__between_random_states(db: Db, session_id) -> None:
    chance = random.Random(3)
    states: list[Any] = [{}]
    for n in range(25):
        if n % 3 == 2:
            target = chance.randrange(len(states))
            row = db.one("revert_session", p_session_id=session_id, p_number=target)
            state = states[target]
        else:
            state = {
                chance.choice("abc"): chance.choice([n, {}, [], {"x": n}, [n] * chance.randrange(4), {"x": {"y": n}}])
                for _ in range(4)
            }
            row = db.save(session_id, state)
        if row["created"]:
            states.append(state)
        assert state_of(db, session_id) == state
    for number, state in enumerate(states):
        assert state_of(db, session_id, number) == state


def test_revert__retry(db: Db, session_id) -> None:
    db.save(session_id, {"n": 1})
    db.save(session_id, {"n": 2})
    first = db.one("revert_session", p_session_id=session_id, p_number=1, p_idempotency_key="k")
    db.save(session_id, {"n": 4})
    again = db.one("revert_session", p_session_id=session_id, p_number=1, p_idempotency_key="k")
    assert again == {**first, "replayed": True}
    assert state_of(db, session_id) == {"n": 4}
    with db.refuses("idempotency_key_reused"):
        db.one("revert_session", p_session_id=session_id, p_number=2, p_idempotency_key="k")
    with db.refuses("idempotency_key_reused"):
        db.save(session_id, {"n": 1}, p_idempotency_key="k")


def test_revert__refusals(db: Db, session_id) -> None:
    db.save(session_id, {"n": 1})
    for number in (2, -1):
        with db.refuses("snapshot_not_found"):
            db.one("revert_session", p_session_id=session_id, p_number=number)
    for arguments in ({"p_number": None}, {"p_number": None, "p_idempotency_key": "k"}, {"p_number": 0, "p_idempotency_key": ""}):
        with db.refuses("invalid_argument"):
            db.one("revert_session", p_session_id=session_id, **arguments)


# -- branching off ---------------------------------------------------------------------------------------------


def test_fork__starts_with_the_content(db: Db, session_id) -> None:
    save_text(db, session_id, '{"messages":["a",{"\\u0000":"\\ud800"}],"m":{"x":{}}}')
    db.save(session_id, {"n": 2}, p_label="two")
    fork = db.one("fork_session", p_session_id=session_id, p_number=1, p_name="branch")
    assert (fork["name"], fork["latest_number"], fork["message_count"], fork["key"]) == ("branch", 1, 2, None)
    assert fork["id"] != session_id
    assert text_of(db, fork["id"]) == text_of(db, session_id, 1)
    (snapshot,) = db.call("list_snapshots", p_session_id=fork["id"])
    assert (snapshot["number"], snapshot["label"], snapshot["changed_parts"]) == (1, None, 5)
    assert snapshot["size_bytes"] == fork["size_bytes"]
    # The two go separate ways.
    change(db, fork["id"], {"append": {"/messages": ["c"]}})
    assert state_of(db, session_id) == {"n": 2}
    assert db.one("fork_session", p_session_id=session_id)["name"] == "original"
    assert state_of(db, db.one("fork_session", p_session_id=session_id)["id"]) == {"n": 2}


def test_fork__takes_the_fields_along(db: Db) -> None:
    fields: Row = {"kind": "chat", "model": "m", "metadata": {"a": 1}, "upstream": {"provider": "p"}}
    for seconds, expected in ((0, None), (60, timedelta(minutes=1)), (None, timedelta(minutes=30))):
        session_id = db.session("ada", **fields, key=f"k{seconds}", expires_after_seconds=seconds, visibility="public")
        with db.acting_as("ada"):
            fork = db.one("fork_session", p_session_id=session_id)
        assert {name: fork[name] for name in fields} == fields
        assert (fork["expires_after"], fork["visibility"], fork["key"]) == (expected, "private", None)


def test_fork__of_a_session_never_saved(db: Db, session_id) -> None:
    fork = db.one("fork_session", p_session_id=session_id)
    assert fork["latest_number"] == 0
    assert db.save(fork["id"], {"a": 1})["number"] == 1


def test_fork__whoever_may_read_may_fork(db: Db) -> None:
    session_id = db.session("ada", visibility="public")
    with db.acting_as("ada"):
        db.save(session_id, {"n": 1})
    with db.acting_as("bob"):
        fork = db.one("fork_session", p_session_id=session_id)
        assert fork["user_id"] == db.user("bob")
        assert state_of(db, fork["id"]) == {"n": 1}
    with db.acting_as("service"):
        assert db.one("fork_session", p_session_id=session_id)["user_id"] == db.user("ada")


def test_fork__refusals(db: Db, session_id) -> None:
    db.save(session_id, {"n": 1})
    for number in (2, -1):
        with db.refuses("snapshot_not_found"):
            db.one("fork_session", p_session_id=session_id, p_number=number)
    with db.refuses("session_not_found"):
        db.one("fork_session", p_session_id=uuid4())
    with db.refuses("invalid_argument"):
        db.one("fork_session", p_session_id=session_id, p_name="x" * 501)


# -- labels ----------------------------------------------------------------------------------------------------


def test_label__given_changed_taken_away(db: Db, session_id) -> None:
    db.save(session_id, {"n": 1})
    db.save(session_id, {"n": 2})
    row = db.one("label_snapshot", p_session_id=session_id, p_number=1, p_label="a")
    assert (row["number"], row["label"]) == (1, "a")
    with db.refuses("label_taken"):
        db.one("label_snapshot", p_session_id=session_id, p_number=2, p_label="a")
    db.one("label_snapshot", p_session_id=session_id, p_number=1, p_label="a")
    db.one("label_snapshot", p_session_id=session_id, p_number=1, p_label="b")
    db.one("label_snapshot", p_session_id=session_id, p_number=2, p_label="a")
    assert db.one("label_snapshot", p_session_id=session_id, p_number=2, p_label=None)["label"] is None
    with db.refuses("snapshot_not_found"):
        db.one("get_snapshot", p_session_id=session_id, p_label="a")


def test_label__refusals(db: Db, session_id) -> None:
    db.save(session_id, {"n": 1})
    for number in (0, 2, -1, None):
        with db.refuses("snapshot_not_found"):
            db.one("label_snapshot", p_session_id=session_id, p_number=number, p_label="a")
    for label in ("", "x" * 201):
        with db.refuses("invalid_argument"):
            db.one("label_snapshot", p_session_id=session_id, p_number=1, p_label=label)


def test_old_number__rows_of_later_ones_are_not_read(db: Db) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {"messages": ["hi"], "step": 1})
        for step in range(2, 201):
            change(db, session_id, {"set": {"/step": step}})
    read = "select seq_tup_read + idx_tup_fetch from pg_stat_xact_all_tables where (schemaname, relname) = ('asyouwere', 'parts')"
    with db.acting_as("ada"), db.connection.transaction():
        assert db.one("get_snapshot", p_session_id=session_id, p_number=3)["state"] == {"messages": ["hi"], "step": 3}
        assert db.value(read) < 50
