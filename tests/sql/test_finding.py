"""Finding sessions by their owner's own names: by key, by its beginning, by metadata; keys for forks and imports."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.database import Db


@pytest.fixture
def db(shared: Db) -> Db:
    return shared


def keys(db: Db, **arguments: Any) -> list[str]:
    return [row["key"] for row in db.call("list_sessions", **arguments)]


def test_by_key__finds_and_never_makes(db: Db) -> None:
    session_id = db.session("ada", key="here")
    with db.acting_as("ada"):
        assert db.one("find_session", p_key="here")["id"] == session_id
        before = len(db.call("list_sessions"))
        with db.refuses("session_not_found"):
            db.one("find_session", p_key="her")
        assert len(db.call("list_sessions")) == before
        with db.refuses("session_not_found"):
            db.one("find_session", p_key="here", p_user_id=db.user("eve"))
    with db.acting_as("eve"):
        with db.refuses("session_not_found"):
            db.one("find_session", p_key="here")
        with db.refuses("session_not_found"):
            db.one("find_session", p_key="here", p_user_id=db.user("ada"))
    with db.acting_as("service"):
        assert db.one("find_session", p_key="here", p_user_id=db.user("ada"))["id"] == session_id
        with db.refuses("session_not_found"):
            db.one("find_session", p_key="here")


def test_list__by_the_beginning_of_the_key(db: Db) -> None:
    for key in ("t/1", "t/2", "t/", "T/3", "s/t/1", "t", "t/_%", "t/\U0010ffff", "t/日本"):
        db.session("kim", key=key)
    db.session("kim")
    db.session("eve", key="t/9")
    with db.acting_as("kim"):
        assert sorted(keys(db, p_key_prefix="t/")) == sorted(["t/1", "t/2", "t/", "t/_%", "t/\U0010ffff", "t/日本"])
        assert keys(db, p_key_prefix="t/_") == ["t/_%"]
        assert keys(db, p_key_prefix="t/日") == ["t/日本"]
        assert keys(db, p_key_prefix="%") == []
        assert len(keys(db, p_key_prefix="")) == 9
        first = db.call("list_sessions", p_key_prefix="t/", p_limit=2)
        rest = keys(
            db, p_key_prefix="t/", p_before=str(first[-1]["last_activity_at"]), p_before_id=str(first[-1]["id"])
        )
        assert len(first) == 2
        assert sorted([row["key"] for row in first] + rest) == sorted(keys(db, p_key_prefix="t/"))


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ({"app": "x"}, ["a", "b"]),
        ({"app": "x", "n": 1}, ["a"]),
        ({"n": 1.0}, ["a"]),
        ({"tags": ["two"]}, ["b"]),
        ({"tags": ["one", "two"]}, []),
        ({"deep": {"in": None}}, ["b"]),
        ({"deep": {}}, ["b"]),
        ({"none": None}, ["c"]),
        ({"app": "z"}, []),
        ({"x": "app"}, []),
    ],
)
def test_list__by_metadata(db: Db, metadata: dict[str, Any], found: list[str]) -> None:
    with db.acting_as("lou"):
        for key, given in {
            "a": {"app": "x", "n": 1},
            "b": {"app": "x", "tags": ["two"], "deep": {"in": None, "more": 1}},
            "c": {"app": "y", "none": None},
            "d": {},
        }.items():
            db.one("get_or_create_session", p_key=key, p_metadata=given)
        assert sorted(keys(db, p_metadata=metadata)) == found
        assert sorted(keys(db, p_metadata=metadata, p_key_prefix="a")) == [key for key in found if key == "a"]
    with db.acting_as("eve"):
        assert keys(db, p_metadata=metadata) == []


NO_METADATA = [
    ("[]", "invalid_argument"),
    ('"x"', "invalid_argument"),
    ("null", "invalid_argument"),
    ('{"n":1e131071}', "number_out_of_range"),  # a term of 131,072 digits, and of these thousands
    ('{"deep":' + "[" * 200 + "]" * 200 + "}", "nesting_too_deep"),
    ('{"long":"' + "x" * 70_000 + '"}', "invalid_argument"),
]


@pytest.mark.parametrize(("metadata", "code"), NO_METADATA)
def test_list__by_metadata_that_no_session_could_have(db: Db, metadata: str, code: str) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        for arguments in ({}, {"p_key_prefix": "a"}):
            with db.refuses(code):
                db.call("list_sessions", p_metadata=metadata, **arguments)
        for arguments in ({}, {"p_external_id": "a"}):
            with db.refuses(code):
                db.call("list_snapshots", p_session_id=session_id, p_metadata=metadata, **arguments)


def test_list__by_metadata_that_was_changed(db: Db) -> None:
    with db.acting_as("moe"):
        session_id = db.one("get_or_create_session", p_key="k", p_metadata={"v": 1})["id"]
        db.one("update_session", p_session_id=session_id, p_changes={"metadata": {"v": 2}})
        assert (keys(db, p_metadata={"v": 1}), keys(db, p_metadata={"v": 2})) == ([], ["k"])
        assert keys(db, p_metadata={"v": 2}, p_archived=True) == []


def test_found_ids__are_told_to_their_owner_only(db: Db) -> None:
    session_id = db.session("ada", key="private/1")
    with db.acting_as("eve"):
        assert db.call(
            "asyouwere.find_session_ids", p_user_id=db.user("ada"), p_key_prefix="", p_metadata=None
        )[0]["find_session_ids"] == []
    with db.acting_as("ada"):
        assert db.call(
            "asyouwere.find_session_ids", p_user_id=db.user("ada"), p_key_prefix="private/", p_metadata=None
        )[0]["find_session_ids"] == [session_id]


@pytest.mark.parametrize("arguments", [{"p_key_prefix": "few/"}, {"p_metadata": {"kind": "few"}}])
def test_list__finds_few_among_many_by_an_index(db: Db, arguments: dict[str, Any]) -> None:
    owner = db.user("bulk")
    if not db.superuser.execute("select from public.free_agent_sessions where user_id = %s", (owner,)).fetchall():
        db.superuser.execute(
            "insert into public.free_agent_sessions (user_id, key, metadata)"
            " select %s, 'many/' || i, jsonb_build_object('kind', 'many', 'i', i) from generate_series(1, 5000) i",
            (owner,),
        )
        db.superuser.execute(
            "insert into public.free_agent_sessions (user_id, key, metadata) values (%s, 'few/1', '{\"kind\": \"few\"}')",
            (owner,),
        )
        db.superuser.execute("analyze public.free_agent_sessions")
    with db.acting_as("bulk"):
        connection = db.connection
        db.call("list_sessions", **arguments)
        read = "select coalesce(sum(seq_tup_read + idx_tup_fetch), 0) as n from pg_stat_xact_user_tables where relname = %s"
        with connection.transaction():
            before = connection.execute(read, ("free_agent_sessions",)).fetchall()[0]["n"]
            assert [row["key"] for row in db.call("list_sessions", **arguments)] == ["few/1"]
            after = connection.execute(read, ("free_agent_sessions",)).fetchall()[0]["n"]
    assert after - before < 50


def test_fork__with_a_key(db: Db) -> None:
    session_id = db.session("ada", name="original")
    with db.acting_as("ada"):
        db.save(session_id, {"n": 1})
        fork = db.one("fork_session", p_session_id=session_id, p_key="forked")
        assert db.one("find_session", p_key="forked")["id"] == fork["id"]
        with db.refuses("key_taken"):
            db.one("fork_session", p_session_id=session_id, p_key="forked")
        with db.refuses("invalid_argument"):
            db.one("fork_session", p_session_id=session_id, p_key="")


def test_import__with_a_key(db: Db) -> None:
    empty: dict[str, Any] = {
        "p_session": {}, "p_snapshots": [], "p_paths": [], "p_items": [], "p_since": [], "p_until": [],
        "p_created_at": [], "p_bodies": [],
    }  # fmt: skip
    with db.acting_as("ada"):
        imported = db.one("import_session", **empty, p_key="imported")
        assert db.one("find_session", p_key="imported")["id"] == imported["id"]
        with db.refuses("key_taken"):
            db.one("import_session", **empty, p_key="imported")
