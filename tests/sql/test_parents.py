"""Sessions in sessions: who may make them, where they are listed, and that they go where their parent goes."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.sql.states import detail_of
from tests.support.database import Db


@pytest.fixture
def db(shared: Db) -> Db:
    return shared


def child(db: Db, parent: UUID, owner: str = "ada", **arguments: Any) -> UUID:
    return db.session(owner, parent_id=parent, **arguments)


def listed(db: Db, **arguments: Any) -> list[UUID]:
    return [row["id"] for row in db.call("list_sessions", p_limit=1000, **arguments)]


def exists(db: Db, session_id: UUID) -> bool:
    rows = db.superuser.execute("select from public.free_agent_sessions where id = %s", (session_id,)).fetchall()
    return bool(rows)


def test_list__children_are_in_their_parents_list_only(db: Db) -> None:
    parent = db.session("kim", key="thread", metadata={"a": 1})
    children = [child(db, parent, "kim", key=f"thread/{n}", metadata={"a": 1}) for n in range(3)]
    grandchild = child(db, children[0], "kim")
    with db.acting_as("kim"):
        db.save(children[0], {"n": 1})
        assert listed(db) == [parent]
        assert listed(db, p_key_prefix="thread") == [parent]
        assert listed(db, p_metadata={"a": 1}) == [parent]
        assert [row["id"] for row in db.sql("select id from sessions_list")] == [parent]
        assert listed(db, p_parent_id=parent) == [children[0], children[2], children[1]]
        assert listed(db, p_parent_id=parent, p_key_prefix="thread/2") == [children[2]]
        assert listed(db, p_parent_id=children[0]) == [grandchild]
        page = db.call("list_sessions", p_parent_id=parent, p_limit=2)
        last = page[-1]
        rest = listed(db, p_parent_id=parent, p_before=str(last["last_activity_at"]), p_before_id=str(last["id"]))
        assert rest == [children[1]]
        assert db.one("find_session", p_key="thread/1")["parent_id"] == parent
        assert db.one("get_session", p_session_id=children[1])["parent_id"] == parent
        assert db.one("get_or_create_session", p_key="thread/1")["parent_id"] == parent
    with db.acting_as("eve"):
        assert listed(db, p_parent_id=parent) == []


def test_create__only_under_a_session_of_the_same_owner(db: Db) -> None:
    parent = db.session("ada")
    with db.acting_as("ada"):
        db.share(parent, "ed", "editor")
    for person in ("ed", "eve"):
        with db.acting_as(person):
            with db.refuses("session_not_found"):
                db.one("get_or_create_session", p_parent_id=parent)
            with db.refuses("session_not_found"):
                db.sql("insert into free_agent_sessions (parent_id) values (%s)", (parent,))
            with db.refuses("session_not_found"):
                db.one("get_or_create_session", p_parent_id=uuid4())
            own_id = uuid4()
            with db.refuses("session_not_found"):
                db.one("get_or_create_session", p_id=own_id, p_parent_id=own_id)
    with db.acting_as("service"):
        db.one("get_or_create_session", p_parent_id=parent, p_user_id=db.user("ada"))
        with db.refuses("session_not_found"):
            db.one("get_or_create_session", p_parent_id=parent, p_user_id=db.user("eve"))
    with db.acting_as("ada"):
        made = db.sql("insert into free_agent_sessions (parent_id) values (%s) returning id", (parent,))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.sql("update free_agent_sessions set parent_id = null where id = %s", (made[0]["id"],))


def test_create__five_deep(db: Db) -> None:
    session_id = db.session("ada")
    for _ in range(4):
        session_id = child(db, session_id)
    with db.acting_as("ada"), db.refuses("invalid_argument"):
        db.one("get_or_create_session", p_parent_id=session_id)


def test_create__so_many_of_one_parent(database: Db) -> None:
    database.superuser.execute("update asyouwere.settings set max_child_sessions = 2")
    parent = database.session("ada")
    for _ in range(2):
        child(database, parent)
    with database.acting_as("ada"), database.refuses("quota_exceeded") as refused:
        database.one("get_or_create_session", p_parent_id=parent)
    assert detail_of(refused) == {"quota": "child_sessions", "used": 2, "limit": 2}
    with database.acting_as("service"):
        database.one("get_or_create_session", p_parent_id=parent, p_user_id=database.user("ada"))


@pytest.mark.parametrize("way", ["function", "table", "service"])
def test_delete__takes_all_that_belongs_to_it(db: Db, way: str) -> None:
    parent = db.session("ada")
    one, other = child(db, parent, key=f"sub/{way}"), child(db, parent)
    deep = child(db, one)
    bystander = db.session("ada")
    with db.acting_as("ada"):
        for session_id in (parent, one, deep):
            db.save(session_id, {"n": 1})
    with db.acting_as("service" if way == "service" else "ada"):
        if way == "table":
            db.sql("delete from free_agent_sessions where id = %s", (parent,))
        else:
            receipt = db.one("delete_session", p_session_id=parent)
            assert (receipt["snapshots"], receipt["parts"]) == (3, 3)
    assert [exists(db, session_id) for session_id in (parent, one, other, deep, bystander)] == [False] * 4 + [True]
    assert exists(db, db.session("ada", key=f"sub/{way}"))  # the key is free again


def test_delete__a_child_leaves_its_parent(db: Db) -> None:
    parent = db.session("ada")
    one = child(db, parent)
    with db.acting_as("ada"):
        db.one("delete_session", p_session_id=one)
    assert exists(db, parent)


@pytest.mark.parametrize("large", ["parent", "child"])
def test_delete__large_ones_are_out_of_sight_at_once(db: Db, large: str) -> None:
    parent = db.session("ada")
    one = child(db, parent)
    db.superuser.execute(
        """
        insert into public.session_snapshots (session_id, number, size_bytes, changed_parts, message_count)
        select %s, n, 0, 0, 0 from generate_series(1, 1001) n
        """,
        (parent if large == "parent" else one,),
    )
    with db.acting_as("ada"):
        db.one("delete_session", p_session_id=parent)
        for session_id in (parent, one):
            with db.refuses("session_not_found"):
                db.one("get_session", p_session_id=session_id)
    left = db.superuser.execute(
        "select parent_id from public.free_agent_sessions where id = any (%s)", ([parent, one],)
    ).fetchall()
    assert {row["parent_id"] for row in left} == {None}


def test_delete_my_data__with_children(db: Db) -> None:
    parent = db.session("kai")
    for _ in range(3):
        child(db, child(db, parent, "kai"), "kai")
    with db.acting_as("kai"):
        while not db.one("delete_my_data")["done"]:
            pass
    assert not exists(db, parent)


def test_hand_over__what_belongs_to_it_goes_along(db: Db) -> None:
    parent = db.session("ada")
    one = child(db, parent)
    deep = child(db, one)
    stays = child(db, parent)
    with db.acting_as("ada"):
        db.one("transfer_session", p_session_id=one, p_to_user=db.user("bob"))
    with db.acting_as("bob"):
        row = db.one("accept_transfer", p_session_id=one)
        assert row["parent_id"] is None
        assert one in listed(db)
        assert listed(db, p_parent_id=one) == [deep]
        with db.refuses("session_not_found"):
            db.one("get_session", p_session_id=stays)
    with db.acting_as("ada"):
        assert listed(db, p_parent_id=parent) == [stays]
        with db.refuses("session_not_found"):
            db.one("get_session", p_session_id=deep)


def test_claim__a_guests_sessions_stay_together(db: Db) -> None:
    parent = db.session("gus")
    one = child(db, parent, "gus")
    with db.acting_as("gus"):
        code = db.one("offer_my_sessions")["code"]
    with db.acting_as("gil"):
        db.one("claim_sessions", p_code=code)
        assert listed(db, p_parent_id=parent) == [one]


def expired(db: Db, session_id: UUID) -> None:
    db.superuser.execute(
        "update public.free_agent_sessions set expires_after = '1 second', status = 'expired', "
        "expired_at = now() - interval '1 year', last_activity_at = now() - interval '2 years' where id = %s",
        (session_id,),
    )


def test_expiry__takes_children_unless_one_is_busy(database: Db) -> None:
    parent = database.session("ada")
    one = child(database, parent)
    expired(database, parent)
    expired(database, one)
    busy = database.connect(autocommit=False)
    busy.execute("select from public.free_agent_sessions where id = %s for no key update", (one,))
    with database.acting_as("service"):
        database.call("expire_idle_sessions")
        assert exists(database, parent)
        busy.rollback()
        database.call("expire_idle_sessions")
    assert not exists(database, parent)
    assert not exists(database, one)


@pytest.mark.parametrize("sign", ["a save", "a turn"])
def test_expiry__who_is_at_work_below_keeps_what_is_above(database: Db, sign: str) -> None:
    parent = database.session("ada")
    one = child(database, child(database, parent))
    with database.acting_as("ada"):
        if sign == "a turn":
            database.one("begin_turn", p_session_id=one, p_turn_id=uuid4(), p_lease_seconds=300)
    for each in (parent, one):
        expired(database, each)
    database.superuser.execute("update public.free_agent_sessions set last_activity_at = now() - interval '2 years'")
    with database.acting_as("ada"):
        if sign == "a save":
            database.save(one, {"messages": ["still here"]})
    with database.acting_as("service"):
        database.call("expire_idle_sessions")
        assert exists(database, parent)
        assert exists(database, one)
        database.superuser.execute("update public.session_turns set lease_until = now()")
        database.superuser.execute(
            "update public.free_agent_sessions set last_activity_at = now() - interval '8 days' where id = %s", (one,)
        )
        database.call("expire_idle_sessions")
    assert not exists(database, parent)
    assert not exists(database, one)


def test_readers_of_a_public_child_are_not_told_its_parent(db: Db) -> None:
    parent = db.session("ada")
    one = child(db, parent, visibility="public")
    with db.acting_as(None):
        assert db.one("get_session", p_session_id=one)["parent_id"] is None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.sql("select parent_id from free_agent_sessions")
    with db.acting_as("ada"):
        db.share(one, "vi", "viewer")
    with db.acting_as("vi"):
        assert db.one("get_session", p_session_id=one)["parent_id"] == parent
        # what was shared with somebody is in that person's list, whose parent is not
        assert one in listed(db)
        with db.refuses("session_not_found"):
            db.one("get_session", p_session_id=parent)


def test_copies__belong_to_nobody_unless_told(db: Db) -> None:
    parent = db.session("ada")
    one = child(db, parent)
    strange = db.session("eve")
    document = {"p_snapshots": [], "p_paths": [], "p_items": [], "p_since": [], "p_until": [], "p_created_at": []}
    for function, arguments in (
        ("fork_session", {"p_session_id": one}),
        ("import_session", {"p_session": {"parent_id": str(parent)}, **document, "p_bodies": []}),
    ):
        with db.acting_as("ada"):
            assert db.one(function, **arguments)["parent_id"] is None
            assert db.one(function, **arguments, p_parent_id=parent)["parent_id"] == parent
            with db.refuses("session_not_found"):
                db.one(function, **arguments, p_parent_id=strange)


def test_expiry__a_childs_label_keeps_its_parent(database: Db) -> None:
    parent = database.session("ada", kind="chat")
    child = database.session("ada", parent_id=parent)
    with database.acting_as("ada"):
        database.save(child, {"n": 1}, p_label="precious")
    database.superuser.execute(
        "update public.free_agent_sessions set status = 'expired', expired_at = now() - interval '30 days' where id = %s",
        (parent,),
    )
    with database.acting_as("service"):
        assert database.one("expire_idle_sessions")["deleted"] == 0
