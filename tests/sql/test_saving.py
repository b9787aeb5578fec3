"""Saving: whole states and changes, what a save answers, labels, limits, sessions saved for the first time."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from psycopg.errors import CheckViolation, NotNullViolation, UniqueViolation

from asyouwere.state import exact_json
from asyouwere.state.rows import open_state
from tests.sql.states import change, detail_of, save_rows, save_text, state_of, text_of
from tests.support.database import Db
from tests.support.documents import state_texts

PARTS = "select path, item, body, since, until from asyouwere.parts order by path, item, since"


@pytest.fixture
def session_id(db: Db):
    """A session of ada's; whoever uses it acts as ada."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        yield session_id


def counted(*parts: str) -> int:
    """What parts count as, each given as its address and its body."""
    return sum(len(part) + 100 for part in parts)


def test_save__the_first_whole_state(db: Db, session_id) -> None:
    row = db.save(session_id, {"messages": [{"role": "user", "content": "hi"}], "step": 1})
    assert row == {
        "number": 1,
        "created": True,
        "replayed": False,
        "merged": False,
        "changed_parts": 3,
        "size_bytes": counted("/messages/[]", '/messages/{"role":"user","content":"hi"}', "/step/1"),
        "message_count": 1,
        "others": None,
        "existing": None,
    }


def test_save__the_first_is_made_even_if_empty(db: Db, session_id) -> None:
    row = db.save(session_id, {})
    assert (row["number"], row["created"], row["changed_parts"], row["size_bytes"]) == (1, True, 0, 0)
    assert state_of(db, session_id) == {}
    row = db.save(session_id, {})
    assert (row["number"], row["created"]) == (1, False)


def test_save__the_first_may_be_changes(db: Db, session_id) -> None:
    row = change(db, session_id, {"append": {"/messages": ["a", "b"]}, "set": {"/step": 1}}, p_base=0)
    assert (row["number"], row["merged"], row["message_count"]) == (1, False, 2)
    assert state_of(db, session_id) == {"messages": ["a", "b"], "step": 1}


def test_save__no_changes_at_all(db: Db, session_id) -> None:
    assert change(db, session_id, {})["number"] == 1
    assert change(db, session_id, {"set": {}, "append": {}, "remove": []})["created"] is False
    assert change(db, session_id, {"append": {"/messages": []}})["created"] is False
    assert state_of(db, session_id) == {}


def test_save__a_whole_state_replaces_all(db: Db, session_id) -> None:
    db.save(session_id, {"a": {"b": 1, "c": [1, 2]}, "d": 2})
    row = db.save(session_id, {"a": {"b": 1, "c": [1]}, "e": {}})
    assert (row["number"], row["changed_parts"]) == (2, 3)  # an item went, d went, e came
    assert state_of(db, session_id) == {"a": {"b": 1, "c": [1]}, "e": {}}
    assert state_of(db, session_id, 1) == {"a": {"b": 1, "c": [1, 2]}, "d": 2}


def test_save__unchanged_makes_no_snapshot(db: Db, session_id) -> None:
    state = {"messages": [{"role": "user"}], "memory": {"a": {"b": {"c": 1}}}}
    db.save(session_id, state)
    row = db.save(session_id, state)
    assert (row["number"], row["created"], row["changed_parts"], row["others"]) == (1, False, 0, None)
    assert (row["size_bytes"], row["message_count"]) == (
        counted("/messages/[]", '/messages/{"role":"user"}', "/memory/{}", "/memory/a/{}", '/memory/a/b/{"c":1}'),
        1,
    )
    assert change(db, session_id, {"set": {"/memory": {"a": {"b": {"c": 1}}}}})["created"] is False
    assert change(db, session_id, {"set": {"/messages/0": {"role": "user"}}})["created"] is False


def test_save__numbers_have_no_gaps_after_refusals(db: Db, session_id) -> None:
    db.save(session_id, {"n": 1})
    for _ in range(3):
        with db.refuses("missing_parent"):
            change(db, session_id, {"set": {"/x/0": 1, "/n": 2}})
    assert db.save(session_id, {"n": 3})["number"] == 2
    assert state_of(db, session_id, 1) == {"n": 1}


def test_save__only_changed_parts_are_written(db: Db, session_id) -> None:
    db.save(session_id, {"a": {"x": 1, "y": 2}, "l": [1, 2, 3]})
    change(db, session_id, {"set": {"/a/x": 5, "/l/1": "two"}})
    rows = db.superuser.execute(PARTS).fetchall()
    assert [tuple(row.values()) for row in rows] == [
        ("/a/", -1, "{}", 1, 2147483647),
        ("/a/x/", -1, "1", 1, 2),
        ("/a/x/", -1, "5", 2, 2147483647),
        ("/a/y/", -1, "2", 1, 2147483647),
        ("/l/", -1, "[]", 1, 2147483647),
        ("/l/", 0, "1", 1, 2147483647),
        ("/l/", 1, "2", 1, 2),
        ("/l/", 1, '"two"', 2, 2147483647),
        ("/l/", 2, "3", 1, 2147483647),
    ]


