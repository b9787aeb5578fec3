"""Branches: a fork is merged back into its origin, in three ways; conflicts are named and decided, or nothing is written."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.sql.states import detail_of
from tests.support.database import Db, Row

FLOW = {
    "nodes": {"a": {"label": "Start", "x": 0}, "b": {"label": "Ask", "x": 100}, "c": {"label": "End", "x": 200}},
    "edges": {"a-b": {"from": "a", "to": "b"}, "b-c": {"from": "b", "to": "c"}},
    "notes": ["first"],
}


@pytest.fixture
def db(shared: Db) -> Db:
    return shared


@pytest.fixture
def pair(db: Db) -> tuple[UUID, UUID]:
    """A workflow of ada's at number 1 and a fork of it."""
    origin = db.session("ada", kind="workflow")
    with db.acting_as("ada"):
        db.save(origin, FLOW)
        return origin, db.one("fork_session", p_session_id=origin, p_name="branch")["id"]


def change(db: Db, session_id: UUID, **changes: Any) -> None:
    db.save(session_id, p_changes=changes)


def state(db: Db, session_id: UUID) -> Any:
    return db.one("get_latest_snapshot", p_session_id=session_id)["state"]


def merge(db: Db, fork: UUID, **more: Any) -> Row:
    return db.one("merge_fork", p_session_id=fork, **more)


def conflicts(db: Db, fork: UUID, **more: Any) -> list[str]:
    """The addresses that a merge is refused for."""
    with db.refuses("conflict") as refused:
        merge(db, fork, **more)
    return list(detail_of(refused)["addresses"])


def test_merge__brings_nodes_added_changed_and_gone(db: Db, pair: tuple[UUID, UUID]) -> None:
    origin, fork = pair
    with db.acting_as("ada"):
        change(db, origin, set={"/nodes/a/label": "Begin"}, append={"/notes": ["theirs"]})
        change(
            db,
            fork,
            set={"/nodes/d": {"label": "New", "x": 300}, "/nodes/b/x": 150},
            remove=["/nodes/c", "/edges/b-c"],
            append={"/notes": ["mine"]},
        )
        row = merge(db, fork, p_label="with d")
        assert (row["number"], row["created"], row["merged"]) == (3, True, True)
        assert state(db, origin) == {
            "nodes": {"a": {"label": "Begin", "x": 0}, "b": {"label": "Ask", "x": 150}, "d": {"label": "New", "x": 300}},
            "edges": {"a-b": {"from": "a", "to": "b"}},
            "notes": ["first", "theirs", "mine"],
        }
        assert db.call("list_snapshots", p_session_id=origin)[0]["label"] == "with d"
        assert "d" in state(db, fork)["nodes"]
        assert state(db, fork)["nodes"]["a"]["label"] == "Start"  # the branch stays as it is
        where = db.one("get_fork_origin", p_session_id=fork)
        assert (where["origin_id"], where["origin_number"], where["base_number"], where["merged_number"]) == (origin, 1, 2, 3)


def test_merge__nothing_new_writes_nothing(db: Db, pair: tuple[UUID, UUID]) -> None:
    origin, fork = pair
    with db.acting_as("ada"):
        change(db, origin, set={"/nodes/a/x": 5})
        assert (merge(db, fork)["number"], merge(db, fork)["created"]) == (2, False)


def test_merge__again_takes_what_came_since(db: Db, pair: tuple[UUID, UUID]) -> None:
    origin, fork = pair
    with db.acting_as("ada"):
        change(db, fork, set={"/nodes/a/x": 1}, append={"/notes": ["one"]})
        change(db, origin, append={"/notes": ["theirs"]})
        merge(db, fork)
        change(db, fork, set={"/nodes/b/x": 2}, append={"/notes": ["two"]})
        merge(db, fork)
        assert state(db, origin)["notes"] == ["first", "theirs", "one", "two"]
        assert (state(db, origin)["nodes"]["a"]["x"], state(db, origin)["nodes"]["b"]["x"]) == (1, 2)
        # the fork does not know what the origin has at /nodes/c, so changing it is a conflict now
        change(db, origin, set={"/nodes/c/x": 7})
        change(db, fork, set={"/nodes/c/x": 8})
        assert conflicts(db, fork) == ["/nodes/c/x"]


