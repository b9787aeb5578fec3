"""Where it is measured: a stack of our own, a user in it, and tables for what asyouwere is compared with."""

from __future__ import annotations

import contextlib
import itertools
import json
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from asyouwere.local.migrations import migrate
from asyouwere.local.stack import API_ROLE, LocalStack, add_user
from asyouwere.local.tokens import user_id
from tests.bench.texts import Messages, array, state_text

Connection = psycopg.Connection[tuple[Any, ...]]

USER = "bench"
NAMES = itertools.count(1)

SAVE = "select * from public.save_session_parts(%s, %s, %s, %s, %s, %s, %s)"
SAVE_STATE = "select * from public.create_session_snapshot(%s, p_state => %s, p_base => %s)"

# The floors. `parts` has the columns, the indexes and the storage settings of asyouwere's own table and nothing
# else: no rights, no numbering, no merging. `documents` is how most people keep state: one jsonb a version.
FLOORS = """
    create schema bench;
    create table bench.parts (like asyouwere.parts including all);
    do $$ begin
        -- "like" does not copy these
        execute (select 'alter table bench.parts set (' || array_to_string(reloptions, ', ') || ')'
            from pg_class where oid = 'asyouwere.parts'::regclass);
    end $$;
    create table bench.documents (
        session_id uuid not null, number int not null, state jsonb not null,
        created_at timestamptz not null default now(), primary key (session_id, number));
    -- the least that any numbered history has to write, in one call: no checks, no merging, one kind of change
    create function bench.append_message(p_session_id uuid, p_body text, p_base int) returns int
    language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
    declare
        v_session bigint;
        v_number int;
        v_size bigint := octet_length(p_body);
    begin
        select s.internal_id, s.latest_number + 1 into v_session, v_number from public.free_agent_sessions s
        where s.id = p_session_id and s.user_id = auth.uid() and s.latest_number = p_base for no key update;
        insert into asyouwere.parts (session, since, item, ord, size, depth, kind, created_at, path, body)
        select v_session, v_number, l.item + 1, 1, v_size, 1, 'i', now(), '/messages/', p_body
        from (
            select p.item from asyouwere.parts p
            where p.session = v_session and p.until = 2147483647 and p.path = '/messages/'
            order by p.path desc, p.item desc limit 1
        ) l;
        with made as (
            insert into public.session_snapshots (session_id, number, size_bytes, changed_parts, message_count)
            values (p_session_id, v_number, v_size, 1, 1)
        )
        update public.free_agent_sessions s
        set latest_number = v_number, size_bytes = s.size_bytes + v_size, message_count = s.message_count + 1
        where s.id = p_session_id;
        return v_number;
    end $$;
    create table bench.heads (session_id uuid primary key, number int not null);
    grant usage on schema bench to authenticated;
    grant all on all tables in schema bench to authenticated;
"""
# All is counted as ever, and never runs out.
NO_LIMITS = """
    update asyouwere.settings set writes_per_second = 1000000, writes_at_once = 1000000000, max_stored_bytes_per_user = 1e15
"""
APPEND_BARELY = "select bench.append_message(%s, %s, %s)"
INSERT_DOCUMENT = "insert into bench.documents (session_id, number, state) values (%s, %s, %s)"