KINDS: list[Any] = [None, True, 0, "", "text", {}, [], {"k": 1}, [1, 2], {"k": {"l": [1]}}, [[], {}], {"0": 1}]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_save__any_kind_in_place_of_any_other(db: Db, session_id, depth: int) -> None:
    address = "/v" * depth

    def whole(value: Any) -> Any:
        for _ in range(depth):
            value = {"v": value}
        return value

    db.save(session_id, whole(None))
    for before in KINDS:
        for after in KINDS:
            change(db, session_id, {"set": {address: before}})
            row = change(db, session_id, {"set": {address: after}})
            assert row["created"] == (before is not after)
            assert state_of(db, session_id) == whole(after)
    change(db, session_id, {"remove": [address]})
    assert state_of(db, session_id) == [{}, {"v": {}}, {"v": {"v": {}}}][depth - 1]


def test_save__sizes_and_counts_add_up(db: Db, session_id) -> None:
    db.save(session_id, {"messages": [{"text": "ü😀"}, 2], "memory": {"a": {"b": [1]}}, "t": "x"})
    change(db, session_id, {"append": {"/messages": ["é", {}]}, "set": {"/memory/a": 5}, "remove": ["/t"]})
    change(db, session_id, {"remove": ["/messages/3", "/messages/2"], "set": {"/messages/0": "s"}})
    db.save(session_id, {"messages": {"no": "list"}})
    change(db, session_id, {"set": {"/messages": [1, 2, 3]}})
    change(db, session_id, {"remove": ["/messages"]})
    counts = db.superuser.execute(
        """
        select n.number, n.size_bytes, n.message_count, coalesce(sum(octet_length(p.path) + octet_length(p.body) + 100), 0) as bytes,
            count(*) filter (where p.path = '/messages/' and p.item >= 0) as messages,
            coalesce(bool_and(p.size = octet_length(p.path) + octet_length(p.body) + 100), true) as sizes_are_right
        from public.session_snapshots n
        left join asyouwere.parts p on p.since <= n.number and p.until > n.number
        group by n.session_id, n.number order by n.number
        """
    ).fetchall()
    assert [row["message_count"] for row in counts] == [2, 4, 2, 0, 3, 0]
    for row in counts:
        assert (row["size_bytes"], row["message_count"]) == (row["bytes"], row["messages"]), row["number"]
        assert row["sizes_are_right"]
    session = db.one("get_session", p_session_id=session_id)
    assert (session["latest_number"], session["size_bytes"], session["message_count"]) == (6, 0, 0)


def test_save__random_states_come_back_at_every_number(db: Db, session_id) -> None:
    chance = random.Random(1)

    def value(depth: int) -> Any:
        kind = chance.random()
        if depth > 0 and kind < 0.35:
            return {
                chance.choice(["a", "b", "0", "1", "", "x/y", "~", "messages"]): value(depth - 1) for _ in range(3)
            }
        if depth > 0 and kind < 0.6:
            return [value(depth - 1) for _ in range(chance.randrange(4))]
        return chance.choice([None, True, 0, -1.5, "", "text", [], {}])

    states = []
    for _ in range(60):
        state = value(5)
        states.append(state if isinstance(state, dict) else {"messages": state})
        row = db.save(session_id, states[-1])
        if not row["created"]:
            states.pop()
        assert len(states) == row["number"]
    for number, state in enumerate(states, 1):
        assert state_of(db, session_id, number) == state
        assert json.loads(text_of(db, session_id, number)) == state
    assert state_of(db, session_id) == states[-1]


def test_save__argument_wrong(db: Db, session_id) -> None:
    refused = [
        {"p_state": {}, "p_changes": {}},
        {},
        {"p_state": {}, "p_on_conflict": "force"},
        {"p_state": {}, "p_on_conflict": None},
        {"p_state": {}, "p_label": ""},
        {"p_state": {}, "p_label": "x" * 201},
        {"p_state": {}, "p_idempotency_key": ""},
        {"p_state": {}, "p_idempotency_key": "x" * 256},
    ]
    for arguments in refused:
        with db.refuses("invalid_argument"):
            db.save(session_id, **arguments)
    for state in ("[]", "1", '"[]"', "null"):
        with db.refuses("invalid_state"):
            db.save(session_id, state)
    assert db.save(session_id, {}, p_label="x" * 200, p_idempotency_key="x" * 255)["number"] == 1


