"""Turns: the fence, interruption, and who keeps whom waiting or out."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.sql.states import state_of
from tests.sql.turns import all_at_once, begin, finish, flush, look, run_out
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


# -- the fence -----------------------------------------------------------------------------------------------------


def test_interrupted__whoever_looks_makes_the_message_once(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    flush(db, session_id, turn, 1, "so", " far")
    db.one("update_session", p_session_id=session_id, p_changes={"visibility": "public"})
    run_out(db, turn)
    tries: list[Callable[[], Row]] = [
        lambda: flush(db, session_id, turn, 3, "late"),
        lambda: flush(db, session_id, turn, 1, "so", " far"),
        lambda: finish(db, session_id, turn),
    ]
    for late in tries:
        with db.refuses("turn_over"):
            late()
    with db.acting_as(None):
        rows = [look(db, session_id, turn) for _ in range(3)]
    assert {(row["status"], row["number"], row["position"]) for row in rows} == {("interrupted", 1, 0)}
    assert rows[0]["chunks"] == ["so", " far"]
    message = {"role": "assistant", "content": "so far", "status": "interrupted"}
    assert state_of(db, session_id) == {"messages": [message]}
    (snapshot,) = db.call("list_snapshots", p_session_id=session_id)
    assert snapshot["created_by"] is None
    with db.refuses("turn_over") as over:
        finish(db, session_id, turn)
    assert json.loads(over.value.diag.message_detail or "") == {"turn_status": "interrupted"}
    # what the caller is has not changed with it
    assert db.value("select auth.uid()") == db.user("ada")


def test_interrupted__by_many_at_once_is_one_message(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    flush(db, session_id, turn, 1, "x")
    run_out(db, turn)
    rows = all_at_once(db, 20, lambda c: db.call("get_turn", on=c, p_session_id=session_id)[0]["position"])
    assert rows == [0] * 20
    assert len(state_of(db, session_id)["messages"]) == 1


def test_interrupted__the_next_turn_takes_over(db: Db, session_id: UUID) -> None:
    old = begin(db, session_id)
    flush(db, session_id, old, 1, "old")
    run_out(db, old)
    new = begin(db, session_id)
    flush(db, session_id, new, 1, "new")
    with db.refuses("turn_over"):
        flush(db, session_id, old, 2, " words")
    with db.refuses("turn_over"):
        finish(db, session_id, old)
    finish(db, session_id, new)
    assert [each["content"] for each in state_of(db, session_id)["messages"]] == ["old", "new"]


def test_interrupted__messages_is_no_list(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"messages": {"not": "a list"}})
    turn = begin(db, session_id)
    flush(db, session_id, turn, 1, "kept")
    run_out(db, turn)
    state = look(db, session_id, turn)
    assert (state["status"], state["position"], state["chunks"]) == ("interrupted", None, ["kept"])
    assert db.value("select auth.uid()") == db.user("ada")


def test_fence__a_flush_that_waited_longer_than_its_lease(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id, p_lease_seconds=1)
    late = db.connect_as("ada")
    answers: list[Any] = []

    def flush_late() -> None:
        try:
            db.call(
                "append_turn_chunks", on=late, p_session_id=session_id, p_turn_id=turn, p_from_seq=1, p_chunks=["x"]
            )
        except psycopg.Error as exc:
            answers.append(exc.diag.message_hint)

    blocker = db.connect(autocommit=False)
    blocker.execute("select 1 from public.session_turns where id = %s for update", (turn,))
    thread = threading.Thread(target=flush_late)
    thread.start()
    time.sleep(1.2)
    blocker.rollback()
    thread.join()
    assert answers == ["turn_over"]
    assert look(db, session_id)["chunks"] == []


def test_fence__a_deleted_session_stays_deleted(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    flush(db, session_id, turn, 1, "x")
    internal = db.one("get_or_create_session", p_id=session_id)["internal_id"]
    db.one("delete_session", p_session_id=session_id)
    tries: list[Callable[[], Any]] = [
        lambda: flush(db, session_id, turn, 2, "y"),
        lambda: finish(db, session_id, turn),
        lambda: begin(db, session_id),
        lambda: look(db, session_id, turn),
    ]
    for late in tries:
        with db.refuses("session_not_found"):
            late()
    left = "select count(*) as n from asyouwere.turn_chunks where session = %s"
    assert db.superuser.execute(left, (internal,)).fetchone() == {"n": 0}


# -- nobody waits --------------------------------------------------------------------------------------------------


def test_chunks__neither_they_nor_saves_wait_for_each_other(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    saving, flushing = db.connect_as("ada"), db.connect_as("ada")
    for connection in (saving, flushing):
        connection.execute("set lock_timeout = '2s'")
        connection.autocommit = False
    saved = {"p_session_id": session_id, "p_state": {"n": 1}}
    db.call("create_session_snapshot", on=saving, **saved)  # holds the session's lock
    flushed = {"p_session_id": session_id, "p_turn_id": turn, "p_from_seq": 1, "p_chunks": ["x"]}
    db.call("append_turn_chunks", on=flushing, **flushed)  # holds the turn's
    db.call("create_session_snapshot", on=saving, **{**saved, "p_state": {"n": 2}})
    db.call("append_turn_chunks", on=flushing, **{**flushed, "p_from_seq": 2})
    saving.commit()
    flushing.commit()
    assert look(db, session_id)["next_seq"] == 3


def test_lease__is_renewed_when_two_thirds_are_gone(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    lease = "select lease_until, last_seq from public.session_turns where id = %s"
    (first,) = db.sql(lease, (turn,))
    flush(db, session_id, turn, 1, "x")
    assert db.sql(lease, (turn,)) == [first]
    db.superuser.execute(
        "update public.session_turns set lease_until = clock_timestamp() + interval '9 s' where id = %s", (turn,)
    )
    flush(db, session_id, turn, 2, "y")
    (renewed,) = db.sql(lease, (turn,))
    assert renewed["lease_until"] >= first["lease_until"]
    assert renewed["last_seq"] == 2
    # an empty list renews it at once
    assert flush(db, session_id, turn, 3) == {"next_seq": 3, "stop": False}
    assert db.sql(lease, (turn,))[0]["lease_until"] > renewed["lease_until"]


# -- who may not save any more keeps nobody out -----------------------------------------------------------------------


def removed(db: Db, session_id: UUID) -> None:
    db.call("remove_session_member", p_session_id=session_id, p_user_id=db.user("ed"))


def removed_as_a_row(db: Db, session_id: UUID) -> None:
    assert db.sql("delete from public.session_members where user_id = %s returning role", (db.user("ed"),))


def made_a_viewer(db: Db, session_id: UUID) -> None:
    db.one("set_session_member", p_session_id=session_id, p_user_id=db.user("ed"), p_role="viewer")


def made_private(db: Db, session_id: UUID) -> None:
    db.one("update_session", p_session_id=session_id, p_changes={"visibility": "private"})


def made_private_as_a_row(db: Db, session_id: UUID) -> None:
    db.sql("update public.free_agent_sessions set visibility = 'private' where id = %s", (session_id,))


def left(db: Db, session_id: UUID) -> None:
    with db.acting_as("ed"):
        db.call("remove_session_member", p_session_id=session_id, p_user_id=db.user("ed"))


def deleted_their_data(db: Db, session_id: UUID) -> None:
    with db.acting_as("ed"):
        assert db.one("delete_my_data")["done"]


def were_deleted(db: Db, session_id: UUID) -> None:
    db.superuser.execute("delete from auth.users where id = %s", (db.user("ed"),))


@pytest.mark.parametrize(
    "end",
    [
        removed,
        removed_as_a_row,
        made_a_viewer,
        made_private,
        made_private_as_a_row,
        left,
        deleted_their_data,
        were_deleted,
    ],
)
def test_revoked__the_turn_of_who_may_not_save_any_more_is_over(
    db: Db, session_id: UUID, end: Callable[[Db, UUID], None]
) -> None:
    db.share(session_id, "ed")
    with db.acting_as("ed"):
        turn = begin(db, session_id, p_lease_seconds=300)
        flush(db, session_id, turn, 1, "so far")
    with db.refuses("turn_running"):
        begin(db, session_id)
    try:
        end(db, session_id)
        new = begin(db, session_id)
        with db.acting_as("service"), db.refuses("turn_over"):
            flush(db, session_id, turn, 2, "late")
        with db.acting_as("ed"), pytest.raises(psycopg.Error):
            finish(db, session_id, turn)
    finally:
        db.superuser.execute("delete from asyouwere.erasures")
    assert look(db, session_id, new)["status"] == "running"
    assert look(db, session_id, turn)["status"] == "interrupted"
    message = {"role": "assistant", "content": "so far", "status": "interrupted"}
    assert state_of(db, session_id) == {"messages": [message]}


def test_revoked__an_owner_who_has_handed_the_session_over(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id, p_lease_seconds=300)
    db.one("transfer_session", p_session_id=session_id, p_to_user=db.user("tom"))
    with db.acting_as("tom"):
        db.one("accept_transfer", p_session_id=session_id)
        assert begin(db, session_id) != turn
    with db.refuses("session_not_found"):
        flush(db, session_id, turn, 1, "x")


def test_revoked__nobody_else(db: Db, session_id: UUID) -> None:
    """Whom it does not concern goes on: another editor, the owner, the service."""
    db.share(session_id, "vi", "viewer")
    db.share(session_id, "ed")
    db.share(session_id, "tom")
    with db.acting_as("ed"):
        turn = begin(db, session_id)
    for person in ("tom", "vi"):
        db.call("remove_session_member", p_session_id=session_id, p_user_id=db.user(person))
    db.one("update_session", p_session_id=session_id, p_changes={"visibility": "public"})
    db.one("set_session_member", p_session_id=session_id, p_user_id=db.user("ed"), p_role="editor")
    with db.acting_as("ed"):
        flush(db, session_id, turn, 1, "x")
        finish(db, session_id, turn)
    own = begin(db, session_id)
    made_private(db, session_id)
    flush(db, session_id, own, 1, "x")
    finish(db, session_id, own)
    with db.acting_as("service"):
        run_by_service = begin(db, session_id)
        db.one("update_session", p_session_id=session_id, p_changes={"visibility": "shared"})
        made_private(db, session_id)
        flush(db, session_id, run_by_service, 1, "x")


def test_expiry__a_session_in_which_an_answer_is_made_is_not_idle(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    db.superuser.execute(
        "update public.free_agent_sessions set expires_after = '1 hour', last_activity_at = now() - interval '2 hours' "
        "where id = %s",
        (session_id,),
    )
    with db.acting_as("service"):
        db.one("expire_idle_sessions")
    assert db.one("get_session", p_session_id=session_id)["status"] == "idle"
    run_out(db, turn)
    with db.acting_as("service"):
        db.one("expire_idle_sessions")
    assert db.one("get_session", p_session_id=session_id)["status"] == "expired"
