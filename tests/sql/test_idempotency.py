"""The same save twice: the first answer again, whatever has happened since."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.sql.states import change, state_of
from tests.support.database import Db, Row


@pytest.fixture
def session_id(db: Db):
    """A session of ada's; whoever uses it acts as ada."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        yield session_id


def same(answer: Row, **replaced: Any) -> Row:
    """An answer as a retry must give it."""
    return {**answer, "replayed": True, **replaced}


def test_key__retry_answers_the_first_result(db: Db, session_id) -> None:
    first = db.save(session_id, {"n": 1}, p_idempotency_key="k")
    assert first["replayed"] is False
    assert db.save(session_id, {"n": 1}, p_idempotency_key="k") == same(first)
    for n in range(2, 6):
        db.save(session_id, {"n": n})
    assert db.save(session_id, {"n": 1}, p_idempotency_key="k") == same(first)
    assert state_of(db, session_id) == {"n": 5}


def test_key__retry_of_a_save_that_changed_nothing(db: Db, session_id) -> None:
    db.save(session_id, {"n": 1})
    first = db.save(session_id, {"n": 1}, p_idempotency_key="k")
    assert (first["number"], first["created"]) == (1, False)
    db.save(session_id, {"n": 2})
    assert db.save(session_id, {"n": 1}, p_idempotency_key="k") == same(first)
    assert state_of(db, session_id) == {"n": 2}


def test_key__retry_after_a_refusal_is_a_new_save(db: Db, session_id) -> None:
    with db.refuses("missing_parent"):
        change(db, session_id, {"set": {"/a/0": 1}}, p_idempotency_key="k")
    assert change(db, session_id, {"set": {"/a": 1}}, p_idempotency_key="k")["replayed"] is False


def test_key__retry_of_a_merge_says_so_and_catches_up(db: Db, session_id) -> None:
    db.save(session_id, {"a": 1, "b": 1})
    change(db, session_id, {"set": {"/a": 2}})
    arguments: Row = {"p_base": 1, "p_idempotency_key": "k"}
    first = change(db, session_id, {"set": {"/b": 2}}, **arguments)
    assert (first["number"], first["merged"], first["others"]) == (3, True, {"set": {"/a": 2, "/b": 2}, "remove": []})
    assert change(db, session_id, {"set": {"/b": 2}}, **arguments) == same(first)
    change(db, session_id, {"set": {"/c": 1}})
    # What leads to number 3 and no further: the client takes it for the state of that number.
    assert change(db, session_id, {"set": {"/b": 2}}, **arguments) == same(first)


@pytest.mark.parametrize("on_conflict", ["merge", "overwrite"])
def test_key__retry_says_merged_as_the_first_answer_did(db: Db, session_id, on_conflict: str) -> None:
    db.save(session_id, {"a": 1})
    change(db, session_id, {"set": {"/b": 2}})
    # Not changing anything is the case that a guess from the numbers gets wrong.
    for n, changes in enumerate([{"set": {"/b": 2}}, {"set": {"/c": 3}}]):
        arguments: Row = {"p_base": 1, "p_idempotency_key": f"k{n}", "p_on_conflict": on_conflict}
        first = change(db, session_id, changes, **arguments)
        assert first["merged"] == (on_conflict == "merge")
        assert change(db, session_id, changes, **arguments) == same(first)


def test_key__retry_without_base_says_not_merged(db: Db, session_id) -> None:
    first = db.save(session_id, {"n": 1}, p_idempotency_key="k")
    assert first["merged"] is False
    assert db.save(session_id, {"n": 1}, p_idempotency_key="k")["merged"] is False


def test_key__with_another_content_is_refused(db: Db, session_id) -> None:
    arguments: Row = {"p_base": 0, "p_label": "one", "p_idempotency_key": "k"}
    db.save(session_id, {"a": 1, "l": [1]}, **arguments)
    others: list[Row] = [
        {"p_state": {"a": 2, "l": [1]}},
        {"p_state": {"a": 1, "l": [1], "b": 1}},
        {"p_state": {"a": 1}},
        {"p_state": {"a": "1", "l": [1]}},
        {"p_state": None, "p_changes": {"set": {"/a": 1}}},
        {"p_base": 1},
        {"p_base": None},
        {"p_label": "two"},
        {"p_label": None},
    ]
    for other in others:
        with db.refuses("idempotency_key_reused"):
            db.one(
                "create_session_snapshot",
                **{"p_session_id": session_id, "p_state": {"a": 1, "l": [1]}, **arguments, **other},
            )
    assert db.one("get_session", p_session_id=session_id)["latest_number"] == 1


