"""Turns: what is refused, what is charged, and what is bounded."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.sql.states import state_of
from tests.sql.turns import begin, finish, flush, look, run_out
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


def test_append_turn_chunks__what_could_not_be_a_part_is_refused(db: Db, session_id) -> None:
    """Deep enough a chunk could be stored and never be read again: nobody could look at the turn, or end it."""
    turn = begin(db, session_id)
    for bad, code in (("[" * 5000 + "]" * 5000, "nesting_too_deep"), ("1e400", "number_out_of_range")):
        with db.refuses(code):
            db.sql("select * from append_turn_chunks(%s, %s, 1, %s::json)", (session_id, turn, f"[{bad}]"))
    with db.refuses("nesting_too_deep"):  # as a text: deeper than the server reads at all
        db.one(
            "append_turn_chunks",
            p_session_id=session_id,
            p_turn_id=turn,
            p_from_seq=1,
            p_chunks=json.dumps("[" * 50_000 + "]" * 50_000),
        )
    assert look(db, session_id, turn)["status"] == "running"


def test_finish_turn__a_key_twice_is_refused_as_by_a_save(db: Db, session_id) -> None:
    turn = begin(db, session_id)
    changes = '{"set":{"/a":{"k":1,"k":2}}}'
    with db.refuses("invalid_state"):
        db.sql("select * from finish_turn(%s, %s, p_changes => %s::json)", (session_id, turn, changes))


# -- what is bounded -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def setting(db: Db, name: str, value: Any) -> Iterator[None]:
    """A setting for the length of the block."""
    db.superuser.execute(f"update asyouwere.settings set {name} = %s".encode(), (value,))
    try:
        yield
    finally:
        db.superuser.execute(f"update asyouwere.settings set {name} = default".encode())


def test_begin__interrupted_turns_count_as_long_as_their_chunks_are_kept(db: Db) -> None:
    sessions = [db.session("mia") for _ in range(3)]
    with db.acting_as("mia"), setting(db, "max_recent_turns_per_user", 2):
        turns = []
        for session_id in sessions[:2]:
            turns.append(begin(db, session_id))
            flush(db, session_id, turns[-1], 1, {"part": 1})
            run_out(db, turns[-1])
            look(db, session_id)
        for gone, refused in (("6 days", True), ("8 days", False)):
            db.superuser.execute(
                "update public.session_turns set ended_at = now() - %s::interval where id = any(%s)", (gone, turns)
            )
            if refused:
                with db.refuses("quota_exceeded"):
                    begin(db, sessions[2])
            else:
                turn = begin(db, sessions[2])
                flush(db, sessions[2], turn, 1)
                run_out(db, turn)
                look(db, sessions[2])
                db.superuser.execute(
                    "update public.session_turns set ended_at = now() - interval '1 day' where id = %s", (turn,)
                )
                for session_id in sessions[:2]:  # nothing is kept of one without chunks
                    finish(db, session_id, begin(db, session_id))


def test_interrupted__past_the_owners_quota_there_is_no_message(db: Db) -> None:
    """As if it had been finished: else a runner that dies each time would store without end."""
    session_id = db.session("kim")
    with db.acting_as("kim"):
        db.save(session_id, {"x": "y" * 1000})
        with setting(db, "max_stored_bytes_per_user", 2000):
            turn = begin(db, session_id)
            flush(db, session_id, turn, 1, "z" * 2000)
            run_out(db, turn)
            state = look(db, session_id, turn)
            assert (state["status"], state["position"], state["chunks"]) == ("interrupted", None, ["z" * 2000])
            assert state_of(db, session_id) == {"x": "y" * 1000}
            assert db.value("select auth.uid()") == db.user("kim")
            with db.acting_as("service"):
                turn = begin(db, session_id)
                flush(db, session_id, turn, 1, "z" * 2000)
                run_out(db, turn)
                assert look(db, session_id, turn)["position"] == 0  # whom nothing limits


def test_chunks__however_small_each_one_counts(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    with setting(db, "max_turn_bytes", 65536), db.refuses("too_large"):
        flush(db, session_id, turn, 1, *[""] * 1000)
    flush(db, session_id, turn, 1, *[""] * 900)
    with setting(db, "max_turn_bytes", 65536), db.refuses("too_large"):
        flush(db, session_id, turn, 901, *[""] * 100)


def test_chunks__a_bomb_of_them_is_settled_and_read_in_pages(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    last = 0
    with db.refuses("too_large"):
        while last < 1_000_000:
            last = flush(db, session_id, turn, last + 1, *[""] * 1000)["next_seq"] - 1
    assert 100_000 < last < 130_000
    run_out(db, turn)
    seen = 0
    while (state := look(db, session_id, turn, seen))["more"]:
        assert 0 < len(state["chunks"]) < 20_000
        assert state["first_seq"] == seen + 1
        seen = state["next_seq"] - 1
    assert state["next_seq"] - 1 == last
    assert state_of(db, session_id)["messages"] == [{"role": "assistant", "content": "", "status": "interrupted"}]


def test_message__counts_and_is_gone_with_the_end(db: Db, session_id: UUID) -> None:
    kept = "select message is not null as kept from public.session_turns where id = %s"
    for end in ("finish", "interrupt"):
        turn = begin(db, session_id, p_message={"role": "assistant", "secret": "s" * 8000})
        with setting(db, "max_turn_bytes", 65536):
            with db.refuses("too_large"):
                flush(db, session_id, turn, 1, "x" * 60_000)
            flush(db, session_id, turn, 1, "x" * 50_000)
        if end == "finish":
            finish(db, session_id, turn)
        else:
            run_out(db, turn)
            look(db, session_id)
        assert db.superuser.execute(kept, (turn,)).fetchone() == {"kept": False}
        assert state_of(db, session_id)["messages"][-1]["secret"] == "s" * 8000


def test_chunks__an_empty_flush_is_charged(db: Db) -> None:
    session_id = db.session("lea")
    with db.acting_as("lea"):
        turn = begin(db, session_id)
        with setting(db, "writes_per_second", 0.000001):
            db.superuser.execute("update asyouwere.rate_buckets set tokens = 2")
            for _ in range(2):
                flush(db, session_id, turn, 1)
            with db.refuses("rate_limited"):
                flush(db, session_id, turn, 1)


@pytest.mark.parametrize(
    ("message", "code"),
    [('{"a":' + "[" * 70 + "]" * 70 + "}", "nesting_too_deep"), ('{"a":1e999}', "number_out_of_range")],
)
def test_begin__a_message_that_could_not_be_a_part(db: Db, session_id: UUID, message: str, code: str) -> None:
    with db.refuses(code):
        begin(db, session_id, p_message=message)


def test_turns__ten_thousand_in_one_session_are_passed_by(db: Db, session_id: UUID) -> None:
    """Each call reads a few rows, by index, however many turns there have been."""
    first = begin(db, session_id)
    finish(db, session_id, first)
    db.superuser.execute(
        """
        insert into public.session_turns (session_id, id, internal_session_id, status, started_by, started_at,
            lease_seconds, lease_until, ended_at, due_at, number, position)
        select t.session_id, gen_random_uuid(), t.internal_session_id, 'done', t.started_by, now() - interval '1 day',
            30, now() - interval '1 day', now() - interval '1 day', now() + interval '29 days', n, n
        from public.session_turns t, generate_series(1, 10000) n where t.id = %s
        """,
        (first,),
    )
    db.superuser.execute("analyze public.session_turns")
    turn = uuid4()
    calls: list[Callable[[], Any]] = [
        lambda: begin(db, session_id, turn),
        lambda: flush(db, session_id, turn, 1, "x"),
        lambda: look(db, session_id, turn, 1),
        lambda: look(db, session_id),
        lambda: finish(db, session_id, turn),
        lambda: look(db, session_id),
    ]
    for _ in range(2):  # the second time by the plan that is kept
        for n, call in enumerate(calls):
            before = rows_read(db)
            call()
            assert rows_read(db) - before < 30, n
        turn = uuid4()


def rows_read(db: Db) -> int:
    """Rows of turns that whoever acts has had read; what the test itself read before is told first."""
    for connection in (db.superuser, db.connection):
        connection.execute("select pg_stat_force_next_flush()")
        connection.execute("select 1")  # told at the end of a transaction
    read = (
        "select coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::int as n from pg_stat_all_tables "
        "where relid = 'public.session_turns'::regclass"
    )
    (row,) = db.superuser.execute(read).fetchall()
    return int(row["n"])