def test_save__what_postgres_cannot_look_into_is_kept_exactly(db: Db, session_id) -> None:
    text = (
        '{"a\\u0000":{"\\uD800":"\\u0000"},"pair \\ud83d\\ude00":["\\\\u0000","\\ude00"],"\\u0001":"\\u0001\\u0002"}'
    )
    db.save(session_id, text)
    kept = '{"\\u0001":"\\u0001\\u0002","a\\u0000":{"\\ud800":"\\u0000"},"pair 😀":["\\\\u0000","\\ude00"]}'
    assert text_of(db, session_id) == kept
    # and it is the same as from the functions: nothing changes
    assert save_text(db, session_id, kept)["created"] is False
    changes = '{"set":{"/a\\u0000/\\uD800":"\\udfff"},"append":{"/pair \\ud83d\\ude00":["\\u0000"]},"remove":["/\\u0001"],"x":0}'
    with db.refuses("invalid_changes"):
        change(db, session_id, changes)
    change(db, session_id, changes.replace(',"x":0', ""))
    assert text_of(db, session_id) == '{"a\\u0000":{"\\ud800":"\\udfff"},"pair 😀":["\\\\u0000","\\ude00","\\u0000"]}'
    for wrong, code in (('{"set":{"":["\\u0000"]}}', "invalid_state"), ('{"set":{"a\\u0000":1}}', "invalid_address")):
        with db.refuses(code):
            change(db, session_id, wrong)


@settings(max_examples=150, deadline=None)
@given(text=state_texts)
@pytest.mark.slow
def test_open_state__is_the_same_from_sql_as_from_the_functions(shared: Db, text: str) -> None:
    """Any JSON text a caller may send: the same parts at the same addresses."""
    (row,) = shared.superuser.execute(
        "select r.paths, r.items, r.bodies from (select (asyouwere.open_state(%s::json)).*) r", (text,)
    ).fetchall()
    rows = open_state(exact_json.parse(text.encode()))
    found = {
        (path, item): exact_json.parse(body.encode())
        for path, item, body in zip(row["paths"], row["items"], row["bodies"], strict=True)
    }
    assert found == dict(zip(zip(rows.paths, rows.items, strict=True), rows.bodies, strict=True))


# -- labels ----------------------------------------------------------------------------------------------------


def test_save__label(db: Db, session_id) -> None:
    db.save(session_id, {"n": 1}, p_label="first")
    db.save(session_id, {"n": 2})
    assert db.one("get_snapshot", p_session_id=session_id, p_label="first")["state"] == {"n": 1}
    with db.refuses("label_taken"):
        db.save(session_id, {"n": 3}, p_label="first")
    assert db.one("get_session", p_session_id=session_id)["latest_number"] == 2
    # Nothing changed: the label goes to the number that is there.
    row = db.save(session_id, {"n": 2}, p_label="second")
    assert (row["number"], row["created"]) == (2, False)
    assert db.one("get_snapshot", p_session_id=session_id, p_label="second")["number"] == 2
    # The same label for the same number is no conflict.
    assert db.save(session_id, {"n": 2}, p_label="second")["number"] == 2


def test_save__two_sessions_may_have_one_label(db: Db, session_id) -> None:
    other = db.session("ada")
    db.save(session_id, {}, p_label="same")
    db.save(other, {}, p_label="same")
    assert db.one("get_snapshot", p_session_id=other, p_label="same")["session_id"] == other


# -- limits ----------------------------------------------------------------------------------------------------


def nested(levels: int, kind: str) -> str:
    """JSON with so many containers in one another: lists, objects, or by turns."""
    opening = {
        "lists": ["["],
        "objects": ['{"a":'],
        "by turns": ['{"a":', "["],
        "by turns, lists first": ["[", '{"a":'],
    }
    text = ""
    closing = ""
    for level in range(levels):
        piece = opening[kind][level % len(opening[kind])]
        text += piece
        closing = ("]" if piece == "[" else "}") + closing
    return (text + "0" if text.endswith(":") else text) + closing


@pytest.mark.parametrize("kind", ["lists", "objects", "by turns", "by turns, lists first"])
def test_save__nesting(db: Db, session_id, kind: str) -> None:
    # The state is level 1, so a value at a member of it may have 63.
    db.save(session_id, f'{{"a":{nested(63, kind)}}}')
    with db.refuses("nesting_too_deep"):
        db.save(session_id, f'{{"a":{nested(64, kind)}}}')
    change(db, session_id, f'{{"set":{{"/b":{{"c":{nested(62, kind)}}}}}}}')
    # An item of a list of messages stands in two containers.
    save_rows(db, session_id, ("append", "/messages/", None, nested(62, kind)))
    with db.refuses("nesting_too_deep"):
        save_rows(db, session_id, ("append", "/messages/", None, nested(63, kind)))
    save_rows(db, session_id, ("set", "/messages/", 0, nested(62, kind)))
    with db.refuses("nesting_too_deep"):
        save_rows(db, session_id, ("set", "/messages/", 0, nested(63, kind)))
    exact_json.parse(text_of(db, session_id).encode())  # within the functions' limit too
    assert db.one("get_session", p_session_id=session_id)["latest_number"] == 3


