"""Clean-up: which snapshots go, which parts go with them, and in how many calls."""

from __future__ import annotations

import random
import threading
import time
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.sql.states import change, state_of, text_of
from tests.support.database import Db, Row

NUMBERS = "select number from public.session_snapshots where session_id = %s order by number"
# Parts that no kept number can see, and of those that one can see the reverse.
USELESS = """
    select p.path, p.item, p.since, p.until from asyouwere.parts p
    join public.free_agent_sessions s on s.internal_id = p.session
    where not exists (select from public.session_snapshots n
        where n.session_id = s.id and n.number >= p.since and n.number < p.until)
"""


def cleanup(db: Db, **arguments: Any) -> Row:
    with db.acting_as("service"):
        return db.one("cleanup_old_snapshots", **arguments)


def cleanup_until_done(db: Db, **arguments: Any) -> list[Row]:
    """All answers of what is left of a pass and of a whole one, which must come to an end."""
    answers = []
    for _ in range(1000):
        answers.append(cleanup(db, **arguments))
        if sum(answer["done"] for answer in answers) == 2:
            return answers
    raise AssertionError("clean-up is never done")


def cleaned_up(db: Db, **arguments: Any) -> Row:
    """What one pass did, in as many calls as it took."""
    answers = cleanup_until_done(db, **arguments)
    counts = ("sessions", "snapshots", "parts", "bytes")
    return {name: sum(answer[name] for answer in answers) for name in counts}


def kept(db: Db, session_id: UUID) -> list[int]:
    return [row["number"] for row in db.superuser.execute(NUMBERS, (session_id,)).fetchall()]


def with_snapshots(db: Db, count: int) -> UUID:
    """A session of ada's with so many snapshots, each with a message more and another step."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        for n in range(1, count + 1):
            change(db, session_id, {"append": {"/messages": [n]}, "set": {"/step": n}})
    return session_id


def with_many_snapshots(db: Db, count: int) -> UUID:
    """A session's history made at once, for tests that need thousands: one part a number, each alive for that number only."""
    session_id = db.session("ada")
    db.superuser.execute(
        """
        with made as (
            update public.free_agent_sessions set latest_number = %(count)s, size_bytes = 1
            where id = %(id)s returning internal_id, id
        ), snapshots as (
            insert into public.session_snapshots (session_id, number, size_bytes, changed_parts, message_count)
            select id, n, 1, 1, 0 from made, generate_series(1, %(count)s) n
        )
        insert into asyouwere.parts (session, since, until, ord, size, depth, kind, created_at, path, body)
        select internal_id, n, case when n < %(count)s then n + 1 else 2147483647 end, 1, 1, 1, 'v', now(), '/n/', '1'
        from made, generate_series(1, %(count)s) n
        """,
        {"count": count, "id": session_id},
    )
    return session_id


def test_cleanup__keeps_the_newest(db: Db) -> None:
    session_id = with_snapshots(db, 10)
    row = cleaned_up(db, p_keep=3, p_older_than="0")
    assert kept(db, session_id) == [8, 9, 10]
    # Steps 1 to 7 go; the messages of these numbers are alive still.
    assert row == {"sessions": 1, "snapshots": 7, "parts": 7, "bytes": 749}
    assert db.superuser.execute(USELESS.encode()).fetchall() == []


def test_cleanup__keeps_what_is_young(db: Db) -> None:
    session_id = with_snapshots(db, 10)
    db.superuser.execute(
        "update public.session_snapshots set created_at = now() - interval '2 days' where number <= 4"
    )
    assert cleaned_up(db, p_keep=1, p_older_than="3 days")["snapshots"] == 0
    assert cleaned_up(db, p_keep=1, p_older_than="1 day")["snapshots"] == 4
    assert kept(db, session_id) == list(range(5, 11))


