"""What one person's large calls keep others waiting for: nothing. They are paid for and one at a time, and nobody waits
for them with a connection or a session in hand."""

from __future__ import annotations

import json
import threading
import time
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.sql.states import detail_of
from tests.support.database import Connection, Db, Row

LARGE = {"a": "x" * 700_000, "b": "x" * 700_000}
NOTHING: Row = {
    "p_paths": "{}", "p_items": "{}", "p_since": "{}", "p_until": "{}", "p_created_at": "{}", "p_bodies": "{}",
}  # fmt: skip


def tokens(db: Db, left: float) -> None:
    db.superuser.execute("update asyouwere.rate_buckets set tokens = %s, ahead = 0, filled_at = now()", (left,))


def cost_of(db: Db, function: str, **arguments: Any) -> tuple[Row, int]:
    """The only row of a call and the tokens that it took."""
    tokens(db, 20)
    row = db.one(function, **arguments)
    (left,) = db.superuser.execute("select round(tokens) as n from asyouwere.rate_buckets").fetchall()
    return row, 20 - int(left["n"])


@pytest.fixture
def slow(db: Db) -> Db:
    """Buckets that hardly fill."""
    db.superuser.execute("update asyouwere.settings set writes_per_second = 0.001, writes_at_once = 20")
    return db


# -- paid for ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stored", "cost"), [(2_500_000, 2), (900_000, 0)], ids=["large", "less than 1 MB"])
def test_save__what_others_changed_is_paid_for_as_an_answer(slow: Db, stored: int, cost: int) -> None:
    """A token each MB; also if the save writes nothing, and when its key asks again."""
    session_id = slow.session("ada")
    with slow.acting_as("ada"):
        slow.save(session_id, {"a": "x" * (stored // 2), "b": "x" * (stored // 2)})
        asked = {"p_session_id": session_id, "p_changes": {"remove": ["/none"]}, "p_base": 0}
        slow.one("create_session_snapshot", **asked, p_idempotency_key="k")
        for key in (None, "k"):
            row, taken = cost_of(slow, "create_session_snapshot", **asked, p_idempotency_key=key)
            assert (row["created"], row["replayed"], taken) == (False, key is not None, cost)
            assert len(json.dumps(row["others"])) > stored
            tokens(slow, 0.5)
            if cost:
                with slow.refuses("rate_limited"):
                    slow.one("create_session_snapshot", **asked, p_idempotency_key=key)
            else:
                assert slow.one("create_session_snapshot", **asked, p_idempotency_key=key)["others"]


def test_save__what_others_changed_is_not_answered_above_8_mb(db: Db) -> None:
    """As get_session_changes, which says to restore; so does a retry."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        for number in range(3):
            db.save(session_id, p_changes={"set": {f"/{'abc'[number]}": "x" * 3_000_000}})
        for key in ("k", "k", None):
            row = db.save(session_id, p_changes={"set": {"/mine": 1}}, p_base=0, p_idempotency_key=key)
            assert (row["number"], row["merged"], row["others"]) == (4, True, None)
        row = db.save(session_id, p_changes={"set": {"/more": 2}}, p_base=1)
        assert set(row["others"]["set"]) == {"/b", "/c", "/mine", "/more"}


def test_pop__what_is_taken_is_paid_for_as_an_answer(slow: Db) -> None:
    session_id = slow.session("ada")
    with slow.acting_as("ada"):
        slow.save(session_id, {"l": ["x" * 700_000] * 6})
        asked = {"p_session_id": session_id, "p_address": "/l", "p_count": 5, "p_idempotency_key": "k"}
        tokens(slow, 2)
        with slow.refuses("rate_limited"):
            slow.one("pop_session_items", **asked)
        row, taken = cost_of(slow, "pop_session_items", **asked)
        assert (len(row["items"]), row["replayed"], taken >= 3) == (5, False, True)
        row, taken = cost_of(slow, "pop_session_items", **asked)
        assert (len(row["items"]), row["replayed"], taken) == (5, True, 3)
        tokens(slow, 0.5)
        with slow.refuses("rate_limited"):
            slow.one("pop_session_items", **asked)
        asked["p_count"], asked["p_idempotency_key"] = 1, "one"
        tokens(slow, 20)
        slow.one("pop_session_items", **asked)
        assert cost_of(slow, "pop_session_items", **asked)[1] == 0  # less than a MB, asked again


# -- one at a time, and nobody waits -----------------------------------------------------------------------------


def busy(db: Db, who: str) -> Connection:
    """Somebody's connection with a large call done in a transaction that stays open: it has the bucket."""
    session_id = db.session(who)
    with db.acting_as(who):
        db.save(session_id, LARGE)
    connection = db.connect_as(who)
    connection.autocommit = False
    db.call("fork_session", connection, p_session_id=session_id)
    return connection


def impatient(db: Db, who: str) -> Connection:
    """A connection whose call fails otherwise than it should if it waits."""
    connection = db.connect_as(who)
    connection.execute("set statement_timeout = '30s'")
    return connection


@pytest.mark.parametrize("kind", ["fork", "import of snapshots", "import of metadata", "others", "pop"])
def test_large_calls__one_at_a_time_for_each_person(db: Db, kind: str) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {**LARGE, "l": ["x" * 700_000] * 2})
    many = json.dumps([{"number": number, "metadata": {"text": "x" * 8000}} for number in range(1, 151)])
    calls: dict[str, tuple[str, Row]] = {
        "fork": ("fork_session", {"p_session_id": session_id}),
        "import of snapshots": ("import_session", {"p_session": {"latest_number": 150}, "p_snapshots": many, **NOTHING}),
        "import of metadata": (
            "import_session",
            {"p_session": {"metadata": {}, "more": "x" * 1_100_000}, "p_snapshots": [], **NOTHING},
        ),
        "others": (
            "create_session_snapshot",
            {"p_session_id": session_id, "p_changes": {"remove": ["/none"]}, "p_base": 0},
        ),
        "pop": ("pop_session_items", {"p_session_id": session_id, "p_address": "/l", "p_count": 2}),
    }
    function, arguments = calls[kind]
    first, second = busy(db, "ada"), impatient(db, "ada")
    with db.refuses("rate_limited") as refused:
        db.call(function, second, **arguments)
    assert detail_of(refused) == {"retry_after": 1}
    first.rollback()
    db.call(function, second, **arguments)


def test_small_call__beside_a_large_one_of_the_same_person_keeps_no_session_of_others(db: Db) -> None:
    session_id = db.session("bob")
    with db.acting_as("bob"):
        db.share(session_id, "ada", "editor")
    first, second = busy(db, "ada"), impatient(db, "ada")
    for function, arguments in (
        ("append_session_messages", {"p_session_id": session_id, "p_messages": ["m"]}),
        ("get_or_create_session", {"p_key": "k"}),
        (
            "record_usage",
            {"p_session_id": session_id, "p_model": "m", "p_input_tokens": 1, "p_output_tokens": 1},
        ),
    ):
        with db.refuses("rate_limited") as refused:
            db.call(function, second, **arguments)
        assert detail_of(refused) == {"retry_after": 1}
    with db.acting_as("bob"):
        db.one("append_session_messages", p_session_id=session_id, p_messages=["mine"])
    first.commit()
    db.call("append_session_messages", second, p_session_id=session_id, p_messages=["m"])


def test_small_call__waits_for_a_small_one_of_the_same_person(db: Db) -> None:
    """As ever: what is short is waited for."""
    first, second = db.connect_as("ada"), impatient(db, "ada")
    first.autocommit = False
    db.call("get_or_create_session", first, p_key="a")
    made: list[Row] = []
    thread = threading.Thread(target=lambda: made.extend(db.call("get_or_create_session", second, p_key="b")))
    thread.start()
    try:
        wait_for_a_lock(db)
    finally:
        first.commit()
        thread.join()
    assert [row["created"] for row in made] == [True]


# -- refused before the work -------------------------------------------------------------------------------------


def too_late(db: Db, table: str) -> None:
    """Nothing more may be written into a table: what is to be refused is refused before."""
    db.superuser.execute(
        "create function public.too_late() returns trigger language plpgsql as"
        " $$ begin raise exception 'written before it was refused' using errcode = 'P0001'; end $$"
    )
    db.superuser.execute(f"create trigger too_late before insert on {table} for each row execute function public.too_late()".encode())


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ('{"n":1e131071}', "number_out_of_range"),
        ('{"n":' + "[" * 80 + "]" * 80 + "}", "nesting_too_deep"),
        ('{"n":"' + "x" * 9000 + '"}', "invalid_argument"),
        ("[1]", "invalid_argument"),
    ],
    ids=["a number", "nesting", "size", "no object"],
)
def test_import__metadata_of_snapshots_is_refused_before_it_is_indexed(db: Db, metadata: str, code: str) -> None:
    too_late(db, "public.session_snapshots")
    with db.acting_as("ada"), db.refuses(code):
        db.one(
            "import_session", p_session={"latest_number": 1},
            p_snapshots=f'[{{"number":1,"metadata":{metadata}}}]', **NOTHING,
        )  # fmt: skip


