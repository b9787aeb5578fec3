"""Sharing by consent: who is invited is a stranger until accepting, and nobody's list is filled by others."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4, uuid5

import psycopg
import pytest

from tests.sql.states import change
from tests.support.database import PEOPLE, Db


@pytest.fixture
def session_id(db: Db) -> UUID:
    """A session of ada's that bob is invited to."""
    session_id = db.session("ada", name="shared")
    with db.acting_as("ada"):
        db.save(session_id, {"messages": ["secret"]})
        db.one("set_session_member", p_session_id=session_id, p_user_id=db.user("bob"), p_role="editor")
    return session_id


def settings(db: Db, **values: int) -> None:
    for name, value in values.items():
        db.superuser.execute(f"update asyouwere.settings set {name} = %s".encode(), (value,))


# -- accepting ---------------------------------------------------------------------------------------------------


def test_invited__is_a_stranger_until_accepting(db: Db, session_id: UUID) -> None:
    with db.acting_as("bob"):
        for function in ("get_session", "get_latest_snapshot", "list_session_members", "export_session"):
            with db.refuses("session_not_found"):
                db.call(function, p_session_id=session_id)
        for table in ("sessions_list", "free_agent_sessions", "session_messages", "session_members"):
            assert db.sql(f"select * from public.{table}") == []
        assert db.call("list_sessions") == []
        (invitation,) = db.call("list_invitations")
        assert (invitation["session_id"], invitation["role"], invitation["name"]) == (session_id, "editor", "shared")
        assert invitation["invited_by"] == db.user("ada")
        member = db.one("accept_invitation", p_session_id=session_id)
        assert (member["role"], member["invited_by"]) == ("editor", None)
        assert db.one("accept_invitation", p_session_id=session_id) == member
        assert db.call("list_invitations") == []
        assert db.one("list_sessions")["my_role"] == "editor"
        change(db, session_id, {"append": {"/messages": ["bob's"]}})
    with db.acting_as("ada"):
        (listed,) = db.call("list_session_members", p_session_id=session_id)
        assert listed["accepted_at"] == member["accepted_at"]


def test_invited__another_role_needs_no_new_consent(db: Db, session_id: UUID) -> None:
    with db.acting_as("bob"):
        db.call("accept_invitation", p_session_id=session_id)
    with db.acting_as("ada"):
        row = db.one("set_session_member", p_session_id=session_id, p_user_id=db.user("bob"), p_role="viewer")
        assert row["accepted_at"] is not None
    with db.acting_as("bob"), db.refuses("forbidden"):
        change(db, session_id, {"set": {"/a": 1}})


@pytest.mark.parametrize("who", ["eve", "ada"])
def test_accept__nobody_who_is_not_invited(db: Db, session_id: UUID, who: str) -> None:
    answers = set()
    for asked in (session_id, uuid4()):
        with db.acting_as(who), db.refuses("invitation_not_found") as refused:
            db.one("accept_invitation", p_session_id=asked)
        answers.add(str(refused.value).split("CONTEXT")[0])
    assert len(answers) == 1


def test_accept__not_for_another_but_by_the_service(db: Db, session_id: UUID) -> None:
    with db.acting_as("ada"), db.refuses("forbidden"):
        db.one("accept_invitation", p_session_id=session_id, p_user_id=db.user("bob"))
    with db.acting_as("service"):
        db.one("accept_invitation", p_session_id=session_id, p_user_id=db.user("bob"))
    with db.acting_as("bob"):
        assert len(db.call("list_sessions")) == 1


def test_accept__not_of_a_session_made_private(db: Db, session_id: UUID) -> None:
    with db.acting_as("ada"):
        db.one("update_session", p_session_id=session_id, p_changes={"visibility": "private"})
    with db.acting_as("bob"):
        assert db.call("list_invitations") == []
        with db.refuses("invitation_not_found"):
            db.one("accept_invitation", p_session_id=session_id)


# -- leaving -----------------------------------------------------------------------------------------------------


