"""save_session_parts(): rows as the functions send them, and rows of somebody who means no good."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asyouwere.state import exact_json
from tests.sql.states import save_rows, save_text, state_of, text_of
from tests.support.database import Db

STATE = {
    "messages": [{"role": "user"}, {"role": "assistant"}],
    "memory": {"board": {"topic": {"title": {"text": "x"}}, "tags": ["a"]}, "numbers": {"5": 1}, "notes": ["n"]},
    "step": 3,
}


@pytest.fixture
def db(shared: Db) -> Db:
    return shared


@pytest.fixture
def saved(db: Db):
    """A session of ada's with STATE as its number 1; whoever uses it acts as ada."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, STATE)
        yield session_id


Rows = list[tuple[Any, Any, Any, Any]]
LOOSE: dict[str, tuple[Rows, str]] = {
    "unknown op": ([("merge", "/a/", -1, "1")], "invalid_changes"),
    "an op of the merge's own": ([("put", "/a/", -1, "1")], "invalid_changes"),
    "no op": ([(None, "/a/", -1, "1")], "invalid_changes"),
    "no path": ([("set", None, -1, "1")], "invalid_changes"),
    "path without closing slash": ([("set", "/a", -1, "1")], "invalid_changes"),
    "path that breaks out of its quotes": ([("set", '/a":1,"b/', -1, "1")], "invalid_changes"),
    "path with a raw control character": ([("set", "/a\n/", -1, "1")], "invalid_changes"),
    "path with a lone tilde": ([("set", "/a~/", -1, "1")], "invalid_changes"),
    "another spelling of a line feed": ([("set", "/\\u000a/", -1, "1")], "invalid_changes"),
    "another spelling of a letter": ([("set", "/\\u0061/", -1, "1")], "invalid_changes"),
    "upper case hex": ([("set", "/\\u001F/", -1, "1")], "invalid_changes"),
    "an escaped pair": ([("set", "/\\ud83d\\ude00/", -1, "1")], "invalid_changes"),
    "an escaped slash": ([("set", "/\\//", -1, "1")], "invalid_changes"),
    "a body that is none": ([("set", "/a/", -1, "{")], "invalid_json"),
    "a body that is two": ([("append", "/messages/", None, "1,2")], "invalid_json"),
    "no body": ([("set", "/a/", -1, None)], "invalid_changes"),
    "remove with a body": ([("remove", "/step/", -1, "1")], "invalid_changes"),
    "append with an item": ([("append", "/messages/", 0, "1")], "invalid_changes"),
    "in without item": ([("set", "/a/", -1, "[]"), ("in", "/a/", None, "1")], "invalid_changes"),
    "item past the last there can be": ([("set", "/messages/", 2147483647, "1")], "invalid_changes"),
    "an item expected there": ([("expect", "/messages/", 2147483647, "1")], "invalid_changes"),
    "item below -1": ([("set", "/messages/", -2, "1")], "invalid_changes"),
    "the root removed": ([("remove", "/", -1, None)], "invalid_changes"),
    "the root as a list": ([("set", "/", -1, "[]")], "invalid_changes"),
    "the root as an item": ([("set", "/", 5, "{}"), ("in", "/new/", -1, "1")], "invalid_changes"),
    "the root inside": ([("set", "/a/", -1, "{}"), ("in", "/", -1, "{}")], "invalid_changes"),
    "in before any set": ([("in", "/new/", -1, "1")], "invalid_changes"),
    "in over what is there": ([("in", "/step/", -1, "4")], "invalid_changes"),
    "in outside its set": ([("set", "/a/", -1, "{}"), ("in", "/b/", -1, "1")], "invalid_changes"),
    "in at its set": ([("set", "/a/", -1, "{}"), ("in", "/a/", -1, "{}")], "invalid_changes"),
    "in after a remove": ([("remove", "/memory/", -1, None), ("in", "/memory/x/", -1, "1")], "invalid_changes"),
    "in twice": (
        [("set", "/a/", -1, "{}"), ("in", "/a/b/", -1, "1"), ("in", "/a/b/", -1, "2")],
        "invalid_changes",
    ),
    "an item inside twice": (
        [("set", "/a/", -1, "[]"), ("in", "/a/", 0, "1"), ("in", "/a/", 0, "2")],
        "invalid_changes",
    ),
    "an item set twice, by number and by path": (
        [("set", "/messages/", 1, "1"), ("set", "/messages/1/", None, "2")],
        "overlapping_addresses",
    ),
    "an item inside a list that is set": (
        [("set", "/messages/", -1, "[]"), ("set", "/messages/", 0, "1")],
        "overlapping_addresses",
    ),
    "a container not opened": ([("set", "/a/", -1, '{"b":1}')], "invalid_changes"),
    "an inner container not opened": (
        [("set", "/a/", -1, "{}"), ("in", "/a/b/", -1, "[1]")],
        "invalid_changes",
    ),
    "a gap inside": ([("set", "/a/", -1, "[]"), ("in", "/a/", 1, "1")], "list_gap"),
    "a member inside a list": ([("set", "/a/", -1, "[]"), ("in", "/a/b/", -1, "1")], "invalid_address"),
    "inside a value": ([("set", "/a/", -1, "1"), ("in", "/a/b/", -1, "1")], "address_below_part"),
    "an item inside an object": ([("set", "/a/", -1, "{}"), ("in", "/a/", 0, "1")], "missing_parent"),
    "deeper than parts are": (
        [("set", "/a/", -1, "{}"), ("in", "/a/b/", -1, "{}"), ("in", "/a/b/c/", -1, "{}"), ("in", "/a/b/c/d/", -1, "1")],
        "address_below_part",
    ),
    "not one length": ([("set", "/a/", -1, "1")], "invalid_changes"),
}


