"""How much one person may write and keep."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import psycopg
import pytest

from tests.support.database import SERVICE, Db, Row

SIXTEEN = 16


def limit(db: Db, **settings: object) -> None:
    """Set limits for this test's database. None: no limit."""
    for name, value in settings.items():
        db.superuser.execute(f"update asyouwere.settings set {name} = %s".encode(), (value,))


def stored(db: Db, session_id: object) -> tuple[int, int]:
    """What the session's row says it stores, and what it does."""
    (row,) = db.superuser.execute(
        "select s.stored_bytes, asyouwere.stored_bytes(s.internal_id) as real"
        " from free_agent_sessions s where s.id = %s",
        (session_id,),
    ).fetchall()
    return row["stored_bytes"], row["real"]


def at_once(db: Db, who: str, count: int, action: Callable[[psycopg.Connection, int], object]) -> list[str]:
    """Run `action(connection, number)` count times on sixteen connections; "ok" or the code of each."""
    outcomes: list[str] = []

    def work(numbers: range) -> None:
        connection = db.connect_as(who)
        for number in numbers:
            try:
                action(connection, number)
                outcomes.append("ok")
            except psycopg.Error as error:
                outcomes.append(error.diag.message_hint or str(error))

    threads = [threading.Thread(target=work, args=(range(first, count, SIXTEEN),)) for first in range(SIXTEEN)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def append(db: Db, session_id: object) -> Callable[[psycopg.Connection, int], object]:
    return lambda connection, number: db.call(
        "append_session_messages", connection, p_session_id=session_id, p_messages=[number]
    )


# -- the bucket ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sessions", [1, 100])
def test_rate__exactly_as_many_of_a_hundred_pass_as_the_bucket_holds(db: Db, sessions: int) -> None:
    ids = [db.session("ada") for _ in range(sessions)]
    limit(db, writes_per_second=0.001, writes_at_once=40)
    outcomes = at_once(
        db, "ada", 100, lambda connection, number: append(db, ids[number % sessions])(connection, number)
    )
    assert (outcomes.count("ok"), outcomes.count("rate_limited")) == (40, 60)


def test_rate__no_more_pass_than_a_large_bucket_holds(db: Db) -> None:
    """Also with tokens taken ahead: they are out of the bucket."""
    ids = [db.session("ada") for _ in range(SIXTEEN)]
    limit(db, writes_per_second=0.001, writes_at_once=400)
    outcomes = at_once(
        db, "ada", 800, lambda connection, number: append(db, ids[number % SIXTEEN])(connection, number)
    )
    ahead = db.superuser.execute("select sum(prepaid_saves) as n from free_agent_sessions").fetchall()[0]["n"]
    left = db.superuser.execute("select floor(tokens) as n from asyouwere.rate_buckets").fetchall()[0]["n"]
    assert outcomes.count("ok") + ahead + left == 400


def test_rate__says_how_long_to_wait_and_passes_then(db: Db) -> None:
    session_id = db.session("ada")
    limit(db, writes_per_second=2, writes_at_once=1)
    with db.acting_as("ada"):
        db.save(session_id, {"n": 1})
        with db.refuses("rate_limited") as refused:
            db.save(session_id, {"n": 2})
        assert refused.value.sqlstate == "PT429"
        assert json.loads(refused.value.diag.message_detail) == {"retry_after": 1}
        db.superuser.execute("update asyouwere.rate_buckets set filled_at = filled_at - interval '1 second'")
        assert db.save(session_id, {"n": 2})["number"] == 2


@pytest.mark.parametrize(
    ("stored", "asked", "cost"),
    [
        ({"big": "x" * 2_500_000}, {"add": {"/big": 1}}, 2),
        ({"big": {f"k{n}": "x" * 400_000 for n in range(8)}}, {"add": {"/big": 1}}, 3),
        ({"big": ["x" * 400_000] * 8}, {"add": {"/big": 1}}, 3),
        ({"a": "x" * 700_000, "b": "x" * 700_000, "c": "x" * 3_000_000}, {"add": {"/a": 1, "/b": 1}}, 1),
        (
            {"l": [{"id": n, "x": "x" * 700_000} for n in range(6)]},
            {"append_once": {"/l": {"by": "id", "items": [{"id": 1}, {"id": 3}, {"id": 4}, {"id": 5}]}}},
            2,
        ),
        ({"a": "x" * 900_000, "big": "x" * 3_000_000}, {"add": {"/a": 1}}, 0),
    ],
    ids=["a value", "an object", "a list", "several", "items", "less than 1 MB"],
)
def test_rate__what_stands_and_is_answered_is_paid_for(db: Db, stored: Row, asked: Row, cost: int) -> None:
    """A token each MB, also when the same key asks again."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, stored)
        (first,) = db.call(
            "create_session_snapshot", p_session_id=session_id, p_changes=asked, p_idempotency_key="k"
        )
        limit(db, writes_per_second=0.001, writes_at_once=20)
        for key in (None, "k"):
            db.superuser.execute("update asyouwere.rate_buckets set tokens = 20, ahead = 0, filled_at = now()")
            arguments = {"p_session_id": session_id, "p_changes": asked, "p_idempotency_key": key}
            (row,) = db.call("create_session_snapshot", **arguments)
            assert (row["number"], row["replayed"], row["created"]) == (first["number"], key is not None, False)
            assert row["existing"]
            (left,) = db.superuser.execute("select round(tokens) as n from asyouwere.rate_buckets").fetchall()
            assert 20 - left["n"] == cost
            db.superuser.execute("update asyouwere.rate_buckets set tokens = 0.5, filled_at = now()")
            if cost:
                with db.refuses("rate_limited"):
                    db.call("create_session_snapshot", **arguments)
            else:
                assert db.call("create_session_snapshot", **arguments)


def test_rate__large_answers_of_what_stands_are_one_at_a_time(db: Db) -> None:
    sessions = [db.session("ada") for _ in range(2)]
    with db.acting_as("ada"):
        for session_id in sessions:
            db.save(session_id, {"big": "x" * 2_000_000})
    asked = {"p_changes": {"add": {"/big": 1}}}
    busy, other = db.connect_as("ada"), db.connect_as("ada")
    with busy.transaction():
        db.call("create_session_snapshot", busy, p_session_id=sessions[0], **asked)
        with db.refuses("rate_limited"):
            db.call("create_session_snapshot", other, p_session_id=sessions[1], **asked)
    assert db.call("create_session_snapshot", other, p_session_id=sessions[1], **asked)[0]["existing"]


def test_rate__one_person_s_bucket_is_no_one_else_s(db: Db) -> None:
    ids = {name: db.session(name) for name in ("ada", "bob")}
    limit(db, writes_per_second=0.001, writes_at_once=1)
    for name in ("ada", "bob"):
        with db.acting_as(name):
            db.save(ids[name], {"n": 1})
            with db.refuses("rate_limited"):
                db.save(ids[name], {"n": 2})


def test_rate__an_editor_pays_for_what_the_editor_saves(db: Db) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.share(session_id, "ed")
        db.save(session_id, {"n": 0})  # and has saves paid ahead now
    limit(db, writes_per_second=0.001, writes_at_once=2)
    with db.acting_as("ed"):
        db.save(session_id, {"n": 1})
        db.save(session_id, {"n": 2})
        with db.refuses("rate_limited"):
            db.save(session_id, {"n": 3})
    with db.acting_as("ada"):
        db.save(session_id, {"n": 3})


def test_rate__a_megabyte_costs_a_token(db: Db) -> None:
    session_id = db.session("ada")
    limit(db, writes_per_second=0.001, writes_at_once=5)
    with db.acting_as("ada"):
        db.save(session_id, {"text": "x" * (3 * 1024 * 1024)})
        db.save(session_id, {"n": 1})
        with db.refuses("rate_limited"):
            db.save(session_id, {"n": 2})


def test_rate__a_save_larger_than_the_bucket_passes_with_a_full_one(db: Db) -> None:
    session_id = db.session("ada")
    limit(db, writes_per_second=0.001, writes_at_once=2)
    with db.acting_as("ada"):
        assert db.save(session_id, {"text": "x" * (3 * 1024 * 1024)})["number"] == 1


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda db, s: db.call("get_or_create_session"), id="create"),
        pytest.param(lambda db, s: db.call("fork_session", p_session_id=s), id="fork"),
        pytest.param(lambda db, s: db.call("revert_session", p_session_id=s, p_number=0), id="revert"),
        pytest.param(lambda db, s: db.call("label_snapshot", p_session_id=s, p_number=1, p_label="x"), id="label"),
        pytest.param(lambda db, s: db.call("update_session", p_session_id=s, p_changes={"name": "x"}), id="update"),
        pytest.param(
            lambda db, s: db.call("set_session_member", p_session_id=s, p_user_id=db.user("bob"), p_role="viewer"),
            id="share",
        ),
        pytest.param(lambda db, s: db.sql("insert into free_agent_sessions default values"), id="insert"),
        pytest.param(lambda db, s: db.sql("update free_agent_sessions set name = 'x'"), id="update the table"),
        pytest.param(
            lambda db, s: db.sql(
                "insert into session_messages (session_id, role, content) values (%s, 'user', 'x')", (s,)
            ),
            id="message",
        ),
    ],
)
def test_rate__counts_every_kind_of_write(db: Db, write: Callable[[Db, object], object]) -> None:
    session_id = db.session("ada")
    limit(db, writes_per_second=0.001, writes_at_once=1)
    with db.acting_as("ada"):
        db.save(session_id, {"n": 1})
        with db.refuses("rate_limited"):
            write(db, session_id)


def test_rate__reading_asking_again_and_deleting_are_free(db: Db) -> None:
    session_id = db.session("ada", key="mine")
    limit(db, writes_per_second=0.001, writes_at_once=1)
    with db.acting_as("ada"):
        first = db.save(session_id, {"n": 1}, p_idempotency_key="once")
        assert db.save(session_id, {"n": 1}, p_idempotency_key="once")["number"] == first["number"]
        assert db.save(session_id, {"n": 1})["created"] is False
        assert db.one("get_latest_snapshot", p_session_id=session_id)["number"] == 1
        assert db.one("get_or_create_session", p_key="mine")["id"] == session_id
        db.call("delete_session", p_session_id=session_id)


def test_rate__a_refused_save_costs_nothing(db: Db) -> None:
    session_id = db.session("ada")
    limit(db, writes_per_second=0.001, writes_at_once=1)
    with db.acting_as("ada"):
        for _ in range(3):
            with db.refuses("missing_parent"):
                db.save(session_id, p_changes={"set": {"/a/0": 1}})
        db.save(session_id, {"n": 1})


def test_rate__the_service_has_no_limit(db: Db) -> None:
    session_id = db.session("ada")
    limit(db, writes_per_second=0.001, writes_at_once=1, max_stored_bytes_per_user=0, max_sessions_per_user=0)
    with db.acting_as(SERVICE):
        for number in range(5):
            db.save(session_id, {"n": number})
        db.call("get_or_create_session", p_user_id=db.user("bob"))


def test_rate__null_is_no_limit(db: Db) -> None:
    session_id = db.session("ada")
    limit(db, writes_at_once=1, writes_per_second=None)
    with db.acting_as("ada"):
        for number in range(50):
            db.save(session_id, {"n": number})


# -- quotas ----------------------------------------------------------------------------------------------------


def test_sessions__as_many_as_allowed_also_at_once(db: Db) -> None:
    limit(db, max_sessions_per_user=30)
    outcomes = at_once(db, "ada", 60, lambda connection, number: db.call("get_or_create_session", connection))
    assert (outcomes.count("ok"), outcomes.count("quota_exceeded")) == (30, 30)
    with db.acting_as("ada"):
        with db.refuses("quota_exceeded") as refused:
            db.sql("insert into free_agent_sessions default values")
        assert json.loads(refused.value.diag.message_detail) == {"quota": "sessions", "used": 30, "limit": 30}
        (one,) = db.sql("select id from free_agent_sessions limit 1")
        db.call("delete_session", p_session_id=one["id"])
        db.call("get_or_create_session")


def test_bytes__refused_until_something_is_deleted(db: Db) -> None:
    limit(db, max_stored_bytes_per_user=1_000_000)
    first, second = db.session("ada"), db.session("ada")
    with db.acting_as("ada"):
        db.save(first, {"text": "x" * 900_000})
        with db.refuses("quota_exceeded") as refused:
            db.save(second, {"text": "x" * 900_000})
        detail = json.loads(refused.value.diag.message_detail)
        assert (detail["quota"], detail["limit"], detail["used"] > 900_000) == ("stored_bytes", 1_000_000, True)
        assert db.one("get_latest_snapshot", p_session_id=second)["number"] == 0
        db.call("delete_session", p_session_id=first)
        db.save(second, {"text": "x" * 900_000})


@pytest.mark.parametrize("way", ["fork_session", "revert_session"])
def test_bytes__copies_count_as_well(db: Db, way: str) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {"text": "x" * 900_000})
        db.save(session_id, {"text": "x"})
        db.superuser.execute("update free_agent_sessions set prepaid_saves = 0")
        limit(db, max_stored_bytes_per_user=1_000_000)
        with db.refuses("quota_exceeded"):
            db.call(way, p_session_id=session_id, p_number=1)


def test_bytes__an_editor_s_saves_count_for_the_owner(db: Db) -> None:
    limit(db, max_stored_bytes_per_user=1_000_000)
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.share(session_id, "ed")
        db.save(session_id, {"text": "x" * 600_000})
    with db.acting_as("ed"), db.refuses("quota_exceeded"):
        db.save(session_id, {"text": "y" * 600_000})


def test_bytes__two_who_save_for_each_other_never_wait_for_each_other(db: Db) -> None:
    limit(db, max_stored_bytes_per_user=10_000_000)
    ids = {name: db.session(name) for name in ("ada", "bob")}
    for owner, editor in (("ada", "bob"), ("bob", "ada")):
        with db.acting_as(owner):
            db.share(ids[owner], editor)
    outcomes: list[str] = []

    def work(who: str, into: str) -> None:
        outcomes.extend(at_once(db, who, 200, append(db, ids[into])))

    pairs = [("ada", "bob"), ("bob", "ada"), ("ada", "ada"), ("bob", "bob")]
    threads = [threading.Thread(target=work, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert outcomes == ["ok"] * 800


# -- the count of stored bytes -------------------------------------------------------------------------------


def test_stored_bytes__count_what_the_app_says_of_snapshots(db: Db) -> None:
    """Eight kilobytes a save, with nothing changed, passed by every quota."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        for n in range(4):
            db.save(session_id, {"n": 1}, p_metadata={"plan": "x" * 8000}, p_external_id=f"cp-{n}")
        counted, real = stored(db, session_id)
        assert counted == real > 4 * 8000
        fork = db.one("fork_session", p_session_id=session_id)["id"]
        counted, real = stored(db, fork)
        assert counted == real > 8000
        db.call("delete_snapshots", p_session_id=session_id, p_numbers=[2, 3])
        counted, real = stored(db, session_id)
        assert counted == real
        assert 16_000 < real < 17_000


def test_stored_bytes__follow_every_write_and_the_clean_up(db: Db) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {"messages": ["a", "b"], "memory": {"board": {"topic": "x", "n": [1, 2]}}, "step": 1})
        db.save(session_id, p_changes={"append": {"/messages": ["c"]}, "set": {"/step": 2}})
        db.save(session_id, p_changes={"set": {"/messages/0": "changed"}, "remove": ["/memory/board/n"]})
        db.save(session_id, {"messages": [], "memory": {"whole": "new"}})
        db.call("append_session_messages", p_session_id=session_id, p_messages=["d", {"e": 1}])
        db.call("revert_session", p_session_id=session_id, p_number=2)
        kept, real = stored(db, session_id)
        assert kept == real > 0
        fork = db.one("fork_session", p_session_id=session_id)["id"]
        kept, real = stored(db, fork)
        assert kept == real > 0
    with db.acting_as(SERVICE):
        db.call("cleanup_old_snapshots", p_keep=1, p_older_than="0 seconds")
    after, real = stored(db, session_id)
    assert after == real < stored(db, session_id)[0] + 1
    assert after < kept + 1000