def test_leave__invited_declines(db: Db, session_id: UUID) -> None:
    with db.acting_as("bob"):
        db.call("remove_session_member", p_session_id=session_id, p_user_id=db.user("bob"))
        with db.refuses("invitation_not_found"):
            db.one("accept_invitation", p_session_id=session_id)
    with db.acting_as("ada"):
        assert db.call("list_session_members", p_session_id=session_id) == []


def test_leave__works_in_a_session_made_private_again(db: Db, session_id: UUID) -> None:
    with db.acting_as("bob"):
        db.call("accept_invitation", p_session_id=session_id)
    with db.acting_as("ada"):
        db.one("update_session", p_session_id=session_id, p_changes={"visibility": "private"})
    with db.acting_as("bob"):
        assert db.sql("select * from public.session_members") == []
        with db.refuses("session_not_found"):
            db.call("list_session_members", p_session_id=session_id)
        db.call("remove_session_member", p_session_id=session_id, p_user_id=db.user("bob"))
    with db.acting_as("ada"):
        assert db.call("list_session_members", p_session_id=session_id) == []
        db.one("update_session", p_session_id=session_id, p_changes={"visibility": "shared"})
    with db.acting_as("bob"), db.refuses("session_not_found"):
        db.call("get_session", p_session_id=session_id)


def test_leave__tells_nothing(db: Db, session_id: UUID) -> None:
    """A stranger who 'leaves' hears the same of a session that is there and of one that is not."""
    with db.acting_as("eve"):
        for asked in (session_id, uuid4(), None):
            rows = db.call("remove_session_member", p_session_id=asked, p_user_id=db.user("eve"))
            assert rows == [{"remove_session_member": ""}]


# -- how many ----------------------------------------------------------------------------------------------------


def invite_by_function(db: Db, session_id: UUID, user_id: UUID) -> None:
    db.one("set_session_member", p_session_id=session_id, p_user_id=user_id, p_role="viewer")


def invite_by_table(db: Db, session_id: UUID, user_id: UUID) -> None:
    db.sql("insert into public.session_members (session_id, user_id) values (%s, %s)", (session_id, user_id))


@pytest.mark.parametrize("invite", [invite_by_function, invite_by_table])
@pytest.mark.parametrize(
    ("limit", "quota"),
    [
        ("max_members_per_session", "members"),
        ("max_invitations_sent", "invitations_sent"),
        ("max_invitations_received", "invitations_received"),
        ("max_invitations_from_one", "invitations_from_one"),
    ],
)
def test_invite__at_most_so_many(db: Db, limit: str, quota: str, invite: Any) -> None:
    settings(db, **{limit: 2})
    one, bob = db.session("ada"), db.user("bob")
    to_one_person = limit in ("max_invitations_received", "max_invitations_from_one")
    places = [(db.session("ada"), bob) for _ in range(3)] if to_one_person else [(one, db.user(f"guest {n}")) for n in range(3)]
    with db.acting_as("ada"):
        for place in places[:2]:
            invite(db, *place)
        with db.refuses("quota_exceeded") as refused:
            invite(db, *places[2])
        assert f'"quota": "{quota}", "used": 2' in (refused.value.diag.message_detail or "")
        # another role for one who is in already is no further one
        db.one("set_session_member", p_session_id=places[0][0], p_user_id=places[0][1], p_role="editor")
        db.call("remove_session_member", p_session_id=places[0][0], p_user_id=places[0][1])
        invite(db, *places[2])


@pytest.mark.parametrize("invite", [invite_by_function, invite_by_table])
def test_invite__is_charged(db: Db, invite: Any) -> None:
    session_id = db.session("ada", visibility="shared")
    db.superuser.execute("update asyouwere.settings set writes_per_second = 0.001, writes_at_once = 3")
    db.superuser.execute("delete from asyouwere.rate_buckets")
    with db.acting_as("ada"):
        for n in range(3):
            invite(db, session_id, db.user(f"guest {n}"))
        with db.refuses("rate_limited"):
            invite(db, session_id, db.user("guest 3"))