def test_cleanup__keeps_what_has_a_label_and_the_latest(db: Db) -> None:
    session_id = with_snapshots(db, 10)
    with db.acting_as("ada"):
        db.one("label_snapshot", p_session_id=session_id, p_number=1, p_label="start")
        db.one("label_snapshot", p_session_id=session_id, p_number=5, p_label="middle")
    assert cleaned_up(db, p_keep=1, p_older_than="0")["snapshots"] == 7
    assert kept(db, session_id) == [1, 5, 10]
    assert db.superuser.execute(USELESS.encode()).fetchall() == []
    with db.acting_as("ada"):
        for n in (1, 5, 10):
            assert state_of(db, session_id, n) == {"messages": list(range(1, n + 1)), "step": n}
        with db.refuses("snapshot_gone"):
            state_of(db, session_id, 4)


def test_cleanup__takes_what_has_lost_its_label(db: Db) -> None:
    session_id = with_snapshots(db, 10)
    with db.acting_as("ada"):
        for n in (2, 4):
            db.one("label_snapshot", p_session_id=session_id, p_number=n, p_label=f"label {n}")
    cleanup_until_done(db, p_keep=1, p_older_than="0")
    with db.acting_as("ada"):
        db.one("label_snapshot", p_session_id=session_id, p_number=2, p_label=None)
    cleanup_until_done(db, p_keep=1, p_older_than="0")
    assert kept(db, session_id) == [4, 10]
    assert db.superuser.execute(USELESS.encode()).fetchall() == []


def test_cleanup__label_lost_far_below_the_rest(db: Db) -> None:
    session_id = with_many_snapshots(db, 2500)
    with db.acting_as("ada"):
        db.one("label_snapshot", p_session_id=session_id, p_number=7, p_label="lucky")
    cleanup_until_done(db, p_keep=10, p_older_than="0")
    with db.acting_as("ada"):
        db.one("label_snapshot", p_session_id=session_id, p_number=7, p_label=None)
    # The gap of more than a thousand numbers is no obstacle to what comes after it.
    cleanup_until_done(db, p_keep=5, p_older_than="0")
    assert kept(db, session_id) == list(range(2496, 2501))
    assert db.superuser.execute(USELESS.encode()).fetchall() == []


def test_cleanup__done_means_that_nothing_is_left_to_do(db: Db) -> None:
    few, many = with_many_snapshots(db, 5), with_many_snapshots(db, 20_000)
    answers = cleanup_until_done(db, p_keep=2, p_older_than="0")
    assert kept(db, few) == [4, 5]
    assert kept(db, many) == [19_999, 20_000]
    assert sum(answer["snapshots"] for answer in answers) == 3 + 19_998
    assert sum(answer["parts"] for answer in answers) == 3 + 19_998
    assert sum(answer["sessions"] for answer in answers) == 2
    assert len(answers) > 1, "a call is short"
    assert cleaned_up(db, p_keep=2, p_older_than="0")["snapshots"] == 0


def test_cleanup__goes_on_where_the_last_call_ended(db: Db) -> None:
    sessions = [with_many_snapshots(db, 4) for _ in range(5)]
    answers = [cleanup(db, p_keep=1, p_older_than="0", p_max_sessions=1) for _ in range(2)]
    assert [(answer["sessions"], answer["snapshots"], answer["done"]) for answer in answers] == [(1, 3, False)] * 2
    assert [len(kept(db, session_id)) for session_id in sessions] == [1, 1, 4, 4, 4]
    # Of more at once it holds the locks till it ends.
    assert cleanup(db, p_keep=1, p_older_than="0", p_max_sessions=2)["sessions"] in (1, 2)
    cleanup_until_done(db, p_keep=1, p_older_than="0")
    assert [kept(db, session_id) for session_id in sessions] == [[4]] * 5
    # And from the start again.
    more = with_many_snapshots(db, 2)
    assert cleaned_up(db, p_keep=1, p_older_than="0")["snapshots"] == 1
    assert kept(db, more) == [2]


def test_cleanup__young_snapshots_do_not_stop_a_pass(db: Db) -> None:
    young = [with_many_snapshots(db, 4) for _ in range(3)]
    old = with_many_snapshots(db, 4)
    db.superuser.execute(
        "update public.session_snapshots set created_at = now() - interval '1 year' where session_id = %s",
        (old,),
    )
    cleanup_until_done(db, p_keep=1, p_older_than="1 day", p_max_sessions=2)
    assert kept(db, old) == [4]
    assert [len(kept(db, session_id)) for session_id in young] == [4] * 3