def test_merge__a_conflict_is_named_and_nothing_is_written(db: Db, pair: tuple[UUID, UUID]) -> None:
    origin, fork = pair
    with db.acting_as("ada"):
        change(db, origin, set={"/nodes/b/label": "Theirs", "/nodes/a/x": 9})
        change(db, fork, set={"/nodes/b/label": "Mine", "/nodes/c/x": 9})
        before = state(db, origin)
        assert conflicts(db, fork) == ["/nodes/b/label"]
        assert state(db, origin) == before
        assert db.one("get_fork_origin", p_session_id=fork)["merged_at"] is None


@pytest.mark.parametrize(("side", "label"), [("fork", "Mine"), ("origin", "Theirs")])
@pytest.mark.parametrize("how", ["prefer", "address", "above"])
def test_merge__a_side_is_chosen(db: Db, pair: tuple[UUID, UUID], side: str, label: str, how: str) -> None:
    origin, fork = pair
    chosen: dict[str, Any] = {
        "prefer": {"p_prefer": side},
        "address": {"p_choices": {"/nodes/b/label": side}},
        "above": {"p_choices": {"/nodes/b": side}, "p_prefer": "fork" if side == "origin" else "origin"},
    }[how]
    with db.acting_as("ada"):
        change(db, origin, set={"/nodes/b/label": "Theirs", "/nodes/a/x": 9})
        change(db, fork, set={"/nodes/b/label": "Mine", "/nodes/c/x": 9})
        merge(db, fork, **chosen)
        nodes = state(db, origin)["nodes"]
        assert (nodes["b"]["label"], nodes["a"]["x"], nodes["c"]["x"]) == (label, 9, 9)


def test_merge__one_conflict_of_two_left_open_refuses_both(db: Db, pair: tuple[UUID, UUID]) -> None:
    origin, fork = pair
    with db.acting_as("ada"):
        change(db, origin, set={"/nodes/b/label": "Theirs", "/nodes/c/label": "Theirs"})
        change(db, fork, set={"/nodes/b/label": "Mine", "/nodes/c/label": "Mine"})
        assert conflicts(db, fork, p_choices={"/nodes/c": "fork"}) == ["/nodes/b/label"]
        merge(db, fork, p_choices={"/nodes/c/label": "fork", "/nodes/b/label": "origin"})
        labels = {key: node["label"] for key, node in state(db, origin)["nodes"].items()}
        assert labels == {"a": "Start", "b": "Theirs", "c": "Mine"}


@pytest.mark.parametrize("side", ["fork", "origin"])
@pytest.mark.parametrize("who_removes", ["fork", "origin"])
def test_merge__a_node_removed_here_and_moved_there(db: Db, pair: tuple[UUID, UUID], side: str, who_removes: str) -> None:
    origin, fork = pair
    removing, moving = (fork, origin) if who_removes == "fork" else (origin, fork)
    with db.acting_as("ada"):
        change(db, removing, remove=["/nodes/b"])
        change(db, moving, set={"/nodes/b/x": 500})
        assert conflicts(db, fork) == (["/nodes/b"] if who_removes == "fork" else []) + ["/nodes/b/x"]
        merge(db, fork, p_choices={"/nodes/b": side})
        kept = {"label": "Ask", "x": 500} if side != who_removes else None
        assert state(db, origin)["nodes"].get("b") == kept
        assert merge(db, fork)["created"] is False


def test_merge__what_became_another_kind_there_is_replaced_whole(db: Db, pair: tuple[UUID, UUID]) -> None:
    origin, fork = pair
    with db.acting_as("ada"):
        change(db, origin, set={"/nodes/b": "a text now"})
        change(db, fork, set={"/nodes/b/x": 1, "/nodes/b/colour": "red"})
        assert conflicts(db, fork) == ["/nodes/b/colour", "/nodes/b/x"]
        merge(db, fork, p_prefer="fork")
        assert state(db, origin)["nodes"]["b"] == {"label": "Ask", "x": 1, "colour": "red"}