# -- what could be walked round ----------------------------------------------------------------------------------


def clean_up(db: Db) -> None:
    with db.acting_as(SERVICE):
        while not db.one("cleanup_old_snapshots", p_keep=1, p_older_than="0")["done"]:
            pass


def delete_all(db: Db) -> None:
    """All that whoever acts has; a step may not be enough on a busy machine."""
    while not db.one("delete_my_data")["done"]:
        pass


def test_bucket__goes_with_its_person_once_it_is_full_again(db: Db) -> None:
    session_id = db.session("ada")
    limit(db, writes_per_second=0.001, writes_at_once=3)
    with db.acting_as("ada"):
        db.save(session_id, {"n": 1})
        db.save(session_id, {"n": 2})
        delete_all(db)
    clean_up(db)
    session_id = None
    with db.acting_as("ada"):
        db.call("get_or_create_session")
        with db.refuses("rate_limited"):  # and not a full bucket
            db.call("get_or_create_session")
        delete_all(db)
    db.superuser.execute("update asyouwere.rate_buckets set filled_at = now() - interval '1 hour'")
    clean_up(db)
    assert db.value("select count(*) from asyouwere.rate_buckets") == 0


def test_bucket__goes_at_once_with_an_account(db: Db) -> None:
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {"n": 1})
        db.call("delete_my_data")
    assert db.value("select count(*) from asyouwere.rate_buckets") == 1
    with db.acting_as(SERVICE):
        db.call("delete_user_data", p_user_id=db.user("ada"))
    assert db.value("select count(*) from asyouwere.rate_buckets") == 0