def test_cleanup__defaults_come_from_the_settings(db: Db) -> None:
    session_id = with_many_snapshots(db, 150)
    assert cleaned_up(db)["snapshots"] == 0  # all are younger than a week
    db.superuser.execute("update public.session_snapshots set created_at = now() - interval '8 days'")
    assert cleaned_up(db)["snapshots"] == 50
    db.superuser.execute("update asyouwere.settings set keep_snapshots = 7, keep_for = '9 days'")
    assert cleaned_up(db)["snapshots"] == 0
    db.superuser.execute("update asyouwere.settings set keep_for = '0'")
    assert cleaned_up(db)["snapshots"] == 93
    assert kept(db, session_id) == list(range(144, 151))


def test_cleanup__two_at_once(db: Db) -> None:
    session_id = with_many_snapshots(db, 10)
    first = db.connect_as("service")
    first.autocommit = False
    assert db.call("cleanup_old_snapshots", on=first, p_keep=8, p_older_than="0")[0]["snapshots"] == 2
    # The second does not wait, and has nothing to do.
    assert cleanup(db, p_keep=1, p_older_than="0") == {
        "sessions": 0,
        "snapshots": 0,
        "parts": 0,
        "bytes": 0,
        "done": True,
    }
    first.commit()
    assert kept(db, session_id) == list(range(3, 11))
    assert cleaned_up(db, p_keep=1, p_older_than="0")["snapshots"] == 7


def test_cleanup__does_not_wait_for_a_save(db: Db) -> None:
    busy, idle = with_snapshots(db, 5), with_snapshots(db, 5)
    saver = db.connect_as("ada")
    saver.autocommit = False
    db.call("create_session_snapshot", on=saver, p_session_id=busy, p_changes={"set": {"/step": 0}})
    assert cleaned_up(db, p_keep=1, p_older_than="0")["snapshots"] == 4
    assert (len(kept(db, busy)), kept(db, idle)) == (5, [5])
    saver.commit()
    cleanup_until_done(db, p_keep=1, p_older_than="0")
    assert kept(db, busy) == [6]


