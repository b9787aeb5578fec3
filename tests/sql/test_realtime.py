"""Realtime against a stand-in of its database half: who hears of a snapshot, who may speak, what a failure costs."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from asyouwere.local.migrations import migrate
from tests.sql import access_matrix as matrix
from tests.sql.access_matrix import CALLERS, VISIBILITIES, Scene, role_in
from tests.sql.acting import acting
from tests.support.database import Connection, Db, Row

STAND_IN = (Path(__file__).resolve().parents[1] / "support" / "realtime.sql").read_text()


def add_realtime(db: Db) -> None:
    db.superuser.execute(STAND_IN.encode())
    assert db.value("select asyouwere.enable_realtime()") == "on"


@pytest.fixture
def live(db: Db) -> Db:
    add_realtime(db)
    return db


def sent(db: Db) -> list[Row]:
    rows = db.superuser.execute(
        "select topic, event, private, extension, payload - 'id' as payload, payload ? 'id' as has_id "
        "from realtime.messages order by inserted_at, (payload ->> 'number')::int"
    )
    return rows.fetchall()


def may_join(connection: Connection, topic: str) -> dict[str, bool]:
    """What Realtime finds out when somebody joins a private channel (its tenants/authorization.ex), step by step."""
    connection.execute("select set_config('realtime.topic', %s, true)", (topic,))
    found = {}
    for extension in ("broadcast", "presence"):
        rows = connection.execute(
            "select 1 from realtime.messages where topic = %s and extension = %s", (topic, extension)
        ).fetchall()
        found[f"hear {extension}"] = bool(rows)
    for extension in ("broadcast", "presence"):
        try:
            with connection.transaction():
                connection.execute("insert into realtime.messages (topic, extension) values (%s, %s)", (topic, extension))
            found[f"say {extension}"] = True
        except psycopg.errors.InsufficientPrivilege:
            found[f"say {extension}"] = False
    return found


NOTHING = dict.fromkeys(("hear broadcast", "hear presence", "say broadcast", "say presence"), False)


def probe_rows(db: Db, topic: str) -> None:
    """The rows that Realtime puts in, as its own role, before it looks as the one who joins."""
    for extension in ("broadcast", "presence"):
        db.superuser.execute("insert into realtime.messages (topic, extension) values (%s, %s)", (topic, extension))


# -- what is sent ------------------------------------------------------------------------------------------------


def test_realtime__where_it_is_not_there_there_is_no_trigger(db: Db) -> None:
    triggers = (
        "select count(*) from pg_trigger where tgrelid = 'public.session_snapshots'::regclass and not tgisinternal"
        " and tgfoid::regproc::text like '%announce%'"
    )
    assert db.value(triggers) == 0
    assert db.value("select asyouwere.enable_realtime()") == "off: this database has no Supabase Realtime"
    assert db.value(triggers) == 0


def test_realtime__a_save_sends_session_and_number_and_nothing_else(live: Db) -> None:
    session_id = live.session("ada", name="secret name")
    with live.acting_as("ada"):
        live.save(session_id, {"messages": ["secret text"]}, p_label="secret label")
        live.save(session_id, {"messages": ["secret text"]})  # nothing has changed: nothing to say
        live.save(session_id, {"messages": ["more"]})
    assert sent(live) == [
        {
            "topic": f"asyouwere:{session_id}",
            "event": "snapshot",
            "private": True,
            "extension": "broadcast",
            "payload": {"session": str(session_id), "number": number},
            "has_id": True,
        }
        for number in (1, 2)
    ]


def test_realtime__whatever_makes_a_snapshot_sends(live: Db) -> None:
    session_id = live.session("ada")
    with live.acting_as("ada"):
        live.save(session_id, {"n": 1})
        live.call("append_session_messages", p_session_id=session_id, p_messages=["hi"])
        live.sql("insert into session_messages (session_id, role, content) values (%s, 'user', 'x')", (session_id,))
        live.call("revert_session", p_session_id=session_id, p_number=1)
        fork = live.one("fork_session", p_session_id=session_id)["id"]
    assert [(row["payload"]["session"], row["payload"]["number"]) for row in sent(live)] == [
        *((str(session_id), number) for number in (1, 2, 3, 4)),
        (str(fork), 1),
    ]


def test_realtime__an_import_of_many_snapshots_sends_once(live: Db) -> None:
    with live.acting_as("ada"):
        live.call(
            "import_session",
            p_session={"name": "Old", "latest_number": 3},
            p_snapshots=[{"number": 1}, {"number": 2}, {"number": 3}],
            p_paths=["/step/"],
            p_items=[-1],
            p_since=[1],
            p_until=[None],
            p_created_at=["2026-01-01Z"],
            p_bodies=["7"],
        )
    assert [row["payload"]["number"] for row in sent(live)] == [3]


def test_realtime__a_save_that_is_undone_sends_nothing(live: Db) -> None:
    session_id = live.session("ada")
    connection = live.connect_as("ada")
    with connection.transaction(force_rollback=True):
        live.call("create_session_snapshot", on=connection, p_session_id=session_id, p_state={"n": 1})
    assert sent(live) == []


def test_realtime__clean_up_labels_and_deletion_send_nothing(live: Db) -> None:
    session_id = live.session("ada")
    with live.acting_as("ada"):
        for number in range(4):
            live.save(session_id, {"n": number})
        before = sent(live)
        live.call("label_snapshot", p_session_id=session_id, p_number=1, p_label="first")
        live.call("update_session", p_session_id=session_id, p_changes={"name": "new"})
    with live.acting_as("service"):
        assert live.one("cleanup_old_snapshots", p_keep=1, p_older_than="0")["snapshots"] == 2
        live.call("expire_idle_sessions")
    with live.acting_as("ada"):
        live.call("delete_session", p_session_id=session_id)
    assert sent(live) == before


# -- who hears and who speaks ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def live_scene(scene: Scene) -> Scene:
    add_realtime(scene.db)
    for session_id in scene.sessions.values():
        probe_rows(scene.db, f"asyouwere:{session_id}")
    return scene


@pytest.mark.parametrize("visibility", VISIBILITIES)
@pytest.mark.parametrize("caller", [caller for caller in CALLERS if caller != matrix.SERVICE])
def test_topic__is_heard_by_whoever_reads_the_session_and_nobody_speaks(
    live_scene: Scene, caller: str, visibility: str
) -> None:
    with acting(live_scene.db, caller) as connection:
        found = may_join(connection, f"asyouwere:{live_scene.sessions[visibility]}")
    assert found == {**NOTHING, "hear broadcast": role_in(caller, visibility) is not None}


@pytest.mark.parametrize("visibility", VISIBILITIES)
@pytest.mark.parametrize("caller", [caller for caller in CALLERS if caller != matrix.SERVICE])
def test_topic__stays_closed_where_an_app_lets_everybody_do_everything(
    live_scene: Scene, caller: str, visibility: str
) -> None:
    """Supabase's own example policies are "using (true)"."""
    role = "anon" if caller in (matrix.ANONYMOUS, matrix.CLAIMLESS) else "authenticated"
    admin = live_scene.db.connect(autocommit=False)
    try:
        admin.execute(
            'create policy "All" on realtime.messages for all to anon, authenticated using (true) with check (true)'
        )
        claims = {"role": role}
        if caller in live_scene.people:
            claims["sub"] = str(live_scene.people[caller])
        admin.execute("insert into realtime.messages (topic, extension) values ('chat', 'broadcast'), ('chat', 'presence')")
        admin.execute(f"set local role {role}".encode())
        if caller != matrix.CLAIMLESS:
            admin.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
        reads = role_in(caller, visibility) is not None
        found = may_join(admin, f"asyouwere:{live_scene.sessions[visibility]}")
        assert found == {**NOTHING, "hear broadcast": reads, "hear presence": reads}
        # and the app's own topics are as open as before
        assert may_join(admin, "chat") == dict.fromkeys(NOTHING, True)
        # nor by a row of our topic while another topic is being asked about
        with pytest.raises(psycopg.errors.InsufficientPrivilege), admin.transaction():
            admin.execute(
                "insert into realtime.messages (topic, extension) values (%s, 'broadcast')",
                (f"asyouwere:{live_scene.sessions[visibility]}",),
            )
        with pytest.raises(psycopg.errors.InsufficientPrivilege), admin.transaction():
            admin.execute("update realtime.messages set topic = 'asyouwere:x' where topic = 'chat'")
    finally:
        admin.rollback()
        admin.close()


