"""Turns: beginning, flushing, following, ending; once, however often it is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from tests.sql.states import state_of, text_of
from tests.sql.turns import all_at_once, begin, finish, flush, look
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
        db,
        session_id,
        turn,
        p_message='{"parts":[1.50]}',
        p_changes={"set": {"/step": 2}, "append": {"/messages": ["x"]}},
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
    db.one(
        "append_turn_chunks",
        p_session_id=session_id,
        p_turn_id=turn,
        p_from_seq=4,
        p_chunks=json.dumps('["\\ud83d"]'),
    )
    finish(db, session_id, turn)
    assert text_of(db, session_id) == (
        '{"messages":[{"role":"assistant","content":"half \\ud83d\\ude00 \\u0000 \\"quoted\\" \\\\ü\\ud83d"}]}'
    )


def test_get_turn__reads_from_any_number_on(db: Db, session_id: UUID) -> None:
    turn = begin(db, session_id)
    for first in (1, 4, 7):
        flush(db, session_id, turn, first, *(str(n) for n in range(first, first + 3)))
    for after in (*range(12), 2_147_483_647, -2_147_483_648):
        state = look(db, session_id, turn, after)
        assert state["chunks"] == [str(n) for n in range(max(after, 0) + 1, 10)], after
        assert (state["first_seq"], state["next_seq"], state["more"]) == (min(max(after, 0), 9) + 1, 10, False)


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
    assert db.call("get_turn", p_session_id=session_id) == []
    with db.refuses("turn_not_found"):
        look(db, session_id, uuid4())
    with db.acting_as("eve"), db.refuses("session_not_found"):
        db.call("get_turn", p_session_id=session_id)


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