def test_ahead__of_many_sessions_and_the_bucket_are_never_more_than_a_full_bucket(db: Db) -> None:
    ids = [db.session("ada") for _ in range(30)]
    limit(db, writes_per_second=0.001, writes_at_once=2000)
    with db.acting_as("ada"):
        for session_id in ids:
            append(db, session_id)(db.connection, 0)  # takes some ahead
    # Time passes, and fills the bucket again, in the same minute or another.
    db.superuser.execute("update asyouwere.rate_buckets set filled_at = now() - interval '1 year'")
    with db.acting_as("ada"):
        db.call("get_or_create_session")
    (row,) = db.superuser.execute(
        "select tokens, ahead, (select sum(prepaid_saves) from free_agent_sessions"
        " where updated_at >= date_trunc('minute', now())) as prepaid from asyouwere.rate_buckets"
    ).fetchall()
    assert row["prepaid"] is None or row["prepaid"] > 0
    assert row["tokens"] + (row["prepaid"] or 0) <= 2000


@pytest.mark.parametrize("change", ["nothing", "name", "another's save"])
def test_ahead__lapses_with_the_minute(db: Db, change: str) -> None:
    session_id = db.session("ada")
    limit(db, writes_per_second=0.001, writes_at_once=2000)
    with db.acting_as("ada"):
        db.save(session_id, {"n": 1})
        db.superuser.execute(
            "update free_agent_sessions set prepaid_saves = 20, updated_at = now() - interval '61 seconds'"
        )
        if change == "name":
            db.one("update_session", p_session_id=session_id, p_changes={"name": "x"})
    if change == "another's save":
        with db.acting_as(SERVICE):
            db.save(session_id, {"n": 3})
    limit(db, writes_at_once=1)
    db.superuser.execute("update asyouwere.rate_buckets set tokens = 0, filled_at = now()")
    with db.acting_as("ada"), db.refuses("rate_limited"):
        db.save(session_id, {"n": 2})