def test_import__too_many_chunks_are_refused_before_they_are_taken_apart(db: Db) -> None:
    too_late(db, "asyouwere.turn_chunks")
    turn = {"id": str(uuid4()), "status": "interrupted", "chunks": [1] * 150_000}
    with db.acting_as("ada"), db.refuses("too_large") as refused:
        db.one("import_session", p_session={"turns": [turn]}, p_snapshots=[], **NOTHING)
    assert detail_of(refused)["size_bytes"] >= 64 * 150_000


def test_import__waits_for_a_key_that_is_being_made_without_the_bucket(db: Db) -> None:
    """Whoever makes a session has its row first and then the bucket; in the other order the two would lock up."""
    db.session("ada")  # makes the bucket
    making, importing = db.connect(autocommit=False), impatient(db, "ada")
    making.execute("insert into public.free_agent_sessions (user_id, key) values (%s, 'k')", (db.user("ada"),))
    errors: list[str | None] = []

    def bring() -> None:
        try:
            db.call("import_session", importing, p_session={}, p_snapshots=[], p_key="k", **NOTHING)
        except psycopg.Error as exc:
            errors.append(exc.diag.message_hint)

    thread = threading.Thread(target=bring)
    thread.start()
    try:
        wait_for_a_lock(db)
        free = db.value("select count(*) from (select from asyouwere.rate_buckets for update skip locked) b")
    finally:
        making.commit()
        thread.join()
    assert (free, errors) == (1, ["key_taken"])


def wait_for_a_lock(db: Db) -> None:
    """Until some call in this database waits for another."""
    until = time.monotonic() + 30
    while not db.value(
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    ):
        assert time.monotonic() < until, "nobody waits"
        time.sleep(0.01)