def test_key__base_and_label_are_told_apart(db: Db, session_id) -> None:
    db.save(session_id, {"a": 1})
    changes: Row = {"p_changes": {"set": {"/a": 2}}, "p_session_id": session_id, "p_idempotency_key": "k"}
    db.one("create_session_snapshot", p_base=1, **changes)
    with db.refuses("idempotency_key_reused"):
        db.one("create_session_snapshot", p_label="1", **changes)


def test_key__append_and_set_are_told_apart(db: Db, session_id) -> None:
    change(db, session_id, {"append": {"/l": [1, 2]}}, p_idempotency_key="k")
    for other in ({"append": {"/l": [1]}}, {"append": {"/l": [[1, 2]]}}, {"set": {"/l": [1, 2]}}, {"append": {"/m": [1, 2]}}):
        with db.refuses("idempotency_key_reused"):
            change(db, session_id, other, p_idempotency_key="k")


def test_key__belongs_to_one_session(db: Db, session_id) -> None:
    other = db.session("ada")
    db.save(session_id, {"n": 1}, p_idempotency_key="k")
    assert db.save(other, {"n": 2}, p_idempotency_key="k")["replayed"] is False


def test_key__is_known_after_its_snapshot_and_base_are_pruned(db: Db, session_id) -> None:
    db.save(session_id, {"a": 0})
    arguments: Row = {"p_base": 1, "p_idempotency_key": "k"}
    first = change(db, session_id, {"set": {"/a": 1}}, **arguments)
    for n in range(2, 10):
        change(db, session_id, {"set": {"/a": n}})
    with db.acting_as("service"):
        steps = [db.one("cleanup_old_snapshots", p_keep=2, p_older_than="0")]
        while not steps[-1]["done"]:
            steps.append(db.one("cleanup_old_snapshots", p_keep=2, p_older_than="0"))
    assert sum(step["snapshots"] for step in steps) == 8
    # What is not kept any more can't be told; the number can.
    assert change(db, session_id, {"set": {"/a": 1}}, **arguments) == same(
        first, size_bytes=None, message_count=None, others=None
    )
    assert state_of(db, session_id) == {"a": 9}
    with db.refuses("idempotency_key_reused"):
        change(db, session_id, {"set": {"/a": 2}}, **arguments)


def test_key__is_forgotten_after_its_time(db: Db, session_id) -> None:
    change(db, session_id, {"set": {"/a": 1}}, p_idempotency_key="old")
    db.superuser.execute("update asyouwere.save_keys set created_at = now() - interval '31 days'")
    change(db, session_id, {"set": {"/a": 2}}, p_idempotency_key="new")
    with db.acting_as("service"):
        while not db.one("cleanup_old_snapshots", p_keep=1, p_older_than="0")["done"]:
            pass
    assert db.superuser.execute("select count(*) from asyouwere.save_keys").fetchall() == [{"count": 1}]
    assert change(db, session_id, {"set": {"/a": 2}}, p_idempotency_key="new")["replayed"]


def test_key__sent_by_eight_at_once_saves_once(db: Db, session_id) -> None:
    connections = [db.connect_as("ada") for _ in range(8)]
    answers: list[Row] = []
    together = threading.Barrier(8)

    def work(connection: Any) -> None:
        together.wait()
        answers.extend(
            db.call(
                "create_session_snapshot",
                on=connection,
                p_session_id=session_id,
                p_changes={"append": {"/messages": ["once"]}},
                p_idempotency_key="k",
            )
        )

    db.call("get_session", p_session_id=session_id)  # argument types are read before the threads start
    db.one("create_session_snapshot", p_session_id=session_id, p_state={})
    threads = [threading.Thread(target=work, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer["number"] for answer in answers] == [2] * 8
    assert sum(not answer["replayed"] for answer in answers) == 1
    assert state_of(db, session_id) == {"messages": ["once"]}