@pytest.mark.parametrize(("side", "left"), [("fork", ["first", "two"]), ("origin", ["FIRST", "two", "three"])])
def test_merge__a_list_made_shorter_is_decided_as_a_whole(db: Db, side: str, left: list[str]) -> None:
    origin = db.session("ada")
    with db.acting_as("ada"):
        db.save(origin, {"l": ["first", "two", "three"], "n": 1})
        fork = db.one("fork_session", p_session_id=origin)["id"]
        db.save(origin, {"l": ["FIRST", "two", "THREE"], "n": 1})
        db.save(origin, {"l": ["FIRST", "two", "three"], "n": 1})
        db.save(origin, {"l": ["FIRST", "two", "three"], "n": 2})
        db.save(fork, {"l": ["first"], "n": 1})
        db.save(fork, {"l": ["first", "two"], "n": 1})
        db.save(origin, {"l": ["FIRST", "two", "3"], "n": 2})
        assert conflicts(db, fork) == ["/l/2"]
        merge(db, fork, p_prefer=side)
        assert state(db, origin) == {"l": left if side == "fork" else ["FIRST", "two", "3"], "n": 2}


def test_merge__what_both_did_alike_is_no_conflict(db: Db, pair: tuple[UUID, UUID]) -> None:
    origin, fork = pair
    with db.acting_as("ada"):
        for session_id in pair:
            change(db, session_id, set={"/nodes/b/label": "Same", "/nodes/d": {"x": 1}}, remove=["/nodes/c"])
        assert merge(db, fork)["created"] is False
        change(db, origin, set={"/nodes/e": {"left": 1}})
        change(db, fork, set={"/nodes/e": {"right": 2}})
        merge(db, fork)
        assert state(db, origin)["nodes"]["e"] == {"left": 1, "right": 2}


def test_merge__a_retry_answers_the_first_result(db: Db, pair: tuple[UUID, UUID]) -> None:
    origin, fork = pair
    with db.acting_as("ada"):
        change(db, fork, append={"/notes": ["once"]})
        first = merge(db, fork, p_idempotency_key="k")
        again = merge(db, fork, p_idempotency_key="k")
        assert (again["number"], again["replayed"]) == (first["number"], True)
        assert state(db, origin)["notes"] == ["first", "once"]
        with db.refuses("idempotency_key_reused"):
            merge(db, fork, p_idempotency_key="k", p_prefer="fork")


def test_merge__of_one_that_is_no_fork_or_whose_origin_is_gone(db: Db, pair: tuple[UUID, UUID]) -> None:
    origin, fork = pair
    with db.acting_as("ada"):
        with db.refuses("invalid_argument"):
            merge(db, origin)
        assert db.call("get_fork_origin", p_session_id=origin) == []
        db.one("delete_session", p_session_id=origin)
        with db.refuses("session_not_found"):
            merge(db, fork)
        assert state(db, fork) == FLOW


@pytest.mark.parametrize(
    "arguments",
    [
        {"p_prefer": "mine"},
        {"p_choices": []},
        {"p_choices": {"/nodes/b": "both"}},
        {"p_choices": {"/nodes/b": None}},
        {"p_choices": {"/nodes/b": 1}},
        {"p_choices": {f"/{n}": "fork" for n in range(1001)}},
        {"p_choices": "null"},
        {"p_label": ""},
        {"p_idempotency_key": "k" * 256},
    ],
)
def test_merge__what_is_no_argument_is_refused(db: Db, pair: tuple[UUID, UUID], arguments: dict[str, Any]) -> None:
    with db.acting_as("ada"), db.refuses("invalid_argument"):
        merge(db, pair[1], **arguments)


def test_merge__an_address_that_is_none_is_refused(db: Db, pair: tuple[UUID, UUID]) -> None:
    with db.acting_as("ada"), db.refuses("invalid_address"):
        merge(db, pair[1], p_choices={"nodes": "fork"})


