"""One order of locks: whatever writes runs beside whatever else writes, and no two wait for each other."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.support.database import Connection, Db

ROUNDS = 6



def merge_own(db: Db, connection: Connection, session_id: UUID) -> None:
    """A branch of a session, in it, merged back."""
    (fork,) = db.call("fork_session", on=connection, p_session_id=session_id, p_parent_id=session_id)
    db.call("create_session_snapshot", on=connection, p_session_id=fork["id"], p_changes={"set": {"/m": random.random()}})
    db.call("merge_fork", on=connection, p_session_id=fork["id"], p_prefer="fork")


#: Everything that writes, by whom; `s` are the sessions that the three own or share, all of ada's.
Work = Callable[[Db, Connection, list[UUID]], object]
WRITERS: dict[str, tuple[str, Work]] = {
    "rename all": ("ada", lambda db, c, s: c.execute("update public.free_agent_sessions set name = 'x'")),
    "archive all": ("ada", lambda db, c, s: c.execute("update public.free_agent_sessions set archived_at = now()")),
    "upsert": (
        "ada",
        lambda db, c, s: c.execute(
            "insert into public.free_agent_sessions (id, name) values (%s, 'u'), (%s, 'v') on conflict (id) do update set name = excluded.name",
            random.sample(s, 2),
        ),
    ),
    "save": (
        "ada",
        lambda db, c, s: db.call(
            "create_session_snapshot", on=c, p_session_id=random.choice(s), p_changes={"set": {"/n": random.random()}}
        ),
    ),
    "append": (
        "bob",
        lambda db, c, s: db.call("append_session_messages", on=c, p_session_id=random.choice(s), p_messages=["m"]),
    ),
    "update": (
        "ada",
        lambda db, c, s: db.call("update_session", on=c, p_session_id=random.choice(s), p_changes={"name": "y"}),
    ),
    "make": ("ada", lambda db, c, s: db.call("get_or_create_session", on=c, p_key=random.choice("ab"))),
    "make with a state": (
        "ada",
        lambda db, c, s: db.call("get_or_create_session", on=c, p_key=random.choice("ab"), p_state={"n": 1}),
    ),
    "import": (
        "ada",
        lambda db, c, s: db.call(
            "import_session",
            on=c,
            p_session={"latest_number": 1},
            p_snapshots=[{"number": 1}],
            p_paths="{/n/}",
            p_items="{-1}",
            p_since="{1}",
            p_until="{null}",
            p_created_at="{now}",
            p_bodies="{1}",
            p_key=random.choice("ab"),
            p_parent_id=random.choice([None, *s]),
        ),
    ),
    "fork": ("bob", lambda db, c, s: db.call("fork_session", on=c, p_session_id=random.choice(s))),
    "label": (
        "ada",
        lambda db, c, s: db.call("label_snapshot", on=c, p_session_id=random.choice(s), p_number=1, p_label="l"),
    ),
    "label what is there": (
        "bob",
        lambda db, c, s: db.call(
            "create_session_snapshot",
            on=c,
            p_session_id=random.choice(s),
            p_changes={"remove": ["/none"]},
            p_label=f"l {random.random()}",
            p_idempotency_key=str(random.random()),
        ),
    ),
    "budget": (
        "ada",
        lambda db, c, s: db.call("set_session_budget", on=c, p_session_id=random.choice(s), p_budget=1),
    ),
    "invite": (
        "ada",
        lambda db, c, s: db.call(
            "set_session_member", on=c, p_session_id=random.choice(s), p_user_id=db.user("bob"), p_role="editor"
        ),
    ),
    "invite by table": (
        "ada",
        lambda db, c, s: c.execute(
            "insert into public.session_members (session_id, user_id) select id, %s from public.free_agent_sessions where random() < 0.3",
            (db.user(f"guest {random.random()}"),),
        ),
    ),
    "change roles": ("ada", lambda db, c, s: c.execute("update public.session_members set role = 'editor'")),
    "accept": ("bob", lambda db, c, s: db.call("accept_invitation", on=c, p_session_id=random.choice(s))),
    "leave": (
        "bob",
        lambda db, c, s: db.call(
            "remove_session_member", on=c, p_session_id=random.choice(s), p_user_id=db.user("bob")
        ),
    ),
    "transfer": (
        "ada",
        lambda db, c, s: db.call("transfer_session", on=c, p_session_id=random.choice(s), p_to_user=db.user("bob")),
    ),
    "take over": ("bob", lambda db, c, s: db.call("accept_transfer", on=c, p_session_id=random.choice(s))),
    "claim": (
        "bob",
        lambda db, c, s: db.call(
            "claim_sessions",
            on=c,
            p_code=db.call("offer_my_sessions", on=db.connect_as("ada"))[0]["code"],
        ),
    ),
    "pop": (
        "bob",
        lambda db, c, s: db.call("pop_session_items", on=c, p_session_id=random.choice(s), p_address="/l"),
    ),
    "delete numbers": (
        "ada",
        lambda db, c, s: db.call("delete_snapshots", on=c, p_session_id=random.choice(s), p_numbers=[1, 2]),
    ),
    "forget": (
        "ada",
        lambda db, c, s: db.call("forget_session_parts", on=c, p_session_id=random.choice(s), p_addresses=["/n"]),
    ),
    "delete one": ("ada", lambda db, c, s: db.call("delete_session", on=c, p_session_id=random.choice(s))),
    "delete some": ("ada", lambda db, c, s: c.execute("delete from public.free_agent_sessions where random() < 0.3")),
    "erase ada": ("ada", lambda db, c, s: db.call("delete_my_data", on=c)),
    "erase bob": ("bob", lambda db, c, s: db.call("delete_my_data", on=c)),
    "erase by service": ("service", lambda db, c, s: db.call("delete_user_data", on=c, p_user_id=db.user("ada"))),
    "flush": (
        "bob",
        lambda db, c, s: db.call(
            "append_turn_chunks", on=c, p_session_id=(i := random.choice(s)), p_turn_id=i, p_from_seq=1, p_chunks=[]
        ),
    ),
    "finish": (
        "bob",
        lambda db, c, s: db.call("finish_turn", on=c, p_session_id=(i := random.choice(s)), p_turn_id=i),
    ),
    "stop": ("ada", lambda db, c, s: db.call("stop_turn", on=c, p_session_id=(i := random.choice(s)), p_turn_id=i)),
    "settle": ("ada", lambda db, c, s: db.call("get_turn", on=c, p_session_id=random.choice(s))),
    "record": (
        "bob",
        lambda db, c, s: db.call(
            "record_usage",
            on=c,
            p_session_id=random.choice(s),
            p_model=random.choice("mn"),
            p_input_tokens=1,
            p_output_tokens=1,
            p_idempotency_key=random.choice("kl"),
        ),
    ),
    "merge": ("ada", lambda db, c, s: merge_own(db, c, random.choice(s))),
    "make viewers": ("ada", lambda db, c, s: c.execute("update public.session_members set role = 'viewer'")),
    "prune": ("service", lambda db, c, s: db.call("cleanup_old_snapshots", on=c, p_keep=1, p_older_than="0")),
    "expire": ("service", lambda db, c, s: db.call("expire_idle_sessions", on=c)),
}
PAIRS = list(itertools.combinations_with_replacement(WRITERS, 2))


def scene(db: Db) -> list[UUID]:
    """Eight sessions of ada's, some in one another, bob in half of them, invited to the others; no tokens ahead. In each
    a turn of bob's runs, whose lease has run out in every third."""
    db.superuser.execute("truncate asyouwere.erasures, asyouwere.used_ids")
    db.superuser.execute("delete from public.free_agent_sessions")
    ids = [uuid4() for _ in range(8)]
    db.superuser.execute(
        "insert into public.free_agent_sessions (id, user_id, visibility, expires_after)"
        " select i, %s, 'shared', '1 day' from unnest(%s::uuid[]) i",
        (db.user("ada"), ids),
    )
    for child, parent in ((1, 0), (2, 0), (3, 1), (5, 4)):
        db.superuser.execute(
            "update public.free_agent_sessions set parent_id = %s where id = %s", (ids[parent], ids[child])
        )
    db.superuser.execute(
        "insert into public.session_members (session_id, user_id, role, accepted_at)"
        " select i, %s, 'editor', case when n %% 2 = 0 then now() end from unnest(%s::uuid[]) with ordinality u (i, n)",
        (db.user("bob"), ids),
    )
    db.superuser.execute(
        "insert into public.session_turns"
        " (session_id, id, internal_session_id, started_by, lease_seconds, lease_until, message)"
        " select s.id, s.id, s.internal_id, %s, 30, now() + case when s.internal_id %% 3 = 0 then '0' else '30 s' end"
        "::interval, '{}' from public.free_agent_sessions s",
        (db.user("bob"),),
    )
    db.superuser.execute(
        "insert into asyouwere.turn_chunks select t.internal_session_id, t.internal_id, 1, 1, 1, 200, '\"x\"'"
        " from public.session_turns t"
    )
    return ids