def test_invite__twenty_thousand_rows_at_once_are_refused(db: Db) -> None:
    session_id = db.session("ada")
    db.superuser.execute("insert into auth.users (id) select lpad(n::text, 32, '0')::uuid from generate_series(1, 20000) n")
    with db.acting_as("ada"), db.refuses("quota_exceeded"):
        db.sql(
            "insert into public.session_members (session_id, user_id) select %s, lpad(n::text, 32, '0')::uuid from generate_series(1, 20000) n",
            (session_id,),
        )
    assert db.superuser.execute("select from public.session_members").fetchall() == []


# -- whom --------------------------------------------------------------------------------------------------------


def invite_by_offer(db: Db, session_id: UUID, user_id: UUID) -> None:
    db.one("transfer_session", p_session_id=session_id, p_to_user=user_id)


WAYS = [invite_by_function, invite_by_table, invite_by_offer]


def invited(db: Db, session_id: UUID) -> list[Any]:
    return db.superuser.execute(
        "select user_id from public.session_members where session_id = %(id)s "
        "union all select to_user from asyouwere.transfers where session_id = %(id)s",
        {"id": session_id},
    ).fetchall()


@pytest.mark.parametrize("who", ["ada", "service"])
@pytest.mark.parametrize("invite", WAYS)
def test_invite__an_id_that_no_user_has_is_refused(db: Db, invite: Any, who: str) -> None:
    session_id, left = db.session("ada"), db.user("left")
    db.superuser.execute("delete from auth.users where id = %s", (left,))
    with db.acting_as(who):
        for unknown in (uuid4(), left):
            with db.refuses("user_not_found") as refused:
                invite(db, session_id, unknown)
            assert str(unknown) not in str(refused.value).split("CONTEXT")[0]
    (session,) = db.superuser.execute("select visibility from free_agent_sessions where id = %s", (session_id,)).fetchall()
    assert (session["visibility"], invited(db, session_id)) == ("private", [])
    bob = db.user("bob")
    with db.acting_as(who):
        invite(db, session_id, bob)
    assert invited(db, session_id) == [{"user_id": bob}]


@pytest.mark.parametrize("invite", WAYS)
def test_invite__unknown_id_in_place_of_another__changes_nothing(db: Db, invite: Any) -> None:
    session_id, bob = db.session("ada"), db.user("bob")
    with db.acting_as("ada"):
        invite(db, session_id, bob)
        with db.refuses("user_not_found"):
            invite(db, session_id, uuid4())
    assert invited(db, session_id) == [{"user_id": bob}]


@pytest.mark.parametrize("invite", WAYS)
@pytest.mark.parametrize("who", ["ed", "eve", None])
def test_invite__who_may_not__learns_nothing_of_who_is_a_user(db: Db, invite: Any, who: str | None) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.share(session_id, "ed")
    answers = set()
    for asked in (db.user("bob"), uuid4()):
        with db.acting_as(who), pytest.raises(psycopg.Error) as refused:
            invite(db, session_id, asked)
        answers.add((refused.value.sqlstate, refused.value.diag.message_hint, refused.value.diag.message_primary))
    assert len(answers) == 1
    assert "user_not_found" not in str(answers)


def test_invite__role_of_a_member_whose_user_is_no_more__can_be_changed(db: Db, session_id: UUID) -> None:
    db.superuser.execute("delete from auth.users where id = %s", (db.user("bob"),))
    bob = uuid5(PEOPLE, "bob")
    with db.acting_as("ada"):
        assert db.one("set_session_member", p_session_id=session_id, p_user_id=bob, p_role="viewer")["role"] == "viewer"