def test_merge__needs_reading_the_fork_and_saving_into_the_origin(db: Db, pair: tuple[UUID, UUID]) -> None:
    origin, _ = pair
    with db.acting_as("ada"):
        db.share(origin, "ed", "editor")
        db.share(origin, "vi", "viewer")
    theirs = {}
    for who in ("ed", "vi"):
        with db.acting_as(who):
            theirs[who] = db.one("fork_session", p_session_id=origin)["id"]
            change(db, theirs[who], set={f"/nodes/{who}": {"x": 1}})
    with db.acting_as("ed"):
        assert merge(db, theirs["ed"])["number"] == 2
    with db.acting_as("vi"):
        with db.refuses("forbidden"):
            merge(db, theirs["vi"])
        db.share(theirs["vi"], "ada", "viewer")
    with db.acting_as("ada"):
        with db.refuses("session_not_found"):
            merge(db, theirs["ed"])
        merge(db, theirs["vi"])  # a proposal: its author may only read the origin, whoever may save takes it over
        assert {"ed", "vi"} < set(state(db, origin)["nodes"])
        db.one("remove_session_member", p_session_id=origin, p_user_id=db.user("ed"))
    with db.acting_as("ed"), db.refuses("session_not_found"):
        merge(db, theirs["ed"])


def test_origin__is_told_to_those_who_work_with_the_fork(db: Db, pair: tuple[UUID, UUID]) -> None:
    _, fork = pair
    with db.acting_as("ada"):
        db.share(fork, "vi", "viewer")
        db.one("update_session", p_session_id=fork, p_changes={"visibility": "public"})
    for who, rows in (("ada", 1), ("vi", 1), ("service", 1), ("eve", 0)):
        with db.acting_as(who):
            assert len(db.call("get_fork_origin", p_session_id=fork)) == rows, who
    with db.acting_as("eve"), db.refuses("session_not_found"):
        db.call("get_fork_origin", p_session_id=uuid4())


def test_cleanup__leaves_the_base_of_a_fork(db: Db, pair: tuple[UUID, UUID]) -> None:
    origin, fork = pair
    with db.acting_as("ada"):
        for n in range(4):
            change(db, fork, set={"/nodes/a/x": n + 1})
            change(db, origin, set={"/nodes/b/x": n + 1})
    for _ in range(2):  # and the second pass does not take it either
        with db.acting_as("service"):
            while not db.one("cleanup_old_snapshots", p_keep=1, p_older_than="0")["done"]:
                pass
        with db.acting_as("ada"):
            assert [row["number"] for row in db.call("list_snapshots", p_session_id=fork)] == [5, 1]
    with db.acting_as("ada"):
        merge(db, fork)
        assert (state(db, origin)["nodes"]["a"]["x"], state(db, origin)["nodes"]["b"]["x"]) == (4, 4)
        db.call("delete_snapshots", p_session_id=fork, p_numbers=[1])


def test_merge__a_base_that_its_owner_deleted_is_gone(db: Db, pair: tuple[UUID, UUID]) -> None:
    _, fork = pair
    with db.acting_as("ada"):
        change(db, fork, set={"/nodes/a/x": 1})
        db.call("delete_snapshots", p_session_id=fork, p_numbers=[1])
        with db.refuses("snapshot_gone"):
            merge(db, fork)


def test_merge__of_an_empty_fork_into_what_has_grown(db: Db) -> None:
    origin = db.session("ada")
    with db.acting_as("ada"):
        fork = db.one("fork_session", p_session_id=origin)["id"]
        db.save(origin, {"nodes": {"a": {"x": 1}}})
        db.save(fork, {"nodes": {"b": {"x": 2}}})
        merge(db, fork)
        assert state(db, origin) == {"nodes": {"a": {"x": 1}, "b": {"x": 2}}}


def test_merge__any_key_works(db: Db) -> None:
    odd = ["", "a/b", "a~b", "0", "ü\n\"\\", "😀"]
    origin = db.session("ada")
    with db.acting_as("ada"):
        db.save(origin, {"nodes": {key: {"x": 0} for key in odd}})
        fork = db.one("fork_session", p_session_id=origin)["id"]
        for session_id, value in ((origin, 1), (fork, 2)):
            db.save(session_id, {"nodes": {key: {"x": value} for key in odd}})
        named = conflicts(db, fork)
        assert len(named) == len(odd)
        merge(db, fork, p_choices=json.dumps(dict.fromkeys(named, "fork")))
        assert {node["x"] for node in state(db, origin)["nodes"].values()} == {2}