class Place:
    """A database in a running stack, one user, and how to act as them.

    database: default the stack's own, which the functions use.
    """

    def __init__(self, stack: LocalStack, *, quick: bool, database: str = "postgres") -> None:
        self.stack = stack
        self.quick = quick
        self.database = database
        self.user_id = user_id(USER)
        self.opened: list[Connection] = []
        self.superuser = self.connect(stack.postgres.dsn_for(database))
        add_user(self.superuser, USER)
        self.superuser.execute(FLOORS)
        self.superuser.execute(NO_LIMITS)

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Place]:
        """A migrated database of its own: what others left behind, or freed, does not count there."""
        name = f"bench_{next(NAMES)}"
        with psycopg.connect(self.stack.dsn, autocommit=True) as admin:
            admin.execute(f"create database {name}".encode())
            migrate(self.stack.postgres.dsn_for(name), bootstrap=True)
            place = Place(self.stack, quick=self.quick, database=name)
            try:
                yield place
            finally:
                place.close()
                admin.execute(f"drop database {name} with (force)".encode())

    def rounds(self, full: int, quick: int | None = None) -> int:
        """`full` in the full run; a quarter of it, or what is named, in the quick one."""
        return (quick or max(1, full // 4)) if self.quick else full

    # -- connections ---------------------------------------------------------------------------------

    @property
    def api_dsn(self) -> str:
        """The connection string of the role that the functions log in with."""
        return self.stack.postgres.dsn_for(self.database, API_ROLE, self.stack.secrets.api_password)

    @property
    def claims(self) -> str:
        """What the functions put into request.jwt.claims for our user."""
        return json.dumps({"sub": str(self.user_id), "role": "authenticated", "aud": "authenticated"})

    def connect(self, dsn: str) -> Connection:
        """A connection in autocommit mode, closed at the end."""
        connection = psycopg.connect(dsn, autocommit=True)
        self.opened.append(connection)
        return connection

    def connect_as_user(self) -> Connection:
        """Logged in as the functions are, with the user's role and claims for as long as it is open."""
        return self._connect_as("authenticated", self.claims)

    def connect_as_service(self) -> Connection:
        """Logged in as the functions are, with the role of the scheduler."""
        return self._connect_as("service_role", '{"role":"service_role"}')

    @contextlib.contextmanager
    def slow_commits(self, microseconds: int) -> Iterator[Connection]:
        """A connection as the user whose commits wait so much longer for the disk."""
        self.superuser.execute(f"alter role {API_ROLE} set commit_delay = {microseconds}".encode())
        try:
            connection = self.connect_as_user()
            connection.execute("set commit_siblings = 0")
            yield connection
        finally:
            self.superuser.execute(f"alter role {API_ROLE} reset commit_delay".encode())

    def _connect_as(self, role: str, claims: str) -> Connection:
        connection = self.connect(self.api_dsn)
        connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        connection.execute("select set_config('request.jwt.claims', %s, false)", (claims,))
        return connection

    def close(self) -> None:
        """Close every connection."""
        for connection in self.opened:
            connection.close()

    def settle(self) -> None:
        """Vacuum, analyze and checkpoint, so that what was set up does not disturb what is measured next."""
        self.superuser.execute(
            "vacuum (analyze) asyouwere.parts, public.session_snapshots, public.free_agent_sessions"
        )
        self.superuser.execute("checkpoint")

    # -- sessions ------------------------------------------------------------------------------------

    def new_session(self, connection: Connection) -> uuid.UUID:
        """An empty session of the user."""
        return cast_uuid(value(connection, "select id from public.get_or_create_session()"))

    def filled_session(self, connection: Connection, messages: Messages, count: int) -> Session:
        """A session with so many messages, saved as number 1."""
        session = Session(connection, self.new_session(connection))
        session.save_state(state_text(messages.take(count)))
        return session


class Session:
    """A session and the latest number that its only writer knows."""

    def __init__(self, connection: Connection, session_id: uuid.UUID) -> None:
        self.connection = connection
        self.id = session_id
        self.number: int | None = 0

    def save_state(self, text: str) -> None:
        """Save a whole state."""
        parameters = (self.id, text, self.number)
        self.number = value(self.connection, SAVE_STATE, parameters)

    def save(self, ops: str, paths: str, items: str, bodies: str, key: str | None = None) -> None:
        """Save change rows, given as PostgreSQL arrays in text; key: for idempotency."""
        parameters = (self.id, ops, paths, items, bodies, self.number, key)
        self.number = value(self.connection, SAVE, parameters)

    def append(self, message: str) -> None:
        """Save one message more."""
        self.save("{append}", "{/messages/}", "{null}", array([message]))


def value(connection: Connection, query: str, parameters: tuple[Any, ...] = ()) -> Any:
    """The first column of the only row of a prepared statement."""
    row = connection.execute(query.encode(), parameters, prepare=True).fetchone()
    assert row is not None
    return row[0]


def cast_uuid(given: Any) -> uuid.UUID:
    return given if isinstance(given, uuid.UUID) else uuid.UUID(str(given))