def test_rate__a_new_key_costs_though_nothing_changes_and_is_forgotten(db: Db) -> None:
    session_id = db.session("ada")
    limit(db, writes_per_second=0.001, writes_at_once=3)
    with db.acting_as("ada"):
        db.save(session_id, {"n": 1}, p_idempotency_key="a")
        db.save(session_id, {"n": 1}, p_idempotency_key="b")
        db.save(session_id, {"n": 1}, p_idempotency_key="b")  # a retry is free
        db.save(session_id, {"n": 1}, p_idempotency_key="c")
        with db.refuses("rate_limited"):
            db.save(session_id, {"n": 1}, p_idempotency_key="d")
    db.superuser.execute("update asyouwere.save_keys set created_at = now() - interval '31 days'")
    clean_up(db)  # a session that has nothing to prune
    assert db.value("select count(*) from asyouwere.save_keys") == 0

# -- what is large, one at a time -------------------------------------------------------------------------------------

MANY = {f"k{number}": number for number in range(2100)}
LARGE = {"text": "x" * 1_100_000}


def far_behind(db: Db) -> object:
    """A session of ada's, of which base 1 is far behind."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {"n": 0})
        db.save(session_id, MANY)
    return session_id


def large_save(db: Db, kind: str, session_id: object, on: psycopg.Connection) -> None:
    match kind:
        case "many":
            db.call("create_session_snapshot", on, p_session_id=session_id, p_state=MANY)
        case "large":
            db.call("create_session_snapshot", on, p_session_id=session_id, p_changes={"set": {"/a": LARGE}})
        case "rows":
            db.call(
                "save_session_parts", on, p_session_id=session_id, p_ops="{set}", p_paths="{/a/}", p_items="{-1}",
                p_bodies='{"\\"' + "x" * 1_100_000 + '\\""}',
            )  # fmt: skip
        case "refused":
            db.call(
                "create_session_snapshot", on, p_session_id=session_id, p_state=dict.fromkeys(MANY, "mine"), p_base=1
            )
        case "behind":
            db.call("create_session_snapshot", on, p_session_id=session_id, p_changes={"set": {"/mine": 1}}, p_base=1)


@pytest.mark.parametrize("kind", ["many", "large", "rows", "refused", "behind"])
def test_large_saves__one_at_a_time_for_each_person(db: Db, kind: str) -> None:
    first, second, theirs = far_behind(db), far_behind(db), db.session("bob")
    busy = db.connect_as("ada")
    busy.autocommit = False
    large_save(db, "many", first, busy)
    other = db.connect_as("ada")
    with db.refuses("rate_limited") as refused:
        large_save(db, kind, second, other)
    assert refused.value.diag.message_detail == '{"retry_after": 1}'
    db.call("append_session_messages", other, p_session_id=second, p_messages=["small"])
    for who in ("bob", SERVICE):
        large_save(db, "many", theirs, db.connect_as(who))
    busy.rollback()
    if kind == "refused":
        with db.refuses("conflict"):
            large_save(db, kind, second, other)
    large_save(db, "many", second, other)  # what was refused has left nothing taken


def test_import__large_ones_are_one_at_a_time(db: Db) -> None:
    session_id = far_behind(db)
    busy, other = db.connect_as("ada"), db.connect_as("ada")
    busy.autocommit = False
    large_save(db, "many", session_id, busy)
    with db.refuses("rate_limited"):
        db.call(
            "import_session", other, p_session={}, p_snapshots=[], p_paths="{/a/}", p_items="{-1}", p_since="{1}",
            p_until="{2}", p_created_at="{now}", p_bodies='{"\\"' + "x" * 1_100_000 + '\\""}',
        )  # fmt: skip
