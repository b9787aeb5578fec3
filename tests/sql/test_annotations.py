"""What an app says of a snapshot: metadata, an id of its own, the number it was made from."""

from __future__ import annotations

import json
import threading
from typing import Any, cast
from uuid import UUID

import psycopg
import pytest

from tests.sql.states import change, detail_of
from tests.support.database import Db, Row

COLUMNS = ("metadata", "external_id", "parent_number")


@pytest.fixture
def db(shared: Db) -> Db:
    return shared


@pytest.fixture
def session_id(db: Db):
    """A session of ada's; whoever uses it acts as ada."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        yield session_id


def said(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in COLUMNS)


def listed(db: Db, session_id: UUID, **arguments: Any) -> list[int]:
    return [row["number"] for row in db.call("list_snapshots", p_session_id=session_id, **arguments)]


def test_save__what_the_app_says_is_listed_and_restored(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"n": 1})
    saved = db.save(
        session_id, {"n": 2}, p_metadata={"source": "loop", "step": 1}, p_external_id="cp-2", p_parent_number=1
    )
    expected = ({"source": "loop", "step": 1}, "cp-2", 1)
    assert (saved["number"], saved["created"]) == (2, True)
    assert said(db.call("list_snapshots", p_session_id=session_id)[0]) == expected
    for row in (
        db.one("get_snapshot", p_session_id=session_id, p_external_id="cp-2"),
        db.one("get_latest_snapshot", p_session_id=session_id),
    ):
        assert (row["number"], row["state"], *said(row)) == (2, {"n": 2}, *expected)
    chunks = [
        row["get_snapshot_chunks"]
        for row in db.call("get_snapshot_chunks", p_session_id=session_id, p_external_id="cp-2")
    ]
    assert said(json.loads(chunks[0])) == expected
    part = db.one("get_session_parts", p_session_id=session_id, p_addresses=["/n"], p_external_id="cp-2")
    assert (part["number"], part["value"]) == (2, 2)
    assert said(db.one("get_snapshot", p_session_id=session_id, p_number=1)) == (None, None, None)


def test_save__by_rows_and_by_messages_too(db: Db, session_id: UUID) -> None:
    db.one(
        "save_session_parts",
        p_session_id=session_id,
        p_ops=["set"],
        p_paths=["/n/"],
        p_items=[-1],
        p_bodies=["1"],
        p_metadata={"a": [1.50]},
        p_external_id="rows",
    )
    db.one(
        "append_session_messages", p_session_id=session_id, p_messages=["hi"], p_external_id="m", p_parent_number=0
    )
    rows = db.call("list_snapshots", p_session_id=session_id)
    assert [said(row) for row in rows] == [(None, "m", 0), ({"a": [1.5]}, "rows", None)]


@pytest.mark.parametrize("said_of_it", [{"p_metadata": {}}, {"p_external_id": "x"}, {"p_parent_number": 1}])
def test_save__makes_a_number_even_if_nothing_changed(db: Db, session_id: UUID, said_of_it: Row) -> None:
    db.save(session_id, {"n": 1})
    assert db.save(session_id, {"n": 1})["created"] is False
    row = db.save(session_id, {"n": 1}, **said_of_it)
    assert (row["number"], row["created"], row["changed_parts"]) == (2, True, 0)
    assert db.one("get_snapshot", p_session_id=session_id, p_number=2)["state"] == {"n": 1}


def test_save__an_id_that_is_there(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"n": 1}, p_external_id="é/1", p_idempotency_key="k")
    with db.refuses("snapshot_exists") as refused:
        db.save(session_id, {"n": 2}, p_external_id="é/1")
    assert detail_of(refused) == {"number": 1}
    assert db.one("get_latest_snapshot", p_session_id=session_id)["state"] == {"n": 1}
    # the same save again is no second one
    again = db.save(session_id, {"n": 1}, p_external_id="é/1", p_idempotency_key="k")
    assert (again["number"], again["replayed"]) == (1, True)
    for other in ({"p_external_id": "é/2"}, {"p_external_id": "é/1", "p_metadata": {}}, {}):
        with db.refuses("idempotency_key_reused"):
            db.save(session_id, {"n": 1}, p_idempotency_key="k", **other)
    # unique in the session only
    db.save(db.session("ada"), {"n": 1}, p_external_id="é/1")


@pytest.mark.parametrize(
    "wrong",
    [
        {"p_metadata": []},
        {"p_metadata": "null"},
        {"p_metadata": {"x": "y" * 8200}},
        {"p_external_id": ""},
        {"p_external_id": "x" * 501},
        {"p_parent_number": -1},
        {"p_parent_number": 2},
    ],
)
def test_save__refuses_what_is_wrong(db: Db, session_id: UUID, wrong: Row) -> None:
    db.save(session_id, {"n": 1})
    with db.refuses("invalid_argument"):
        db.save(session_id, {"n": 2}, **wrong)
    assert db.one("get_latest_snapshot", p_session_id=session_id)["number"] == 1


def test_save__metadata_is_bounded_as_that_of_sessions(db: Db, session_id: UUID) -> None:
    deep: Any = 1
    for _ in range(70):
        deep = [deep]
    with db.refuses("nesting_too_deep"):
        db.save(session_id, {}, p_metadata={"deep": deep})
    with db.refuses("number_out_of_range"):
        db.save(session_id, {}, p_metadata='{"n": 1e400}')


def test_settings__bytes_of_metadata(database: Db) -> None:
    session_id = database.session("ada")
    database.superuser.execute("update asyouwere.settings set max_snapshot_metadata_bytes = 20")
    with database.acting_as("ada"):
        database.save(session_id, {}, p_metadata={"a": "123456"})
        with database.refuses("invalid_argument"):
            database.save(session_id, {}, p_metadata={"a": "1234567890123456"})


def test_list__filters_and_pages(db: Db, session_id: UUID) -> None:
    for n in range(1, 9):
        db.save(
            session_id,
            {"n": n},
            p_metadata={"odd": n % 2, "run": {"id": "r"}},
            p_external_id=f"cp-{n}",
            p_parent_number=2 if n > 5 else None,
        )
    assert listed(db, session_id, p_metadata={"odd": 1}) == [7, 5, 3, 1]
    assert listed(db, session_id, p_metadata={"odd": 1, "run": {"id": "r"}}, p_limit=2, p_before=7) == [5, 3]
    assert listed(db, session_id, p_metadata={"odd": 1, "run": {"id": "s"}}) == []
    assert listed(db, session_id, p_metadata={}) == list(range(8, 0, -1))
    assert listed(db, session_id, p_external_id="cp-4") == [4]
    assert listed(db, session_id, p_external_id="cp-4", p_metadata={"odd": 1}) == []
    assert listed(db, session_id, p_external_id="cp-4", p_before=4) == []
    assert listed(db, session_id, p_parent_number=2) == [8, 7, 6]
    assert listed(db, session_id, p_parent_number=2, p_metadata={"odd": 0}, p_limit=1) == [8]


def test_list__by_metadata_beyond_the_newest_thousand(database: Db) -> None:
    session_id = database.session("ada")
    database.superuser.execute(
        """
        insert into public.session_snapshots (session_id, number, size_bytes, changed_parts, message_count, metadata)
        select %s, n, 0, 0, 0, case when n %% 7 = 0 then jsonb_build_object('kind', n %% 3, 'rare', n = 14) end
        from generate_series(1, 3000) n
        """,
        (session_id,),
    )
    database.superuser.execute(
        "update public.free_agent_sessions set latest_number = 3000 where id = %s", (session_id,)
    )
    with database.acting_as("ada"):
        assert listed(database, session_id, p_metadata={"rare": True}) == [14]
        wanted = [n for n in range(3000, 0, -1) if n % 7 == 0 and n % 3 == 1]
        pages: list[int] = []
        while page := listed(
            database, session_id, p_metadata={"kind": 1}, p_limit=40, p_before=pages[-1] if pages else None
        ):
            pages += page
        assert pages == wanted


def test_readers_of_a_public_session_are_told_nothing_of_it(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"n": 1}, p_metadata={"secret": 1}, p_external_id="cp", p_parent_number=0, p_label="l")
    db.share(session_id, "vi", "viewer")
    db.one("update_session", p_session_id=session_id, p_changes={"visibility": "public"})
    for insider in ("vi", "service"):
        with db.acting_as(insider):
            assert said(db.one("get_snapshot", p_session_id=session_id, p_external_id="cp")) == (
                {"secret": 1},
                "cp",
                0,
            )
            assert listed(db, session_id, p_metadata={"secret": 1}) == [1]
    for outsider in ("eve", None):
        with db.acting_as(outsider):
            for row in (
                db.one("get_snapshot", p_session_id=session_id, p_label="l"),
                db.one("list_snapshots", p_session_id=session_id),
            ):
                assert said(row) == (None, None, None)
            with db.refuses("snapshot_not_found"):
                db.one("get_snapshot", p_session_id=session_id, p_external_id="cp")
            assert listed(db, session_id, p_metadata={"secret": 1}) == []
            assert listed(db, session_id, p_external_id="cp") == []
            document = json.loads(
                "".join(row["export_session"] for row in db.call("export_session", p_session_id=session_id))
            )
            assert said(document["snapshots"][0]) == (None, None, None)
    with db.acting_as(None), pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.sql("select metadata from session_snapshots")
    db.one("update_session", p_session_id=session_id, p_changes={"visibility": "private"})
    with db.acting_as("eve"), db.refuses("session_not_found"):
        db.one("get_snapshot", p_session_id=session_id, p_external_id="cp")


def test_viewers_say_nothing(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"n": 1})
    db.share(session_id, "vi", "viewer")
    with db.acting_as("vi"), db.refuses("forbidden"):
        db.save(session_id, {"n": 1}, p_metadata={"a": 1})


def test_revert__says_where_it_came_from(db: Db, session_id: UUID) -> None:
    for n in (1, 2, 3):
        db.save(session_id, {"n": n})
    db.one("revert_session", p_session_id=session_id, p_number=1)
    assert listed(db, session_id, p_parent_number=1) == [4]
    # nothing to go back to: no number, as before
    assert db.one("revert_session", p_session_id=session_id, p_number=4)["created"] is False


def test_fork__takes_along_what_is_said_of_the_content(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"n": 1})
    db.save(session_id, {"n": 2}, p_metadata={"a": 1}, p_external_id="cp", p_parent_number=1)
    fork = db.one("fork_session", p_session_id=session_id)["id"]
    assert said(db.one("get_latest_snapshot", p_session_id=fork)) == ({"a": 1}, "cp", None)


def exported(db: Db, session_id: UUID) -> Row:
    return cast(Row, json.loads("".join(row["export_session"] for row in db.call("export_session", p_session_id=session_id))))


def imported(db: Db, document: Row) -> UUID:
    parts = document["parts"]
    columns = ("p_paths", "p_items", "p_since", "p_until", "p_created_at")
    arrays = {name: [part[place] for part in parts] for place, name in enumerate(columns)}
    row = db.one(
        "import_session",
        p_session=document["session"],
        p_snapshots=document["snapshots"],
        **arrays,
        p_bodies=[json.dumps(part[5]) for part in parts],
    )
    return cast(UUID, row["id"])


def test_export__and_import_carry_it(db: Db, session_id: UUID) -> None:
    db.save(session_id, {"n": 1})
    db.save(session_id, {"n": 2}, p_metadata={"a": {"b": [1]}}, p_external_id="cp", p_parent_number=1)
    document = exported(db, session_id)
    copy = imported(db, document)
    assert said(db.one("get_snapshot", p_session_id=copy, p_external_id="cp")) == ({"a": {"b": [1]}}, "cp", 1)
    for wrong in (
        {"metadata": []},
        {"metadata": {"x": "y" * 9000}},
        {"external_id": ""},
        {"external_id": "x" * 501},
        {"parent_number": 2},
        {"parent_number": -1},
        {"parent_number": "x"},
    ):
        spoilt = {**document, "snapshots": [document["snapshots"][0], {**document["snapshots"][1], **wrong}]}
        with db.refuses("invalid_argument"):
            imported(db, spoilt)
    twice = [{**snapshot, "external_id": "cp"} for snapshot in document["snapshots"]]
    with db.refuses("invalid_argument"):
        imported(db, {**document, "snapshots": twice})


def test_cleanup__takes_it_with_the_snapshot(database: Db) -> None:
    session_id = database.session("ada")
    database.superuser.execute(
        "update asyouwere.settings set keep_snapshots = 1, keep_for = '0', keep_hourly_for = '0', "
        "keep_daily_for = '0', keep_monthly_for = '0'"
    )
    with database.acting_as("ada"):
        database.save(session_id, {"n": 1}, p_metadata={"a": 1}, p_external_id="old")
        database.save(session_id, {"n": 2}, p_label="kept")
        database.save(session_id, {"n": 3}, p_parent_number=1)
    with database.acting_as("service"):
        database.call("cleanup_old_snapshots")
    with database.acting_as("ada"):
        rows = database.call("list_snapshots", p_session_id=session_id)
        assert [(row["number"], row["parent_number"]) for row in rows] == [(3, 1), (2, None)]
        with database.refuses("snapshot_not_found"):
            database.one("get_snapshot", p_session_id=session_id, p_external_id="old")
        database.save(session_id, {"n": 4}, p_external_id="old")  # free again


def test_save__sixteen_at_once_with_one_id(db: Db, session_id: UUID) -> None:
    codes: list[str] = []

    def save(n: int) -> None:
        connection = db.connect_as("ada")
        try:
            db.call(
                "create_session_snapshot",
                on=connection,
                p_session_id=session_id,
                p_state={"n": n},
                p_external_id="one",
            )
            codes.append("saved")
        except psycopg.Error as exc:
            codes.append(exc.diag.message_hint or str(exc))

    db.one("get_session", p_session_id=session_id)
    threads = [threading.Thread(target=save, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == ["saved"] + ["snapshot_exists"] * 15
    assert listed(db, session_id) == [1]
    change(db, session_id, {"set": {"/after": 1}})