def test_topic__forged_by_a_client_is_not_sent(live: Db) -> None:
    """realtime.send() may be executed by anybody; what it inserts is subject to the policies."""
    session_id = live.session("ada")
    for who in ("ada", "eve", None):
        with live.acting_as(who):
            live.sql(
                "select realtime.send(%s, 'snapshot', %s, true)",
                ('{"number": 99}', f"asyouwere:{session_id}"),
            )
    assert sent(live) == []


UNKNOWN = "01900000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    "topic", [None, "", "asyouwere:", "asyouwere:x", f"asyouwere:{UNKNOWN}", f"asyouwere:{UNKNOWN}\n", "ASYOUWERE:1", "other"]
)
def test_may_listen__other_topics_are_none_of_ours(live_scene: Scene, topic: str | None) -> None:
    with acting(live_scene.db, matrix.OWNER) as connection:
        (row,) = connection.execute("select asyouwere.may_listen(%s) as may", (topic,)).fetchall()
    assert row["may"] is False


# -- failures ----------------------------------------------------------------------------------------------------


def save_and_warnings(db: Db, session_id: UUID, state: Row) -> tuple[Row, list[str]]:
    connection = db.connect_as("ada")
    heard: list[str] = []
    connection.add_notice_handler(lambda notice: heard.append(str(notice.message_primary)))
    (row,) = db.call("create_session_snapshot", on=connection, p_session_id=session_id, p_state=state)
    return row, heard


