"""Turns: beginning, flushing, following, ending; once, and never after the fence."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.sql.states import change, state_of, text_of
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


def begin(db: Db, session_id: UUID, turn: UUID | None = None, **arguments: Any) -> UUID:
    row = db.one("begin_turn", p_session_id=session_id, p_turn_id=turn or uuid4(), **arguments)
    return UUID(str(row["id"]))


def flush(db: Db, session_id: UUID, turn: UUID, from_seq: int, *chunks: Any) -> Row:
    return db.one(
        "append_turn_chunks", p_session_id=session_id, p_turn_id=turn, p_from_seq=from_seq, p_chunks=list(chunks)
    )


def finish(db: Db, session_id: UUID, turn: UUID, **arguments: Any) -> Row:
    return db.one("finish_turn", p_session_id=session_id, p_turn_id=turn, **arguments)


def look(db: Db, session_id: UUID, turn: UUID | None = None, after: int = 0) -> Row:
    return db.one("get_turn", p_session_id=session_id, p_turn_id=turn, p_after_seq=after)


def run_out(db: Db, turn: UUID) -> None:
    """The lease of a turn ran out a second ago."""
    db.superuser.execute(
        "update public.session_turns set lease_until = clock_timestamp() - interval '1 s' where id = %s", (turn,)
    )


def all_at_once(db: Db, count: int, work: Any) -> list[Any]:
    """What work(connection of ada's) gives, run so many times at once: a row, or the code of the refusal."""
    connections = [db.connect_as("ada") for _ in range(count)]
    results: list[Any] = [None] * count
    ready = threading.Barrier(count)

    def run(n: int) -> None:
        ready.wait()
        try:
            results[n] = work(connections[n])
        except psycopg.Error as exc:
            results[n] = exc.diag.message_hint

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for connection in connections:
        connection.close()
    return results


# -- an answer from its first token to its end ---------------------------------------------------------------------


def test_turn__text_chunks_become_the_message(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"messages": [{"role": "user", "content": "tea?"}]})
    turn = begin(db, session_id)
    assert flush(db, session_id, turn, 1, "Green", " or") == {"next_seq": 3, "stop": False}
    assert flush(db, session_id, turn, 3, " black?") == {"next_seq": 4, "stop": False}
    state = look(db, session_id)
    assert (state["status"], state["chunks"], state["first_seq"], state["next_seq"]) == (
        "running", ["Green", " or", " black?"], 1, 4,
    )  # fmt: skip
    saved = finish(db, session_id, turn)
    assert (saved["number"], saved["created"], saved["message_count"]) == (2, True, 2)
    assert text_of(db, session_id) == (
        '{"messages":[{"role":"user","content":"tea?"},{"role":"assistant","content":"Green or black?"}]}'
    )
    state = look(db, session_id, turn, 2)
    assert (state["status"], state["chunks"], state["number"], state["position"]) == ("done", [" black?"], 2, 1)
    assert state["ended_at"] >= state["started_at"]