def test_save__brackets_in_strings_are_no_nesting(db: Db, session_id) -> None:
    text = '\\"[[[{{{\\\\' * 40
    db.save(session_id, {"a": text, "m": [text, {"k" + text: [text]}]})
    assert state_of(db, session_id) == {"a": text, "m": [text, {"k" + text: [text]}]}


NUMBERS_KEPT = [
    "0",
    "-0",
    "-0.0",
    "1e23",
    "1E+2",
    "1e-300",
    "1.7976931348623157e308",
    "1234567890" * 4,
    "-" + "9" * 300,
    "0." + "0" * 120 + "1",
    "5e-324",
]
NUMBERS_REFUSED = [
    "1e309",
    "-1e309",
    "1E400",
    "9" * 310,
    "1.8e308",
    "1e9999",
    "1e-9999",
    "1e100000000000",
    "2" * 1001,
]


def test_save__numbers(db: Db, session_id) -> None:
    for number in NUMBERS_KEPT:
        db.save(session_id, f'{{"top":{number},"list":[{number}],"deep":{{"a":{{"b":{{"c":[{number}]}}}}}}}}')
        assert (
            text_of(db, session_id)
            == f'{{"deep":{{"a":{{"b":{{"c":[{number}]}}}}}},"list":[{number}],"top":{number}}}'
        )
    latest = len(NUMBERS_KEPT)
    for number in NUMBERS_REFUSED:
        for state in (
            f'{{"a":{number}}}',
            f'{{"a":{{"b":{{"c":{{"d":["e100",{number}]}}}}}}}}',
            f'{{"a":[{number}]}}',
        ):
            with db.refuses("number_out_of_range"):
                db.save(session_id, state)
    with db.refuses("number_out_of_range"):
        save_rows(db, session_id, ("append", "/list/", None, "1e309"))
    with db.refuses("number_out_of_range"):
        save_rows(db, session_id, ("set", "/top/", -1, "1e309"))
    assert db.one("get_session", p_session_id=session_id)["latest_number"] == latest
    db.save(session_id, {"text": "1e309 " + "9" * 400, "1e309": ["1e9999"]})
    assert state_of(db, session_id) == {"text": "1e309 " + "9" * 400, "1e309": ["1e9999"]}


def test_save__state_too_large(db: Db, session_id) -> None:
    db.superuser.execute("update asyouwere.settings set max_state_bytes = 1024 * 1024")
    db.save(session_id, {"a": "x" * (1024 * 1024 - counted('/a/""'))})  # exactly as large as allowed
    with db.refuses("too_large") as refused:
        change(db, session_id, {"set": {"/b": 1}})
    assert detail_of(refused) == {"size_bytes": 1024 * 1024 + counted("/b/1"), "max_bytes": 1024 * 1024}
    with db.refuses("too_large"):
        change(db, session_id, {"append": {"/b": [1]}})
    with db.refuses("too_large"):
        change(db, session_id, {"set": {"/a": "x" * (1024 * 1024 - 1)}})
    change(db, session_id, {"set": {"/b": 1, "/a": "small"}})
    assert state_of(db, session_id) == {"a": "small", "b": 1}


def test_settings__limits_that_can_be_set(db: Db, session_id) -> None:
    db.superuser.execute("update asyouwere.settings set max_nesting = 20")
    with db.refuses("nesting_too_deep"):
        db.save(session_id, f'{{"a":{nested(20, "by turns")}}}')
    db.save(session_id, f'{{"a":{nested(19, "by turns")}}}')
    db.superuser.execute("update asyouwere.settings set max_nesting = 1000")
    db.save(session_id, f'{{"a":{nested(999, "by turns")}}}')
    with db.refuses("nesting_too_deep"):
        db.save(session_id, f'{{"a":{nested(1000, "by turns")}}}')


@pytest.mark.parametrize(
    "change_of_settings",
    [
        "max_nesting = 19",
        "max_nesting = 1001",
        "max_state_bytes = 1024 * 1024 - 1",
        "keep_snapshots = 0",
        "only_row = false",
        "keep_for = null",
    ],
)
def test_settings__limits_that_cannot_be_set(shared: Db, change_of_settings: str) -> None:
    with pytest.raises((CheckViolation, NotNullViolation)):
        shared.superuser.execute(f"update asyouwere.settings set {change_of_settings}".encode())


def test_settings__have_one_row(shared: Db) -> None:
    with pytest.raises(UniqueViolation):
        shared.superuser.execute("insert into asyouwere.settings default values")