@pytest.mark.parametrize(
    ("broken", "warning"),
    [
        ("drop table realtime.messages_now", "ErrorSendingBroadcastMessage"),
        ("drop schema realtime cascade", "asyouwere: snapshot saved"),
        ("drop function realtime.send", "asyouwere: snapshot saved"),
        (
            "create or replace function realtime.send(payload jsonb, event text, topic text, private boolean default true) "
            "returns void language plpgsql as $$ begin raise exception 'no'; end $$",
            "asyouwere: snapshot saved",
        ),
    ],
    ids=["no partition", "no realtime", "no send", "send raises"],
)
def test_save__succeeds_where_realtime_is_broken(live: Db, broken: str, warning: str) -> None:
    session_id = live.session("ada")
    live.superuser.execute(broken.encode())
    row, heard = save_and_warnings(live, session_id, {"n": 1})
    assert (row["number"], row["created"]) == (1, True)
    assert len(heard) == 1
    assert heard[0].startswith(warning)
    with live.acting_as("ada"):
        assert live.one("get_latest_snapshot", p_session_id=session_id)["state"] == {"n": 1}


def test_save__does_not_wait_long_for_realtimes_table(live: Db) -> None:
    """Realtime makes and drops partitions, which locks the table."""
    session_id = live.session("ada")
    locker = live.connect(autocommit=False)
    locker.execute("lock table realtime.messages in access exclusive mode")
    try:
        row, heard = save_and_warnings(live, session_id, {"n": 1})  # would never return
    finally:
        locker.rollback()
    assert row["number"] == 1
    assert "lock timeout" in heard[0]
    assert live.value("show lock_timeout") == "0"


# -- on and off --------------------------------------------------------------------------------------------------


def test_enable_realtime__comes_by_itself_with_the_migration(empty_database: str) -> None:
    migrate(empty_database, bootstrap=True)
    with psycopg.connect(empty_database, autocommit=True) as admin:
        admin.execute("drop schema public cascade; create schema public; drop schema asyouwere cascade")
        admin.execute("grant usage on schema public to anon, authenticated, service_role")
        admin.execute("delete from supabase_migrations.schema_migrations")
        admin.execute(STAND_IN.encode())
    migrate(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as admin:
        assert admin.execute("select count(*) from pg_trigger where tgname = 'announce_snapshots'").fetchall() == [(1,)]


def test_enable_realtime__twice_and_off_again(live: Db) -> None:
    assert live.value("select asyouwere.enable_realtime()") == "on"
    policies = "select count(*) from pg_policy where polrelid = 'realtime.messages'::regclass"
    assert live.value(policies) == 2
    assert live.value("select asyouwere.disable_realtime()") == "off"
    assert live.value(policies) == 0
    session_id = live.session("ada")
    with live.acting_as("ada"):
        live.save(session_id, {"n": 1})
    assert sent(live) == []


def test_enable_realtime__without_the_right_to_make_policies_leaves_all_as_it_was(live: Db) -> None:
    live.value("select asyouwere.disable_realtime()")
    owner = f"owner_{uuid4().hex}"
    live.superuser.execute(f"create role {owner}".encode())
    try:
        live.superuser.execute(f"grant usage on schema realtime, asyouwere to {owner}".encode())
        live.superuser.execute(f"alter table public.session_snapshots owner to {owner}".encode())
        for function in ("enable_realtime", "disable_realtime"):
            live.superuser.execute(f"grant execute on function asyouwere.{function} to {owner}".encode())
        with live.connect(autocommit=False) as connection:
            connection.execute(f"set role {owner}".encode())
            (row,) = connection.execute("select asyouwere.enable_realtime() as answer").fetchall()
        assert row["answer"] == "off: this role may not create policies on realtime.messages"
        assert live.value("select count(*) from pg_trigger where tgname = 'announce_snapshots'") == 0
    finally:
        live.superuser.execute("alter table public.session_snapshots owner to current_user")
        live.superuser.execute(f"drop owned by {owner}".encode())
        live.superuser.execute(f"drop role {owner}".encode())


def test_realtime__a_turn_tells_how_far_it_has_come(live: Db) -> None:
    session_id, turn = live.session("ada"), uuid4()
    at = {"p_session_id": session_id, "p_turn_id": turn}
    with live.acting_as("ada"):
        live.one("begin_turn", **at)
        live.one("append_turn_chunks", **at, p_from_seq=1, p_chunks=["a", "b"])
        live.one("append_turn_chunks", **at, p_from_seq=1, p_chunks=["a", "b"])  # nothing new
        live.one("stop_turn", **at)
        live.one("finish_turn", **at)
    told = [row["payload"] for row in sent(live) if row["event"] == "turn"]
    assert told == [{"session": str(session_id), "turn": str(turn), "seq": seq} for seq in (0, 2, 0, 2)]
    topics = {(row["topic"], row["private"]) for row in sent(live)}
    assert topics == {(f"asyouwere:{session_id}", True)}
    live.superuser.execute("drop schema realtime cascade")
    with live.acting_as("ada"):
        another = live.one("begin_turn", **{**at, "p_turn_id": uuid4()})  # a Realtime that is gone fails nothing
    assert another["created"] is True
