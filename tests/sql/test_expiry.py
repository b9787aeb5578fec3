"""Idle sessions expire, expired ones come to life again or are deleted after a grace time."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.sql.states import change, state_of
from tests.support.database import Db, Row


def expire(db: Db, **arguments: Any) -> Row:
    """What one pass did, in as many calls as it took: a slow machine needs more of them."""
    answers = expire_until_done(db, **arguments)
    return {name: sum(answer[name] for answer in answers) for name in ("expired", "deleted")}


def expire_until_done(db: Db, **arguments: Any) -> list[Row]:
    answers = []
    with db.acting_as("service"):
        for _ in range(100):
            answers.append(db.one("expire_idle_sessions", **arguments))
            if answers[-1]["done"]:
                return answers
    raise AssertionError("expiry is never done")


def let_pass(db: Db, time: str) -> None:
    """Make everything so much older."""
    db.superuser.execute(
        "update public.free_agent_sessions set last_activity_at = last_activity_at - %(time)s::interval, "
        "expired_at = expired_at - %(time)s::interval",
        {"time": time},
    )


def status_of(db: Db, session_id: UUID) -> str | None:
    rows = db.superuser.execute(
        "select status, expired_at from public.free_agent_sessions where id = %s", (session_id,)
    ).fetchall()
    assert all((row["status"] == "expired") == (row["expired_at"] is not None) for row in rows)
    return rows[0]["status"] if rows else None


def expired_chat(db: Db) -> UUID:
    session_id = db.session("ada", kind="chat")
    with db.acting_as("ada"):
        db.save(session_id, {"messages": ["hi"]})
    let_pass(db, "31 minutes")
    assert expire(db) == {"expired": 1, "deleted": 0}
    return session_id


def test_expiry__only_idle_chats(db: Db) -> None:
    chat, agent = db.session("ada", kind="chat"), db.session("ada")
    timed, long = db.session("ada", expires_after_seconds=60), db.session("ada", kind="chat", expires_after_seconds=7200)
    let_pass(db, "29 minutes")
    assert expire(db) == {"expired": 1, "deleted": 0}
    assert [status_of(db, each) for each in (chat, agent, timed, long)] == ["idle", "idle", "expired", "idle"]
    let_pass(db, "2 minutes")
    expire(db)
    assert [status_of(db, each) for each in (chat, agent, timed, long)] == ["expired", "idle", "expired", "idle"]
    let_pass(db, "1 year")
    expire(db)
    assert [status_of(db, each) for each in (agent, long)] == ["idle", "expired"]


def test_expiry__a_chat_that_never_expires(db: Db) -> None:
    session_id = db.session("ada", kind="chat", expires_after_seconds=0)
    let_pass(db, "1 year")
    assert expire(db) == {"expired": 0, "deleted": 0}
    assert status_of(db, session_id) == "idle"


def test_expiry__zero_by_table_is_never(db: Db) -> None:
    with db.acting_as("ada"):
        (made,) = db.sql("insert into public.free_agent_sessions (expires_after) values ('0') returning id, expires_after")
        assert made["expires_after"] is None
        session_id = db.session("ada", kind="chat")
        db.sql("update public.free_agent_sessions set expires_after = '0' where id = %s", (session_id,))
    let_pass(db, "1 year")
    assert expire(db)["expired"] == 0


def test_expiry__an_expired_session_can_be_read(db: Db) -> None:
    session_id = expired_chat(db)
    with db.acting_as("ada"):
        row = db.one("get_latest_snapshot", p_session_id=session_id)
        assert (row["status"], row["state"]) == ("expired", {"messages": ["hi"]})


def test_expiry__a_save_revives(db: Db) -> None:
    session_id = expired_chat(db)
    with db.acting_as("ada"):
        change(db, session_id, {"append": {"/messages": ["again"]}})
    assert status_of(db, session_id) == "idle"
    assert expire(db)["expired"] == 0
    let_pass(db, "31 minutes")
    assert expire(db)["expired"] == 1


def test_expiry__a_save_that_changes_nothing_revives(db: Db) -> None:
    session_id = expired_chat(db)
    with db.acting_as("ada"):
        assert db.save(session_id, {"messages": ["hi"]})["created"] is False
    assert status_of(db, session_id) == "idle"
    assert expire(db)["expired"] == 0


@pytest.mark.parametrize("way", ["function", "table"])
def test_expiry__a_new_status_revives(db: Db, way: str) -> None:
    session_id = expired_chat(db)
    with db.acting_as("ada"):
        if way == "function":
            row = db.one("update_session", p_session_id=session_id, p_changes={"status": "running"})
        else:
            (row,) = db.sql(
                "update public.free_agent_sessions set status = 'running' where id = %s returning *", (session_id,)
            )
        assert (row["status"], row["expired_at"]) == ("running", None)
    assert expire(db)["expired"] == 0
    assert status_of(db, session_id) == "running"


def test_expiry__other_changes_do_not_revive(db: Db) -> None:
    session_id = expired_chat(db)
    with db.acting_as("ada"):
        db.one("update_session", p_session_id=session_id, p_changes={"name": "later"})
        db.sql("update public.free_agent_sessions set archived_at = now() where id = %s", (session_id,))
        db.one("update_session", p_session_id=session_id, p_changes={"status": "expired"})
        with db.refuses("invalid_argument"):
            db.one("update_session", p_session_id=session_id, p_changes={"status": "no such"})
        with db.refuses("invalid_argument"):
            db.sql("update public.free_agent_sessions set status = 'no such' where id = %s", (session_id,))
    assert status_of(db, session_id) == "expired"


def test_expiry__deletes_after_the_grace_time(db: Db) -> None:
    session_id = expired_chat(db)
    let_pass(db, "6 days 23 hours")
    assert expire(db)["deleted"] == 0
    let_pass(db, "2 hours")
    assert expire(db) == {"expired": 0, "deleted": 1}
    assert status_of(db, session_id) is None
    assert db.superuser.execute("select count(*) from asyouwere.parts").fetchall() == [{"count": 0}]


def test_expiry__does_not_delete_what_has_a_label(db: Db) -> None:
    session_id = expired_chat(db)
    with db.acting_as("ada"):
        db.one("label_snapshot", p_session_id=session_id, p_number=1, p_label="precious")
    assert status_of(db, session_id) == "expired"
    let_pass(db, "1 year")
    assert expire(db)["deleted"] == 0
    with db.acting_as("ada"):
        assert state_of(db, session_id) == {"messages": ["hi"]}


def test_expiry__grace_time_comes_from_the_settings(db: Db) -> None:
    expired_chat(db)
    db.superuser.execute("update asyouwere.settings set delete_expired_after = '1 hour'")
    let_pass(db, "61 minutes")
    assert expire(db)["deleted"] == 1


def test_expiry__in_batches(db: Db) -> None:
    for _ in range(5):
        db.session("ada", kind="chat")
    let_pass(db, "1 hour")
    for what, time in (("expired", "8 days"), ("deleted", "0")):
        answers = expire_until_done(db, p_max_sessions=2)
        counts = [answer[what] for answer in answers]
        assert (sum(counts), max(counts) <= 2, len(counts) >= 3) == (5, True, True)
        let_pass(db, time)


def test_expiry__labelled_ones_do_not_stop_a_batch(db: Db) -> None:
    for _ in range(3):
        session_id = expired_chat(db)
        with db.acting_as("ada"):
            db.one("label_snapshot", p_session_id=session_id, p_number=1, p_label="precious")
    expired_chat(db)
    let_pass(db, "8 days")
    assert expire(db, p_max_sessions=2)["deleted"] == 1


def test_expiry__does_not_wait_for_a_save(db: Db) -> None:
    session_id = db.session("ada", kind="chat")
    let_pass(db, "1 hour")
    saver = db.connect_as("ada")
    saver.autocommit = False
    db.call("create_session_snapshot", on=saver, p_session_id=session_id, p_state={"n": 1})
    assert expire(db)["expired"] == 0
    saver.commit()
    assert expire(db)["expired"] == 0


@pytest.mark.parametrize("count", [0, -1, 10_001])
def test_expiry__argument_wrong(shared: Db, count: int | None) -> None:
    with shared.acting_as("service"), shared.refuses("invalid_argument"):
        shared.one("expire_idle_sessions", p_max_sessions=count)


def test_expiry__writes_what_it_did(db: Db) -> None:
    expired_chat(db)
    with db.acting_as("service"):
        (run,) = db.sql("select kind, sessions, done from asyouwere.cleanup_runs")
    assert run == {"kind": "sessions", "sessions": 1, "done": True}


def test_expiry__a_label_set_meanwhile_wins(db: Db) -> None:
    """The session was found as one to delete; before its lock could be had, an editor named a snapshot."""
    session_id = expired_chat(db)
    let_pass(db, "8 days")
    cleaner = db.connect()
    (found,) = cleaner.execute("select session from asyouwere.next_to_expire(0)").fetchall()
    with db.acting_as("ada"):
        db.one("label_snapshot", p_session_id=session_id, p_number=1, p_label="precious")
    (step,) = cleaner.execute("select * from asyouwere.expire_session(%s)", (found["session"],)).fetchall()
    assert step == {"expired": 0, "deleted": 0}
    with db.acting_as("ada"):
        assert state_of(db, session_id) == {"messages": ["hi"]}


def test_expiry__revived_and_expired_again_meanwhile_has_its_grace_time(db: Db) -> None:
    session_id = expired_chat(db)
    let_pass(db, "8 days")
    cleaner = db.connect()
    (found,) = cleaner.execute("select session from asyouwere.next_to_expire(0)").fetchall()
    with db.acting_as("ada"):
        change(db, session_id, {"append": {"/messages": ["again"]}})
    let_pass(db, "31 minutes")
    assert expire(db)["expired"] == 1
    (step,) = cleaner.execute("select * from asyouwere.expire_session(%s)", (found["session"],)).fetchall()
    assert step == {"expired": 0, "deleted": 0}
    assert status_of(db, session_id) == "expired"