@pytest.mark.parametrize("case", LOOSE)
def test_save_session_parts__rows_from_outside(db: Db, saved, case: str) -> None:
    rows, code = LOOSE[case]
    with db.refuses(code):
        if case == "not one length":
            db.call(
                "save_session_parts",
                p_session_id=saved,
                p_ops=["set"],
                p_paths=["/a/", "/b/"],
                p_items=[-1],
                p_bodies=["1"],
            )
        else:
            save_rows(db, saved, *rows)
    assert state_of(db, saved) == STATE
    assert db.one("get_session", p_session_id=saved)["latest_number"] == 1


@pytest.mark.parametrize(
    "arrays",
    [
        ("'{{append,append}}'", "'{{/messages/,/messages/}}'", "'{{null,null}}'", "'{{1,2}}'"),
        ("'[2:2]={append}'", "'[2:2]={/messages/}'", "'[2:2]={null}'", "'[2:2]={1}'"),
        ("'[0:0]={set}'", "'{/step/}'", "'{-1}'", "'{4}'"),
        ("null", "null", "null", "null"),
        ("'{append}'", "'{/messages/}'", "null", "'{1}'"),
        ("null", "'{/messages/}'", "'{null}'", "'{1}'"),
    ],
    ids=["two dimensions", "from 2 on", "from 0 on", "null", "items null", "ops null"],
)
def test_save_session_parts__odd_arrays(db: Db, saved, arrays: tuple[str, ...]) -> None:
    with db.refuses("invalid_changes"):
        db.sql(f"select * from public.save_session_parts(%s, {', '.join(arrays)})", (saved,))


def test_save_session_parts__no_rows_change_nothing(db: Db, saved) -> None:
    assert save_rows(db, saved)["created"] is False


def test_save_session_parts__a_value_at_a_number_is_opened_if_it_is_a_member(db: Db, saved) -> None:
    body = '{"nul\\u0000":{"\\ud800":"\\u0000","":[]},"\\\\u0000":"\\\\","q\\"":["\\ud800"],"\ue000":"\ue001"}'
    save_rows(db, saved, ("set", "/memory/8/", None, body))
    assert json.loads(text_of(db, saved))["memory"]["8"] == json.loads(body)
    # It was opened: its members have addresses of their own.
    save_rows(db, saved, ("set", "/memory/8/nul\\u0000/", -1, "1"), ("remove", "/memory/8/\\\\u0000/", -1, None))
    inside = json.loads(text_of(db, saved))["memory"]["8"]
    assert inside == {"nul\0": 1, 'q"': ["\ud800"], "\ue000": "\ue001"}


def test_save_session_parts__a_value_at_a_number_is_kept_whole_if_it_is_an_item(db: Db, saved) -> None:
    save_rows(db, saved, ("set", "/messages/1/", None, '{"text":"\\u0000"}'))
    assert json.loads(text_of(db, saved))["messages"][1] == {"text": "\0"}
    with db.refuses("address_below_part"):
        save_rows(db, saved, ("set", "/messages/1/text/", -1, "1"))


def test_save_session_parts__any_key(db: Db, saved) -> None:
    keys = [chr(n) for n in range(0x20)]
    keys += ["\ud800", "\udfff", "\udc00\ud800", '"', "\\", "\x7f", "~", "/", "😀", "ud800", ""]
    state = {key: {key + "x": [1]} for key in keys}
    save_text(db, saved, exact_json.encode(state))
    assert json.loads(text_of(db, saved)) == state
