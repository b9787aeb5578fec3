"""Turns: who sees what of them; taken along, cleaned up, forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.sql.states import state_of
from tests.sql.turns import begin, finish, flush, look, run_out
from tests.support.database import Db


@pytest.fixture
def db(shared: Db) -> Db:
    return shared


@pytest.fixture
def session_id(db: Db) -> Iterator[UUID]:
    """A session of ada's; whoever uses it acts as ada."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        yield session_id


# -- who sees what -------------------------------------------------------------------------------------------------


def test_session_turns__is_seen_by_whoever_reads_the_session(db: Db, session_id: UUID) -> None:
    begin(db, session_id)
    db.share(session_id, "vi", "viewer")
    rows = "select status, last_seq from public.session_turns where session_id = %s"
    private = "select started_by from public.session_turns where session_id = %s"
    for who, seen in (("ada", 1), ("vi", 1), ("eve", 0), (None, 0), ("service", 1)):
        with db.acting_as(who):
            assert len(db.sql(rows, (session_id,))) == seen, who
            if who != "service":
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    db.sql(private, (session_id,))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.sql("update public.session_turns set status = 'done'")


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


def test_forgetting__the_name_goes_the_turn_ends(db: Db, session_id: UUID) -> None:
    db.share(session_id, "ed")
    with db.acting_as("ed"):
        done = begin(db, session_id)
        finish(db, session_id, done)
        turn = begin(db, session_id, p_message={"role": "assistant", "secret": "s"})
        flush(db, session_id, turn, 1, {"part": 1})
        db.one("delete_my_data")
    assert look(db, session_id, done)["started_by"] is None
    state = look(db, session_id, turn)
    assert (state["status"], state["started_by"]) == ("interrupted", None)
    left = "select count(*) as n from public.session_turns where session_id = %s and message is not null"
    assert db.superuser.execute(left, (session_id,)).fetchone() == {"n": 0}


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


def test_forget__takes_the_chunks_of_ended_turns_along(db: Db, session_id: UUID) -> None:
    turns = []
    for _ in range(2):
        turns.append(begin(db, session_id))
        flush(db, session_id, turns[-1], 1, "my secret address")
        run_out(db, turns[-1])
        assert look(db, session_id, turns[-1])["chunks"] == ["my secret address"]
    running = begin(db, session_id)
    flush(db, session_id, running, 1, "new")
    forgotten = db.one("forget_session_parts", p_session_id=session_id, p_addresses=["/messages"])
    assert (forgotten["turns"], forgotten["done"]) == (2, True)
    for turn in turns:
        state = look(db, session_id, turn)
        assert (state["chunks"], state["first_seq"], state["next_seq"], state["more"]) == ([], 2, 2, False)
    assert look(db, session_id, running)["chunks"] == ["new"]
    assert "secret" not in exported_text(db, session_id)
    left = "select count(*) as n from asyouwere.turn_chunks where body like '%secret%'"
    assert db.superuser.execute(left).fetchone() == {"n": 0}
    assert db.one("forget_session_parts", p_session_id=session_id, p_addresses=["/messages"])["turns"] == 0