def at_once(db: Db, names: tuple[str, str], connections: dict[str, list[Connection]]) -> list[str]:
    """The deadlocks of some rounds of two writers, each several times over."""
    ids = scene(db)
    found: list[str] = []
    together = threading.Barrier(4)

    def work(name: str, connection: Connection) -> None:
        together.wait()
        for _ in range(ROUNDS):
            try:
                WRITERS[name][1](db, connection, ids)
            except psycopg.errors.DeadlockDetected as exc:
                found.append(f"{names}: {exc.diag.message_detail}")
            except psycopg.Error:
                pass  # refused, or not there any more

    threads = [
        threading.Thread(target=work, args=(name, connections[WRITERS[name][0]][n]))
        for name, n in ((names[0], 0), (names[0], 1), (names[1], 2), (names[1], 3))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("share", range(4))
def test_writers__no_pair_locks_up(db: Db, share: int) -> None:
    # a bucket so small that no tokens are taken ahead: every save comes to it
    db.superuser.execute("update asyouwere.settings set writes_per_second = 1000000, writes_at_once = 60")
    db.superuser.execute("alter system set deadlock_timeout = '20ms'")
    db.superuser.execute("select pg_reload_conf()")
    connections = {who: [db.connect_as(who) for _ in range(4)] for who in ("ada", "bob", "service")}
    found = [text for names in PAIRS[share::4] for text in at_once(db, names, connections)]
    assert found == []