def test_cleanup__while_eight_save(db: Db) -> None:
    session_id = with_snapshots(db, 1)
    connections = [db.connect_as("ada") for _ in range(8)]
    problems: list[Exception] = []

    def work(connection: Any) -> None:
        try:
            for n in range(15):
                db.call(
                    "create_session_snapshot",
                    on=connection,
                    p_session_id=session_id,
                    p_changes={"append": {"/messages": [n]}, "set": {"/step": n}},
                )
        except Exception as exc:  # noqa: BLE001 - shown below, in the test's own thread
            problems.append(exc)

    threads = [threading.Thread(target=work, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        cleanup(db, p_keep=3, p_older_than="0")
    assert problems == []
    cleanup_until_done(db, p_keep=3, p_older_than="0")
    assert kept(db, session_id) == [119, 120, 121]
    assert db.superuser.execute(USELESS.encode()).fetchall() == []
    with db.acting_as("ada"):
        assert len(state_of(db, session_id)["messages"]) == 121


def test_cleanup__every_kept_number_restores_as_before(db: Db) -> None:
    chance = random.Random(7)
    session_id = db.session("ada")
    texts: dict[int, str] = {}
    with db.acting_as("ada"):
        for n in range(1, 41):
            changes: Row = {
                "set": {f"/memory/{chance.randrange(6)}": chance.choice([n, {"deep": [n]}, [n, n]])}
            }
            if n == 1:
                changes = {"set": {"/memory": {}, "/list": [1]}}
            elif chance.random() < 0.3:
                changes = {"set": {"/list": list(range(chance.randrange(5)))}, "remove": ["/memory/3"]}
            row = change(db, session_id, changes, p_label=f"at {n}" if chance.random() < 0.15 else None)
            texts[row["number"]] = text_of(db, session_id)
        for keep in (30, 12, 5, 1):
            cleanup_until_done(db, p_keep=keep, p_older_than="0")
            left = kept(db, session_id)
            assert {n: text_of(db, session_id, n) for n in left} == {n: texts[n] for n in left}
            assert db.superuser.execute(USELESS.encode()).fetchall() == []
            # Exactly the parts that a kept number can see are there.
            counted = db.superuser.execute("select count(*) from asyouwere.parts").fetchall()[0]["count"]
            visible = {
                (row["path"], row["item"], row["since"])
                for n in left
                for row in db.superuser.execute(
                    "select path, item, since from asyouwere.parts where since <= %s and until > %s", (n, n)
                )
            }
            assert counted == len(visible)


def test_cleanup__a_pruned_base_is_refused(db: Db) -> None:
    session_id = with_snapshots(db, 5)
    cleanup_until_done(db, p_keep=2, p_older_than="0")
    with db.acting_as("ada"):
        with db.refuses("snapshot_gone"):
            change(db, session_id, {"set": {"/step": 0}}, p_base=3)
        assert db.one("get_session_changes", p_session_id=session_id, p_since=3) == {
            "number": 5,
            "reset": True,
            "changes": None,
        }
        change(db, session_id, {"set": {"/other": 0}}, p_base=4)


@pytest.mark.parametrize(
    "arguments",
    [
        {"p_keep": 0},
        {"p_keep": -1},
        {"p_older_than": "-1 day"},
        {"p_max_sessions": 0},
        {"p_max_sessions": 10_001},
    ],
)
def test_cleanup__argument_wrong(shared: Db, arguments: Row) -> None:
    with shared.acting_as("service"), shared.refuses("invalid_argument"):
        shared.one("cleanup_old_snapshots", **arguments)


def test_cleanup__writes_what_it_did(db: Db) -> None:
    with_many_snapshots(db, 5)
    answers = cleanup_until_done(db, p_keep=2, p_older_than="0")
    with db.acting_as("service"):
        first, second = db.sql(
            "select kind, sessions, snapshots, parts, bytes, done, calls, took_ms from asyouwere.cleanup_runs order by id"
        )
    # one row for a pass, however many calls it took
    assert first.pop("calls") + second.pop("calls") == len(answers)
    assert first.pop("took_ms") >= 0
    run = first
    assert run == {"kind": "snapshots", "sessions": 1, "snapshots": 3, "parts": 3, "bytes": 3, "done": True}


def test_cleanup__forgets_old_runs(db: Db) -> None:
    cleanup_until_done(db)
    db.superuser.execute("update asyouwere.cleanup_runs set ran_at = now() - interval '31 days', done = true")
    cleanup(db)
    assert db.value("select count(*) from asyouwere.cleanup_runs") == 1


@pytest.mark.parametrize(
    ("meanwhile", "code"), [("cleanup", "snapshot_gone"), ("delete", "session_not_found")]
)
def test_fork__what_it_copies_goes_meanwhile__is_refused(db: Db, meanwhile: str, code: str) -> None:
    session_id = with_snapshots(db, 3)
    holder = db.connect(autocommit=False)
    # the fork waits here: it has found its snapshot and copied nothing yet
    holder.execute("select 1 from asyouwere.rate_buckets for update")
    errors: list[str | None] = []

    def fork() -> None:
        connection = db.connect_as("ada")
        try:
            db.call("fork_session", on=connection, p_session_id=session_id, p_number=1)
        except psycopg.Error as exc:
            errors.append(exc.diag.message_hint)

    thread = threading.Thread(target=fork)
    thread.start()
    waiting = "select count(*) > 0 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    deadline = time.monotonic() + 30
    while not db.value(waiting):
        assert time.monotonic() < deadline, "the fork never waited"
        time.sleep(0.02)
    if meanwhile == "cleanup":
        cleanup(db, p_keep=1, p_older_than="0 seconds")
        assert kept(db, session_id) == [3]
    else:
        db.superuser.execute("delete from free_agent_sessions where id = %s", (session_id,))
    holder.rollback()
    thread.join(30)
    assert errors == [code]
    assert db.value("select count(*) from free_agent_sessions") == (meanwhile == "cleanup")