def test_turn__takes_one_snapshot_number_however_many_flushes(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    for n in range(1, 31):
        flush(db, session_id, turn, n, f"{n} ")
    assert db.one("get_session", p_session_id=session_id)["latest_number"] == 0
    assert finish(db, session_id, turn)["number"] == 1


def test_finish__with_a_message_and_changes_of_ones_own(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    flush(db, session_id, turn, 1, {"type": "text-delta", "delta": "hi"}, [1], None, 1.50)
    assert look(db, session_id)["chunks"] == [{"type": "text-delta", "delta": "hi"}, [1], None, 1.5]
    saved = finish(
        db, session_id, turn, p_message='{"parts":[1.50]}', p_changes={"set": {"/step": 2}, "append": {"/messages": ["x"]}}
    )
    assert saved["number"] == 1
    assert text_of(db, session_id) == '{"messages":["x",{"parts":[1.50]}],"step":2}'
    assert look(db, session_id)["position"] == 1


def test_finish__stopped_and_failed_say_so_in_the_message(db: Db, session_id: UUID) -> None:
    for n, status in enumerate(("stopped", "failed")):
        turn = begin(db, session_id, p_message={"role": "assistant", "model": "m"})
        flush(db, session_id, turn, 1, "so far")
        finish(db, session_id, turn, p_status=status)
        message = {"role": "assistant", "model": "m", "content": "so far", "status": status}
        assert state_of(db, session_id)["messages"][n] == message
    turn = begin(db, session_id, p_message="{ }")
    flush(db, session_id, turn, 1, "x")
    finish(db, session_id, turn)
    assert state_of(db, session_id)["messages"][2] == {"content": "x"}


def test_finish__without_text_saves_nothing(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    flush(db, session_id, turn, 1, {"tool": 1})
    assert finish(db, session_id, turn, p_status="failed")["created"] is False
    state = look(db, session_id)
    assert (state["status"], state["position"], state_of(db, session_id)) == ("failed", None, {})


def test_chunks__every_character_arrives(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    sent = '[ "half \\ud83d" , "\\ude00 \\u0000 \\"quoted\\" \\\\" ,"ü"]'
    db.one("append_turn_chunks", p_session_id=session_id, p_turn_id=turn, p_from_seq=1, p_chunks=sent)
    # as PostgREST can take it: half a character, within a text
    db.one("append_turn_chunks", p_session_id=session_id, p_turn_id=turn, p_from_seq=4, p_chunks=json.dumps('["\\ud83d"]'))
    finish(db, session_id, turn)
    assert text_of(db, session_id) == (
        '{"messages":[{"role":"assistant","content":"half \\ud83d\\ude00 \\u0000 \\"quoted\\" \\\\ü\\ud83d"}]}'
    )


def test_get_turn__reads_from_any_number_on(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    for first in (1, 4, 7):
        flush(db, session_id, turn, first, *(str(n) for n in range(first, first + 3)))
    for after in range(12):
        state = look(db, session_id, turn, after)
        assert state["chunks"] == [str(n) for n in range(after + 1, 10)], after
        assert (state["first_seq"], state["next_seq"], state["more"]) == (min(after, 9) + 1, 10, False)


def test_get_turn__comes_in_pages(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    for n in range(1, 13):
        flush(db, session_id, turn, n, "x" * 200_000)
    after, pages = 0, 0
    while True:
        state = look(db, session_id, turn, after)
        assert 0 < len(state["chunks"]) <= 5
        pages, after = pages + 1, state["next_seq"] - 1
        if not state["more"]:
            break
    assert (after, pages) == (12, 3)


def test_get_turn__none_there(db: Db, session_id: UUID) -> None:
    for turn in (None, uuid4()):
        with db.refuses("turn_not_found"):
            look(db, session_id, turn)


# -- once ----------------------------------------------------------------------------------------------------------


def test_begin__fifty_at_once_is_one_turn(db: Db, session_id: UUID) -> None:
    turn = uuid4()
    rows = all_at_once(
        db, 50, lambda c: db.call("begin_turn", on=c, p_session_id=session_id, p_turn_id=turn)[0]
    )  # fmt: skip
    assert [row["id"] for row in rows] == [turn] * 50
    assert sum(row["created"] for row in rows) == 1


def test_chunks__fifty_at_once_are_there_once(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    rows = all_at_once(
        db, 50,
        lambda c: db.call("append_turn_chunks", on=c, p_session_id=session_id, p_turn_id=turn, p_from_seq=1,
                          p_chunks=["a", "b"])[0],
    )  # fmt: skip
    assert rows == [{"next_seq": 3, "stop": False}] * 50
    assert look(db, session_id)["chunks"] == ["a", "b"]


def test_chunks__a_retry_that_has_more_adds_what_is_new(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    flush(db, session_id, turn, 1, "a", "b")
    assert flush(db, session_id, turn, 1, "A")["next_seq"] == 3
    assert flush(db, session_id, turn, 2, "B", {"c": 3}, "d")["next_seq"] == 5
    assert look(db, session_id)["chunks"] == ["a", "b", {"c": 3}, "d"]


def test_chunks__gap(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    flush(db, session_id, turn, 1, "a")
    with db.refuses("turn_gap") as refused:
        flush(db, session_id, turn, 3, "c")
    assert json.loads(refused.value.diag.message_detail or "") == {"next_seq": 2}


def test_finish__fifty_at_once_is_one_message(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    flush(db, session_id, turn, 1, "hi")
    rows = all_at_once(db, 50, lambda c: db.call("finish_turn", on=c, p_session_id=session_id, p_turn_id=turn)[0])
    assert [(row["number"], row["created"], row["message_count"]) for row in rows] == [(1, True, 1)] * 50
    assert sum(bool(row["replayed"]) for row in rows) == 49
    with db.refuses("turn_over"):
        finish(db, session_id, turn, p_status="failed")
    assert len(state_of(db, session_id)["messages"]) == 1


# -- two runners ---------------------------------------------------------------------------------------------------


def test_begin__another_one_runs(db: Db, session_id: UUID) -> None:
    first = begin(db, session_id)
    flush(db, session_id, first, 1, "a")
    with db.refuses("turn_running") as refused:
        begin(db, session_id)
    detail = json.loads(refused.value.diag.message_detail or "")
    assert (detail["turn"], detail["next_seq"]) == (str(first), 2)
    assert begin(db, session_id, p_on_running="join") == first
    finish(db, session_id, first)
    assert begin(db, session_id) != first


def test_begin__two_of_fifty_at_once(db: Db, session_id: UUID) -> None:
    rows = all_at_once(
        db, 20, lambda c: db.call("begin_turn", on=c, p_session_id=session_id, p_turn_id=uuid4())[0]["created"]
    )  # fmt: skip
    assert sorted(map(str, rows)) == ["True"] + ["turn_running"] * 19


def test_begin__a_turn_of_somebody_elses(db: Db, session_id: UUID) -> None:
    db.share(session_id, "ed")
    turn = begin(db, session_id)
    with db.acting_as("ed"):
        with db.refuses("turn_running"):
            begin(db, session_id, turn)
        with db.refuses("forbidden"):
            flush(db, session_id, turn, 1, "x")
        with db.refuses("forbidden"):
            finish(db, session_id, turn)
        assert db.one("stop_turn", p_session_id=session_id, p_turn_id=turn)["status"] == "running"
    assert flush(db, session_id, turn, 1, "x")["stop"] is True
    finish(db, session_id, turn, p_status="stopped")
    with db.acting_as("ed"), db.refuses("key_taken"):
        begin(db, session_id, turn)


def test_turn__the_same_id_in_two_sessions_is_two_turns(db: Db, session_id: UUID) -> None:
    other, turn = db.session("ada"), uuid4()
    for each, text in ((session_id, "one"), (other, "two")):
        begin(db, each, turn)
        flush(db, each, turn, 1, text)
    assert [look(db, each, turn)["chunks"] for each in (session_id, other)] == [["one"], ["two"]]


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
            db.call("append_turn_chunks", on=late, p_session_id=session_id, p_turn_id=turn, p_from_seq=1, p_chunks=["x"])
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


# -- limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"p_lease_seconds": 31_536_000},
        {"p_lease_seconds": 0},
        {"p_lease_seconds": None},
        {"p_turn_id": None},
        {"p_message": "[]"},
        {"p_message": None},
        {"p_message": {"content": "x"}},
        {"p_message": {"status": "x"}},
        {"p_message": {"x": "y" * 9000}},
        {"p_on_running": "steal"},
    ],
)
def test_begin__argument_wrong(db: Db, session_id: UUID, wrong: Row) -> None:
    with db.refuses("invalid_argument"):
        db.one("begin_turn", **{"p_session_id": session_id, "p_turn_id": uuid4(), **wrong})


def test_chunks__too_large(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    for chunks in (["x" * 270_000], ["x"] * 1001):
        with db.refuses("too_large"):
            flush(db, session_id, turn, 1, *chunks)
    db.superuser.execute("update asyouwere.settings set max_turn_bytes = 100000")
    try:
        flush(db, session_id, turn, 1, "x" * 90_000)
        with db.refuses("too_large") as refused:
            flush(db, session_id, turn, 2, "x" * 10_000)
        assert json.loads(refused.value.diag.message_detail or "")["max_bytes"] == 100_000
    finally:
        db.superuser.execute("update asyouwere.settings set max_turn_bytes = 8388608")
    assert look(db, session_id)["next_seq"] == 2


@pytest.mark.parametrize(("from_seq", "chunks"), [(0, "[]"), (1, "{}"), (1, "1"), (None, "[]"), (1, None)])
def test_chunks__argument_wrong(db: Db, session_id: UUID, from_seq: Any, chunks: Any) -> None:
    turn = begin(db, session_id)
    with db.refuses("invalid_argument"):
        db.one("append_turn_chunks", p_session_id=session_id, p_turn_id=turn, p_from_seq=from_seq, p_chunks=chunks)


def test_chunks__a_text_that_is_no_json(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    with db.refuses("invalid_json"):
        db.one("append_turn_chunks", p_session_id=session_id, p_turn_id=turn, p_from_seq=1, p_chunks='"[1"')


@pytest.mark.parametrize(
    ("setting", "quota", "ends"),
    [("max_running_turns_per_user", "running_turns", False), ("max_recent_turns_per_user", "recent_turns", True)],
)
def test_begin__too_many(db: Db, setting: str, quota: str, ends: bool) -> None:
    db.superuser.execute(f"update asyouwere.settings set {setting} = 3".encode())
    try:
        sessions = [db.session("tom") for _ in range(4)]
        with db.acting_as("tom"):
            for session_id in sessions[:3]:
                turn = begin(db, session_id)
                if ends:
                    finish(db, session_id, turn)
            with db.refuses("quota_exceeded") as refused:
                begin(db, sessions[3])
            for session_id in sessions:
                db.one("delete_session", p_session_id=session_id)
        assert json.loads(refused.value.diag.message_detail or "") == {"quota": quota, "used": 3, "limit": 3}
        with db.acting_as("service"):
            for n in range(5):
                begin(db, db.session(f"tim {n}"))  # the service is not limited
    finally:
        db.superuser.execute(f"update asyouwere.settings set {setting} = default".encode())


def test_chunks__one_in_sixteen_flushes_is_charged(db: Db) -> None:
    session_id = db.session("pat")
    bucket = "select tokens from asyouwere.rate_buckets where user_id = %s"
    db.superuser.execute("update asyouwere.settings set writes_per_second = 0.000001")
    try:
        with db.acting_as("pat"):
            turn = begin(db, session_id)
            (before,) = db.superuser.execute(bucket, (db.user("pat"),)).fetchall()
            for n in range(1, 33):
                flush(db, session_id, turn, n, "x")
            (after,) = db.superuser.execute(bucket, (db.user("pat"),)).fetchall()
            assert round(before["tokens"] - after["tokens"]) == 2
            db.superuser.execute("update asyouwere.rate_buckets set tokens = 0")
            for n in range(33, 48):
                flush(db, session_id, turn, n, "x")
            with db.refuses("rate_limited"):
                flush(db, session_id, turn, 48, "x")
    finally:
        db.superuser.execute("update asyouwere.settings set writes_per_second = default")


# -- who sees what -------------------------------------------------------------------------------------------------


def test_session_turns__is_seen_by_whoever_reads_the_session(db: Db, session_id: UUID) -> None:
    begin(db, session_id)
    db.share(session_id, "vi", "viewer")
    rows = "select status, last_seq from public.session_turns where session_id = %s"
    for who, seen in (("ada", 1), ("vi", 1), ("eve", 0), (None, 0), ("service", 1)):
        with db.acting_as(who):
            assert len(db.sql(rows, (session_id,))) == seen, who
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.sql("update public.session_turns set status = 'done'")


def test_turn__goes_on_for_nobody_who_is_no_editor_any_more(db: Db, session_id: UUID) -> None:
    db.share(session_id, "ed")
    with db.acting_as("ed"):
        turn = begin(db, session_id)
    db.call("remove_session_member", p_session_id=session_id, p_user_id=db.user("ed"))
    with db.acting_as("ed"), db.refuses("session_not_found"):
        flush(db, session_id, turn, 1, "x")
    change(db, session_id, {"set": {"/n": 1}})


# -- taken along, cleaned up, forgotten ------------------------------------------------------------------------------


def settle(db: Db) -> None:
    """A pass of the clean-up."""
    with db.acting_as("service"):
        while not db.one("cleanup_old_snapshots")["done"]:
            pass


def test_cleanup__ends_turns_and_takes_chunks_when_their_time_is_over(db: Db, session_id: UUID) -> None:
    done, dead = begin(db, session_id), uuid4()
    flush(db, session_id, done, 1, "a")
    finish(db, session_id, done)
    begin(db, session_id, dead)
    flush(db, session_id, dead, 1, "b", {"c": 1})
    run_out(db, dead)
    settle(db)
    assert [each["content"] for each in state_of(db, session_id)["messages"]] == ["a", "b"]
    assert [look(db, session_id, turn)["chunks"] for turn in (done, dead)] == [["a"], ["b", {"c": 1}]]
    for turn, gone in ((done, "11 minutes"), (dead, "8 days")):
        db.superuser.execute(
            "update public.session_turns set due_at = due_at - %s::interval, ended_at = ended_at - %s::interval where id = %s",
            (gone, gone, turn),
        )
    settle(db)
    for turn in (done, dead):
        state = look(db, session_id, turn)
        assert (state["chunks"], state["more"], state["position"] is not None) == ([], False, True)
    db.superuser.execute(
        "update public.session_turns set due_at = due_at - interval '40 days', ended_at = ended_at - interval '40 days'"
    )
    settle(db)
    with db.refuses("turn_not_found"):
        look(db, session_id, done)


def test_export__has_what_was_interrupted(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    flush(db, session_id, turn, 1, {"part": 1}, "x")
    run_out(db, turn)
    look(db, session_id)
    rows = db.call("export_session", p_session_id=session_id)
    exported = json.loads("".join(row["export_session"] for row in rows))
    (kept,) = exported["session"]["turns"]
    assert (kept["id"], kept["status"], kept["position"]) == (str(turn), "interrupted", 0)
    assert kept["chunks"] == [{"part": 1}, "x"]
    finished = db.session("ada")
    finish(db, finished, begin(db, finished))
    rows = db.call("export_session", p_session_id=finished)
    assert "turns" not in json.loads("".join(row["export_session"] for row in rows))["session"]


def test_forgetting__the_name_goes_the_turn_stays(db: Db, session_id: UUID) -> None:
    db.share(session_id, "ed")
    with db.acting_as("ed"):
        turn = begin(db, session_id)
        db.one("delete_my_data")
    assert look(db, session_id, turn)["started_by"] is None
    with db.acting_as("service"):
        flush(db, session_id, turn, 1, "the service may go on")


def test_append_turn_chunks__what_could_not_be_a_part_is_refused(db: Db, session_id) -> None:
    """Deep enough a chunk could be stored and never be read again: nobody could look at the turn, or end it."""
    turn = begin(db, session_id)
    for bad, code in (("[" * 5000 + "]" * 5000, "nesting_too_deep"), ("1e400", "number_out_of_range")):
        with db.refuses(code):
            db.sql("select * from append_turn_chunks(%s, %s, 1, %s::json)", (session_id, turn, f"[{bad}]"))
    assert look(db, session_id, turn)["status"] == "running"


def test_finish_turn__a_key_twice_is_refused_as_by_a_save(db: Db, session_id) -> None:
    turn = begin(db, session_id)
    changes = '{"set":{"/a":{"k":1,"k":2}}}'
    with db.refuses("invalid_state"):
        db.sql("select * from finish_turn(%s, %s, p_changes => %s::json)", (session_id, turn, changes))


def test_export__turns_are_no_larger_together_than_one_may_be(db: Db, session_id) -> None:
    """All of them are one row of the export, so ten of eight MB must not be."""
    (before,) = db.superuser.execute("select max_turn_bytes from asyouwere.settings").fetchall()
    db.superuser.execute("update asyouwere.settings set max_turn_bytes = 65536")
    try:
        turns = []
        for _ in range(2):
            turns.append(begin(db, session_id))
            flush(db, session_id, turns[-1], 1, {"x": "y" * 40000})
            run_out(db, turns[-1])
            look(db, session_id, turns[-1])
        head = json.loads(db.sql("select * from export_session(%s)", (session_id,))[0]["export_session"] + "]}")
        assert [turn["id"] for turn in head["session"]["turns"]] == [str(turns[-1])]
        (page, *_) = db.sql("select * from export_session_page(%s, p_latest_only => true)", (session_id,))
        assert "turns" not in next(iter(page.values()))
    finally:
        db.superuser.execute("update asyouwere.settings set max_turn_bytes = %s", (before["max_turn_bytes"],))


def test_forget__takes_the_chunks_of_ended_turns_along(db: Db, session_id) -> None:
    turn = begin(db, session_id)
    flush(db, session_id, turn, 1, "my secret address")
    run_out(db, turn)
    assert look(db, session_id, turn)["chunks"] == ["my secret address"]
    db.sql("select * from forget_session_parts(%s, %s::json)", (session_id, '["/messages"]'))
    assert "secret" not in json.dumps(look(db, session_id, turn), default=str)
    assert "secret" not in json.dumps(db.sql("select * from export_session(%s)", (session_id,)), default=str)
