"""What spec/cases says, of the SQL functions: opened by them (JSON), and sent opened (rows) as the functions do."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from asyouwere.errors import Invalid
from asyouwere.state.exact_json import parse
from asyouwere.state.rows import open_changes
from tests.sql.states import change, change_text, detail_of, save_text, state_of, text_of
from tests.support.cases import Case, all_cases
from tests.support.database import Db


@pytest.fixture
def db(shared: Db) -> Db:
    shared.superuser.execute("delete from asyouwere.rate_buckets")  # on a fast machine all cases are too many at once
    return shared


@all_cases("splitting.json")
def test_save__splitting(db: Db, case: Case) -> None:
    for opened_by_caller in (False, True):
        session_id = db.session("ada")
        with db.acting_as("ada"):
            if opened_by_caller:
                save_text(db, session_id, case["state"])
            else:
                db.save(session_id, case["state"])
        parts = db.superuser.execute(
            """select asyouwere.pointer_json(p.path, p.item) as pointer, p.body
               from asyouwere.live_parts p join free_agent_sessions s on s.internal_id = p.session
               where s.id = %s""",
            [session_id],
        )
        assert {json.loads(row["pointer"]): row["body"] for row in parts} == case["parts"]


@all_cases("pointers.json")
def test_path_of_pointer__cases(db: Db, case: Case) -> None:
    def path() -> str:
        (row,) = db.superuser.execute("select asyouwere.path_of_pointer(%s) as path", [case["pointer"]])
        return str(row["path"])

    if "path" in case:
        assert path() == case["path"]
    else:
        with pytest.raises(psycopg.Error) as refused:
            path()
        assert refused.value.diag.message_hint == case["refused"]
        assert list(detail_of(refused)) == ["address"]


@all_cases("diffing.json")
def test_save__diffing(db: Db, case: Case) -> None:
    with db.acting_as("ada"):
        for send in (change, change_text):
            session_id = db.session("ada")
            db.save(session_id, case["old"])
            send(db, session_id, json.dumps(case["changes"], separators=(",", ":")))
            assert state_of(db, session_id) == case["new"]


@all_cases("changing.json")
def test_save__changing(db: Db, case: Case) -> None:
    with db.acting_as("ada"):
        for send in (change, change_text):
            session_id = db.session("ada")
            db.save(session_id, case["state"])
            if "after" in case:
                changes = case["changes"] if send is change else parse(case["changes"].encode())
                row = send(db, session_id, changes)
                assert state_of(db, session_id) == case["after"]
                size = db.superuser.execute(
                    """select sum(p.size) from asyouwere.live_parts p
                       join free_agent_sessions s on s.internal_id = p.session where s.id = %s""",
                    [session_id],
                ).fetchone()
                assert size is not None
                assert row["size_bytes"] == size["sum"]
                continue
            if send is change:
                with db.refuses(case["refused"]) as refused:
                    change(db, session_id, case["changes"])
                assert detail_of(refused) == case.get("detail", {})
            elif _opens(case["changes"]):
                with db.refuses(case["refused"]) as refused:
                    change_text(db, session_id, parse(case["changes"].encode()))
                assert detail_of(refused) == case.get("detail", {})
            assert state_of(db, session_id) == case["state"]


def _opens(changes: str) -> bool:
    """Whether asyouwere.state has nothing against them: what it has is tested with its own cases."""
    try:
        open_changes(parse(changes.encode()))
    except Invalid:
        return False
    return True


@all_cases("conditions.json")
def test_save__conditions(db: Db, case: Case) -> None:
    with db.acting_as("ada"):
        for send in (change, change_text):
            session_id = db.session("ada")
            arguments: dict[str, Any] = {}
            if "base" in case:
                arguments["p_base"] = db.save(session_id, case["base"])["number"]
            # as text that is ASCII: some hold half a character
            db.save(session_id, json.dumps(case["state"], separators=(",", ":")))
            if send is change_text and not _opens(case["changes"]):
                continue
            changes = case["changes"] if send is change else parse(case["changes"].encode())
            if "after" in case:
                key = {"p_idempotency_key": "k"}
                row = send(db, session_id, changes, **arguments, **key)
                assert state_of(db, session_id) == case["after"]
                assert row["existing"] == case["existing"]
                again = send(db, session_id, changes, **arguments, **key)
                assert again["replayed"]
                assert (again["number"], again["existing"]) == (row["number"], row["existing"])
                continue
            with db.refuses(case.get("refused", "conflict")) as refused:
                send(db, session_id, changes, **arguments)
            if "conflicts" in case:
                assert detail_of(refused)["addresses"] == case["conflicts"]
            else:
                assert detail_of(refused) == case.get("detail", {})
            assert state_of(db, session_id) == case["state"]


@all_cases("merging.json")
def test_merge__cases(db: Db, case: Case) -> None:
    with db.acting_as("ada"):
        for send in (change, change_text):
            session_id = db.session("ada")
            db.save(session_id, case["base"])
            db.save(session_id, case["theirs"], p_base=1)
            changes = json.dumps(case["changes"], separators=(",", ":"))
            if "merged" in case:
                assert send(db, session_id, changes, p_base=1)["merged"]
                assert state_of(db, session_id) == case["merged"]
                continue
            with db.refuses("conflict") as refused:
                send(db, session_id, changes, p_base=1)
            named = detail_of(refused)["addresses"]
            # parts are compared one by one here: what is named lies at or under what has to be named
            for address in named:
                assert any(_at_or_under(address, each) for each in case["conflicts"]), named
            for each in case["conflicts"]:
                assert any(_at_or_under(address, each) for address in named), named
            assert state_of(db, session_id) == case["theirs"]


def _at_or_under(address: str, above: str) -> bool:
    return address == above or address.startswith(above + "/")


@all_cases("numbers.json")
def test_save__numbers(db: Db, case: Case) -> None:
    state = f'{{"l":[{{"n":{case["text"]}}}],"n":{case["text"]}}}'
    session_id = db.session("ada")
    with db.acting_as("ada"):
        if "refused" not in case:
            db.save(session_id, state)
            assert text_of(db, session_id) == state
            return
        for item in (state, f'{{"n":{case["text"]}}}'):
            with db.refuses(case["refused"]):
                db.save(session_id, item)