@pytest.mark.parametrize(
    "users",
    [
        "drop table auth.users cascade",
        # a server whose tokens come from elsewhere
        "alter table auth.users disable trigger user; delete from auth.users",
        "drop table auth.users cascade; create table auth.users (id text primary key)",
        "drop table auth.users cascade; create table auth.users (name text primary key)",
    ],
    ids=["none", "kept elsewhere", "other ids", "no ids"],
)
@pytest.mark.parametrize("invite", WAYS)
def test_invite__where_users_are_not_known__anybody(db: Db, users: str, invite: Any) -> None:
    session_id, stranger = db.session("ada"), uuid4()
    with db.acting_as("ada"):  # first, as it makes a user of her
        db.superuser.execute(users.encode())
        invite(db, session_id, stranger)
    assert invited(db, session_id) == [{"user_id": stranger}]


def test_invite__by_the_databases_owner__anybody(db: Db) -> None:
    """As a dump is read in: members may come before the users do."""
    session_id, later = db.session("ada"), uuid4()
    db.superuser.execute("insert into session_members (session_id, user_id) values (%s, %s)", (session_id, later))
    assert invited(db, session_id) == [{"user_id": later}]


def test_invite__the_owner_of_the_session_only_by_table_too(db: Db, session_id: UUID) -> None:
    settings(db, max_members_per_session=0)
    with db.acting_as("eve"), db.refuses("session_not_found"):
        invite_by_table(db, session_id, db.user("eve"))


def test_list_invitations__pages(db: Db) -> None:
    settings(db, max_invitations_from_one=1000, max_invitations_received=1000)
    sessions = [db.session("ada", name="x" * 500) for _ in range(7)]
    with db.acting_as("ada"):
        for session_id in sessions:
            invite_by_function(db, session_id, db.user("bob"))
    with db.acting_as("bob"):
        seen: list[UUID] = []
        last: dict[str, Any] = {}
        while page := db.call("list_invitations", p_limit=3, **last):
            seen += [row["session_id"] for row in page]
            assert {len(row["name"]) for row in page} == {200}
            last = {"p_before": page[-1]["created_at"], "p_before_id": page[-1]["session_id"]}
        assert seen == sessions[::-1]


def test_lists__thirty_thousand_unwanted_invitations_change_no_plan(db: Db) -> None:
    """list_sessions() reads as many rows as without them."""
    mine = db.session("bob")
    db.superuser.execute(
        """
        with theirs as (
            insert into public.free_agent_sessions (user_id, visibility)
            select %s, 'shared' from generate_series(1, 30000) returning id
        )
        insert into public.session_members (session_id, user_id) select id, %s from theirs
        """,
        (db.user("ada"), db.user("bob")),
    )
    reads = "select idx_tup_fetch + seq_tup_read as n from pg_catalog.pg_stat_xact_user_tables where relname = 'session_members'"
    connection = db.connect_as("bob")
    connection.autocommit = False
    assert [row["id"] for row in db.call("list_sessions", on=connection)] == [mine]
    assert connection.execute(reads.encode()).fetchall() == [{"n": 0}]
    assert len(db.call("list_invitations", on=connection)) == 50
    connection.rollback()
    receipts = []
    while not receipts or not receipts[-1]["done"]:
        receipts += db.call("delete_my_data", on=connection)
        connection.commit()
    assert sum(receipt["memberships"] for receipt in receipts) == 30000


def test_accept__at_most_so_many(db: Db) -> None:
    settings(db, max_memberships_per_user=2)
    invited = [db.session("ada") for _ in range(3)]
    with db.acting_as("ada"):
        for session_id in invited:
            invite_by_function(db, session_id, db.user("bob"))
    with db.acting_as("bob"):
        for session_id in invited[:2]:
            db.one("accept_invitation", p_session_id=session_id)
        with db.refuses("quota_exceeded") as refused:
            db.one("accept_invitation", p_session_id=invited[2])
        assert '"quota": "memberships", "used": 2' in (refused.value.diag.message_detail or "")
        db.one("accept_invitation", p_session_id=invited[0])  # again: no further one
        db.call("remove_session_member", p_session_id=invited[0], p_user_id=db.user("bob"))
        db.one("accept_invitation", p_session_id=invited[2])