def test_forget__more_chunks_than_a_call_deletes_are_unreadable_at_once(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    flush(db, session_id, turn, 1, "x")
    finish(db, session_id, turn)
    db.superuser.execute(
        "insert into asyouwere.turn_chunks select c.session, c.turn, n, 1, n, n, c.body "
        "from asyouwere.turn_chunks c join public.session_turns t on t.internal_id = c.turn, generate_series(2, 6000) n "
        "where t.id = %s",
        (turn,),
    )
    assert len(look(db, session_id, turn)["chunks"]) == 500
    forgotten = db.one("forget_session_parts", p_session_id=session_id, p_addresses=["/messages"])
    assert (forgotten["turns"], forgotten["done"]) == (1, False)
    assert look(db, session_id, turn)["chunks"] == []
    settle(db)
    count = "select count(*) as n from asyouwere.turn_chunks c join public.session_turns t on t.internal_id = c.turn where t.id = %s"
    assert db.superuser.execute(count, (turn,)).fetchone() == {"n": 0}


def test_delete__receipts_count_turns(db: Db) -> None:
    sessions = [db.session("sam") for _ in range(2)]
    with db.acting_as("sam"):
        for session_id in sessions:
            turn = begin(db, session_id)
            flush(db, session_id, turn, 1, "x")
            finish(db, session_id, turn)
            begin(db, session_id)
        assert db.one("delete_session", p_session_id=sessions[0])["turns"] == 2
        assert db.one("delete_my_data")["turns"] == 2


def test_delete_session__not_while_an_answer_is_made_if_a_base_is_given(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    flush(db, session_id, turn, 1, "x")
    with db.refuses("conflict"):
        db.one("delete_session", p_session_id=session_id, p_base=0)
    run_out(db, turn)
    with db.refuses("conflict"):
        db.one("delete_session", p_session_id=session_id, p_base=0)
    assert look(db, session_id, turn)["number"] == 1
    silent = begin(db, session_id)
    flush(db, session_id, silent, 1, {"part": 1})
    run_out(db, silent)
    assert db.one("delete_session", p_session_id=session_id, p_base=1)["turns"] == 2


def test_get_turn__whose_it_is_concerns_those_who_work_with_it(db: Db, session_id: UUID) -> None:
    db.share(session_id, "vi", "viewer")
    db.one("update_session", p_session_id=session_id, p_changes={"visibility": "public"})
    turn = begin(db, session_id, p_message={"role": "assistant", "secret": "plan"})
    flush(db, session_id, turn, 1, "x")
    ada = db.user("ada")
    for who, told in (("ada", ada), ("vi", ada), ("eve", None), (None, None), ("service", ada)):
        with db.acting_as(who):
            for after in (0, 1):  # something new, and nothing
                assert look(db, session_id, turn, after)["started_by"] == told, who
            assert ("plan" in exported_text(db, session_id)) == (told is not None), who


def exported_text(db: Db, session_id: UUID) -> str:
    return "".join(row["export_session"] for row in db.call("export_session", p_session_id=session_id))


def imported(db: Db, turns: Any) -> UUID:
    """A session with one number, as if it had been exported with these turns."""
    row = db.one(
        "import_session",
        p_session={"latest_number": 1, "turns": turns},
        p_snapshots=[{"number": 1}],
        p_paths=["/step/"],
        p_items=[-1],
        p_since=[1],
        p_until=[None],
        p_created_at=["2026-01-01Z"],
        p_bodies=["7"],
    )
    return UUID(str(row["id"]))


def test_import__brings_turns_back(db: Db, session_id: UUID) -> None:
    """The interrupted as it is, and the running one as one whose lease ran out: nobody makes it here."""
    dead = begin(db, session_id)
    flush(db, session_id, dead, 1, {"part": 1}, [2], None)
    run_out(db, dead)
    look(db, session_id)
    turn = begin(db, session_id, p_message={"role": "assistant", "model": "m"})
    flush(db, session_id, turn, 1, "so", " far", {"n": 1.50})
    turns = json.loads(exported_text(db, session_id))["session"]["turns"]
    assert [(each["id"], each["status"]) for each in turns] == [(str(dead), "interrupted"), (str(turn), "running")]
    copy = imported(db, turns)
    assert db.one("get_session", p_session_id=copy)["latest_number"] == 1
    again = json.loads(exported_text(db, copy))["session"]["turns"]
    assert [(each["id"], each["chunks"]) for each in again] == [(each["id"], each["chunks"]) for each in turns]
    with db.refuses("turn_over"):
        flush(db, copy, turn, 4, "late")
    assert look(db, copy, dead)["chunks"] == [{"part": 1}, [2], None]
    assert look(db, copy, turn)["status"] == "interrupted"
    message = {"role": "assistant", "model": "m", "content": "so far", "status": "interrupted"}
    assert state_of(db, copy) == {"step": 7, "messages": [message]}
    assert look(db, session_id, turn)["status"] == "running"


def test_import__chunks_with_half_characters_and_zeros(db: Db, session_id: UUID) -> None:
    """A stream is cut anywhere: such a turn must not keep the rest of its session from coming back."""
    turn = begin(db, session_id, p_message='{"role":"assistant","note":"\\ud83d \\u0001\\u0003 \\\\u0000"}')
    chunks = '["\\ud83d","\\ude00","a\\u0000b\\u0001\\u0004\\\\ud83d",{"n":1.50}]'
    db.one("append_turn_chunks", p_session_id=session_id, p_turn_id=turn, p_from_seq=1, p_chunks=chunks)
    text = exported_text(db, session_id)
    turns = text[text.index('"turns":') + len('"turns":') : text.index('},"snapshots"')]
    copy = db.one(
        "import_session",
        p_session=f'{{"name":"\\u0001\\u0003 \\\\u0000","turns":{turns}}}',
        p_snapshots=[],
        **{name: [] for name in ("p_paths", "p_items", "p_since", "p_until", "p_created_at", "p_bodies")},
    )
    assert copy["name"] == "\x01\x03 \\u0000"
    again = exported_text(db, copy["id"])
    assert chunks in again
    assert '"message":{"role":"assistant","note":"\\ud83d \\u0001\\u0003 \\\\u0000"}' in again
    for name in ("\\u0000", "\\ud800"):
        with db.refuses("invalid_argument"):
            db.one(
                "import_session",
                p_session=f'{{"name":"{name}"}}',
                p_snapshots=[],
                **{name: [] for name in ("p_paths", "p_items", "p_since", "p_until", "p_created_at", "p_bodies")},
            )


def test_import__chunks_come_in_pages(db: Db, session_id: UUID) -> None:
    chunks = [f"{n}" * 300 for n in range(9)] * 800
    turn = {"id": str(uuid4()), "status": "interrupted", "chunks": chunks}
    copy = imported(db, [turn])
    seen: list[Any] = []
    while (state := look(db, copy, UUID(str(turn["id"])), len(seen)))["more"]:
        seen += state["chunks"]
        assert len(seen) < len(chunks)
    assert seen + state["chunks"] == chunks


ONE = {"id": str(UUID(int=1)), "status": "interrupted", "chunks": []}


@pytest.mark.parametrize(
    "turns",
    [
        {},
        "x",
        [1],
        [{}],
        [{**ONE, "id": "x"}],
        [{**ONE, "status": "done"}],
        [{**ONE, "chunks": {}}],
        [{**ONE, "number": 2}],
        [{**ONE, "position": -1}],
        [{**ONE, "status": "running", "message": {"content": "x"}}],
        [ONE, ONE],
        [{**ONE, "id": str(UUID(int=n)), "status": "running"} for n in range(2)],
        [{**ONE, "id": str(UUID(int=n))} for n in range(11)],
    ],
)
def test_import__turns_that_could_not_be(db: Db, session_id: UUID, turns: Any) -> None:
    with db.refuses("invalid_argument"):
        imported(db, turns)


def test_import__turns_too_large_or_deep(db: Db, session_id: UUID) -> None:
    with db.refuses("too_large"):
        imported(db, [{**ONE, "chunks": ["x" * 8_400_000]}])
    deep: Any = []
    for _ in range(70):
        deep = [deep]
    with db.refuses("nesting_too_deep"):
        imported(db, [{**ONE, "chunks": deep}])


def test_import__turns_count_as_if_they_had_been_begun(db: Db) -> None:
    db.superuser.execute("update asyouwere.settings set max_recent_turns_per_user = 3")
    try:
        with db.acting_as("zoe"):
            turns = [{**ONE, "id": str(UUID(int=n)), "chunks": ["x"]} for n in range(4)]
            with db.refuses("quota_exceeded"):
                imported(db, turns)
            imported(db, turns[:3])
    finally:
        db.superuser.execute("update asyouwere.settings set max_recent_turns_per_user = default")
