"""JSON that is kept as jsonb, metadata and upstream: held to the rules of parts, whichever way it comes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support.database import Db

Send = Callable[[Db, Any, str, str], Any]


def create(db: Db, session_id: Any, field: str, text: str) -> Any:
    return db.one("get_or_create_session", **{f"p_{field}": text})[field]


def update(db: Db, session_id: Any, field: str, text: str) -> Any:
    return db.one("update_session", p_session_id=session_id, p_changes=f'{{"{field}":{text}}}')[field]


def insert(db: Db, session_id: Any, field: str, text: str) -> Any:
    (row,) = db.sql(f"insert into public.free_agent_sessions ({field}) values (%s::jsonb) returning {field}", (text,))
    return row[field]


def update_table(db: Db, session_id: Any, field: str, text: str) -> Any:
    (row,) = db.sql(
        f"update public.free_agent_sessions set {field} = %s::jsonb where id = %s returning {field}",
        (text, session_id),
    )
    return row[field]


def upload(db: Db, session_id: Any, field: str, text: str) -> Any:
    return db.one(
        "import_session",
        p_session=f'{{"latest_number":0,"{field}":{text}}}',
        p_snapshots="[]",
        p_paths=[],
        p_items=[],
        p_since=[],
        p_until=[],
        p_created_at=[],
        p_bodies=[],
    )[field]


WAYS: list[Send] = [create, update, insert, update_table, upload]


def nested(opening: str, closing: str, levels: int) -> str:
    return f'{{"a":{opening * levels}{closing * levels}}}'


REFUSED = {
    "thousands of digits from a few bytes": ('{"a":[' + ",".join(["7e100000"] * 900) + "]}", "number_out_of_range"),
    "just above a double": ('{"a":{"b":[0,-1.8e308]}}', "number_out_of_range"),
    "thousands of zeros behind the point": ('{"a":[' + ",".join(["0e-16000"] * 400) + "]}", "number_out_of_range"),
    "a number smaller than any double, as its digits": ('{"a":3e-9999}', "number_out_of_range"),
    "lists": (nested("[", "]", 64), "nesting_too_deep"),
    "objects": (nested('{"k":', "}", 90).replace(":}", ":1}"), "nesting_too_deep"),
    "deeper than the stack": (nested("[", "]", 3000), "nesting_too_deep"),
    "short numbers that become long": ('{"a":[' + ",".join(["1e300"] * 400) + "]}", "invalid_argument"),
    "text that compresses": (json.dumps({"a": "x" * 70_000}), "invalid_argument"),
}


@pytest.mark.parametrize("field", ["metadata", "upstream"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_document__breaks_a_rule(shared: Db, way: Send, field: str) -> None:
    session_id = shared.session("ada")
    with shared.acting_as("ada"):
        for text, code in REFUSED.values():
            with shared.refuses(code):
                way(shared, session_id, field, text if field == "upstream" else text.replace('"a":', '"b":', 1))
        assert shared.one("get_session", p_session_id=session_id)["size_bytes"] == 0


ALLOWED = [
    nested("[", "]", 62),
    '{"a":[1.7976931348623157e308,-1e-300,5e-324]}',
    '{"a":12345678901234567890.000000000000000010}',
    json.dumps({"a": "[" * 200 + '"\\' * 50}),
    json.dumps({"a": "x" * 8_000}),
]


@pytest.mark.parametrize("text", ALLOWED, ids=range(len(ALLOWED)))
def test_document__keeps_to_the_rules(shared: Db, text: str) -> None:
    session_id = shared.session("ada")
    with shared.acting_as("ada"):
        for way in WAYS:
            assert way(shared, session_id, "metadata", text) == way(shared, session_id, "upstream", text), way


def test_document__size_is_that_of_its_text(shared: Db) -> None:
    """Not that of the stored form: the same 64 KB however well they compress, or how little numbers take."""
    with shared.acting_as("ada"):
        for text in (json.dumps({"a": "x" * (65_536 - 9)}), json.dumps({"a": [1] * 21_842})):
            size = len(text)
            assert 65_530 < size <= 65_536
            shared.one("get_or_create_session", p_metadata=text)
            with shared.refuses("invalid_argument"):
                shared.one("get_or_create_session", p_metadata=text.replace('"a"', '"longer key"'))


def test_document__of_a_member_and_in_the_owners_list(db: Db) -> None:
    """Nothing that an editor may send makes the owner's list large."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.share(session_id, "ed")
    with db.acting_as("ed"), db.refuses("number_out_of_range"):
        update(db, session_id, "metadata", '{"b":[' + ",".join(["4e131000"] * 2_000) + "]}")
    with db.acting_as("ada"):
        (listed,) = db.call("list_sessions")
        assert listed["metadata"] == {}


def test_document__max_nesting_is_a_setting(db: Db) -> None:
    db.sql("update asyouwere.settings set max_nesting = 20")
    with db.acting_as("ada"):
        create(db, None, "metadata", nested("[", "]", 18))
        with db.refuses("nesting_too_deep"):
            create(db, None, "metadata", nested("[", "]", 19))


@pytest.mark.parametrize("who", [None, "ada"])
def test_document__the_check_is_called_by_the_table_only(shared: Db, who: str | None) -> None:
    with shared.acting_as(who), pytest.raises(psycopg.errors.InsufficientPrivilege):
        shared.one("asyouwere.refuse_document", p_field="metadata", p_value="{}", p_max_bytes=9)
