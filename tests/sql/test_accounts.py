"""Accounts: a deleted user's sessions are hidden at once and go in steps; used ids stay used."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from tests.sql.states import change
from tests.support.database import Db, Row


def erased(db: Db, function: str, **arguments: object) -> list[Row]:
    receipts: list[Row] = []
    while not receipts or not receipts[-1]["done"]:
        receipts.append(db.one(function, **arguments))
    return receipts


def many_sessions(db: Db, owner: str, count: int, visibility: str = "private") -> None:
    db.superuser.execute(
        "insert into public.free_agent_sessions (user_id, visibility) select %s, %s from generate_series(1, %s)",
        (db.user(owner), visibility, count),
    )


def left(db: Db, owner: str) -> int:
    (row,) = db.superuser.execute(
        "select count(*) as n from public.free_agent_sessions where user_id = %s", (db.user(owner),)
    ).fetchall()
    return int(row["n"])


# -- deleting a user ---------------------------------------------------------------------------------------------


def test_delete_user_data__in_steps_and_nothing_is_left(db: Db) -> None:
    many_sessions(db, "ada", 500)
    theirs = db.session("bob")
    with db.acting_as("bob"):
        db.share(theirs, "ada")
    with db.acting_as("ada"):
        change(db, theirs, {"set": {"/ada's": "words"}})
        db.call("offer_my_sessions")
    with db.acting_as("bob"):
        db.call("transfer_session", p_session_id=theirs, p_to_user=db.user("ada"))
    with db.acting_as("service"):
        receipts = erased(db, "delete_user_data", p_user_id=db.user("ada"))
    assert sum(receipt["sessions"] for receipt in receipts) == 500
    assert sum(receipt["memberships"] for receipt in receipts) == 1
    for table in ("erasures", "offers", "transfers", "rate_buckets", "used_ids"):
        rows = db.superuser.execute(f"select t::text as row from asyouwere.{table} t".encode()).fetchall()
        assert not any(str(db.user("ada")) in row["row"] for row in rows), table
    # who stays may begin anew
    db.session("ada")


def test_delete_user_data__is_resumable_and_hides_from_the_first_step_on(db: Db) -> None:
    many_sessions(db, "ada", 5000, "public")
    with db.acting_as("service"):
        receipt = db.one("delete_user_data", p_user_id=db.user("ada"))
    assert not receipt["done"]
    assert 0 < left(db, "ada") < 5000
    for who in ("eve", None):
        with db.acting_as(who):
            assert db.sql("select from public.free_agent_sessions") == []
    with db.acting_as("ada"), db.refuses("forbidden"):
        db.one("get_or_create_session")
    with db.acting_as("service"):
        erased(db, "erase_deleted_users")
    assert left(db, "ada") == 0


@pytest.mark.parametrize("who", [None, "eve", "ed"])
def test_deleted_user__public_and_shared_sessions_are_gone_at_once(db: Db, who: str | None) -> None:
    session_id = db.session("ada", visibility="public")
    with db.acting_as("ada"):
        db.save(session_id, {"messages": ["secret"]})
        db.share(session_id, "ed")
    db.superuser.execute("delete from auth.users where id = %s", (db.user("ada"),))
    with db.acting_as(who):
        for function in ("get_session", "get_latest_snapshot", "list_messages"):
            with db.refuses("session_not_found"):
                db.call(function, p_session_id=session_id)
        for table in ("free_agent_sessions", "session_snapshots", "session_messages"):
            assert db.sql(f"select from public.{table}") == []
        (listening,) = db.call("asyouwere.may_listen", p_topic=f"asyouwere:{session_id}")
        assert not listening["may_listen"]


def test_deleted_user__is_swept_and_the_token_makes_nothing_new(db: Db) -> None:
    ada = db.user("ada")
    session_id, theirs = db.session("ada"), db.session("bob")
    with db.acting_as("bob"):
        db.share(theirs, "ada")
        other = db.session("bob")
        db.one("set_session_member", p_session_id=other, p_user_id=ada, p_role="viewer")
    connection = db.connect_as("ada")
    db.superuser.execute("delete from auth.users where id = %s", (ada,))
    with db.acting_as("service"):
        receipts = erased(db, "erase_deleted_users")
    assert sum(receipt["sessions"] for receipt in receipts) == 1
    assert sum(receipt["memberships"] for receipt in receipts) == 2
    with db.refuses("session_not_found"):
        db.call("get_session", on=connection, p_session_id=session_id)
    with db.refuses("forbidden"):
        db.call("get_or_create_session", on=connection)
    # a week later, when no token is good any more, nothing is known of the user
    db.superuser.execute("update asyouwere.erasures set requested_at = now() - interval '8 days'")
    with db.acting_as("service"):
        db.call("erase_deleted_users")
    assert db.superuser.execute("select from asyouwere.erasures").fetchall() == []


def test_clean_up__erases_deleted_users(db: Db) -> None:
    many_sessions(db, "ada", 100)
    db.superuser.execute("delete from auth.users where id = %s", (db.user("ada"),))
    db.superuser.execute("call asyouwere.clean_up(10)")
    assert db.superuser.execute("select from public.free_agent_sessions").fetchall() == []


def test_follow_users__says_why_it_is_off(db: Db) -> None:
    assert db.superuser.execute("select asyouwere.follow_users() as said").fetchall() == [{"said": "on"}]
    db.superuser.execute("drop table auth.users cascade")
    (row,) = db.superuser.execute("select asyouwere.follow_users() as said").fetchall()
    assert row["said"].startswith("off:")


def test_delete_user_data__without_auth_users(db: Db) -> None:
    db.session("ada")
    ada = db.user("ada")
    service = db.connect_as("service")
    db.superuser.execute("drop table auth.users cascade")
    (receipt,) = db.call("delete_user_data", on=service, p_user_id=ada)
    assert (receipt["sessions"], receipt["done"]) == (1, True)


@pytest.mark.parametrize("visibility", ["shared", "public"])
def test_deleted_user__is_no_member_any_more(db: Db, visibility: str) -> None:
    """The token is good for an hour yet, the clean-up has not come by."""
    theirs = db.session("bob", visibility=visibility)
    ada = db.user("ada")
    with db.acting_as("bob"):
        db.save(theirs, {"messages": ["theirs"]})
        db.share(theirs, "ada")
    connection = db.connect_as("ada")
    db.superuser.execute("delete from auth.users where id = %s", (ada,))
    with db.refuses("forbidden" if visibility == "public" else "session_not_found"):
        db.call("append_session_messages", on=connection, p_session_id=theirs, p_messages=["late"])
    with db.refuses("forbidden" if visibility == "public" else "session_not_found"):
        db.call("begin_turn", on=connection, p_session_id=theirs, p_turn_id=uuid4())
    seen = connection.execute("select from public.free_agent_sessions").fetchall()
    assert len(seen) == (visibility == "public")
    assert db.call("list_sessions", on=connection) == []


# -- ids that were used ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["function", "table", "expiry", "user"])
def test_deleted_id__is_nobody_elses(db: Db, way: str) -> None:
    session_id = db.session("ada", kind="chat")
    with db.acting_as("ada"):
        if way == "function":
            db.call("delete_session", p_session_id=session_id)
        elif way == "table":
            db.sql("delete from public.free_agent_sessions")
    if way == "expiry":
        db.superuser.execute(
            "update public.free_agent_sessions set expired_at = now() - interval '8 days', status = 'expired'"
        )
        with db.acting_as("service"):
            assert db.one("expire_idle_sessions")["deleted"] == 1
    elif way == "user":
        with db.acting_as("service"):
            erased(db, "delete_user_data", p_user_id=db.user("ada"))
    with db.acting_as("bob"):
        with db.refuses("session_not_found"):
            db.one("get_or_create_session", p_id=session_id)
        with db.refuses("session_not_found"):
            db.sql("insert into public.free_agent_sessions (id) values (%s)", (session_id,))
    with db.acting_as("service"), db.refuses("key_taken"):
        db.one("get_or_create_session", p_id=session_id, p_user_id=db.user("bob"))
    with db.acting_as("ada"):
        if way == "user":
            with db.refuses("session_not_found"):
                db.one("get_or_create_session", p_id=session_id)
        else:
            assert db.one("get_or_create_session", p_id=session_id)["id"] == session_id


@pytest.mark.parametrize(
    "change_of",
    [{"expires_after_seconds": 1}, {"upstream": {"url": "x"}}, {"archived": True}, {"visibility": "public"}],
)
def test_editor__may_not_end_or_move_a_session(db: Db, change_of: Row) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.share(session_id, "ed")
    with db.acting_as("ed"):
        with db.refuses("forbidden"):
            db.one("update_session", p_session_id=session_id, p_changes={"name": "x", **change_of})
        assert db.one("update_session", p_session_id=session_id, p_changes={"name": "x"})["name"] == "x"


# -- not yours, before any quota -----------------------------------------------------------------------------------


def test_insert__in_anothers_name_hears_nothing_of_the_quota(db: Db) -> None:
    db.session("ada")
    db.superuser.execute("update asyouwere.settings set max_sessions_per_user = 0")
    answers = set()
    with db.acting_as("bob"):
        for user_id in (db.user("ada"), uuid4()):
            connection = db.connection
            code = ""
            try:
                connection.execute("insert into public.free_agent_sessions (user_id) values (%s)", (user_id,))
            except Exception as exc:  # noqa: BLE001 - what it says is compared
                code = str(exc)
            answers.add(code)
    (answer,) = answers
    assert "row-level security" in answer


def test_used_ids__tell_a_third_person_nothing(db: Db) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.call("delete_session", p_session_id=session_id)
    answers: set[str] = set()
    asked: list[UUID] = [session_id, uuid4()]
    with db.acting_as("bob"):
        for each in asked:
            try:
                db.sql("insert into public.free_agent_sessions (id, user_id) values (%s, %s)", (each, db.user("eve")))
            except Exception as exc:  # noqa: BLE001 - what it says is compared
                answers.add(str(exc))
    assert len(answers) == 1


def test_erase_sessions__very_many_snapshots_go_in_steps(db: Db) -> None:
    """One statement for all of them would meet a time limit, roll back, and stand in everybody's way for ever."""
    session_id = db.session("ada")
    db.superuser.execute(
        "insert into public.session_snapshots (session_id, number, size_bytes, changed_parts, message_count)"
        " select %s, n, 0, 0, 0 from generate_series(1, 4500) n",
        (session_id,),
    )
    steps = []
    while not steps or not steps[-1]["done"]:
        (row,) = db.superuser.execute(
            "select * from asyouwere.erase_sessions(%s, clock_timestamp())", (db.user("ada"),)
        ).fetchall()
        steps.append(row)
    assert [(step["sessions"], step["snapshots"]) for step in steps] == [(0, 2000), (0, 2000), (1, 500), (0, 0)]
    assert db.superuser.execute("select from public.session_snapshots").fetchall() == []
