"""The database in direct mode: whose claims, through a pooler, across restarts, when it is away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
import uuid
from collections.abc import AsyncIterator

import psycopg
import pytest

from asyouwere.errors import AsYouWereError, Conflicting, Forbidden, Invalid, NotFound, Unavailable
from asyouwere.service.auth.caller import Caller
from asyouwere.service.database.direct import DirectDatabase
from tests.functions.pooler import pooler
from tests.support.database import Db

PROBES = """
create table public.probe_calls (id bigint generated always as identity);
create function public.probe_who() returns table (sub text, role text, login text, number int) language sql
    as $$ select auth.uid()::text, current_user::text, session_user::text, pg_backend_pid() $$;
create function public.probe_sleep(p_seconds float8) returns text language plpgsql
    as $$ begin perform pg_sleep(p_seconds); return 'slept'; end $$;
create function public.probe_echo(p_text text, p_texts text[], p_numbers int[], p_json json, p_flag boolean)
    returns table (text text, texts text[], numbers int[], body json, flag boolean, at timestamptz) language
    sql as $$ select p_text, p_texts, p_numbers, p_json, p_flag, '2026-01-31 12:00:00.5+00'::timestamptz $$;
create function public.probe_deadlock(p_first int, p_second int) returns int language plpgsql
    as $$ begin
        perform pg_advisory_xact_lock(p_first); perform pg_sleep(0.3); perform
        pg_advisory_xact_lock(p_second); return 1;
    end $$;
create function public.probe_count() returns int language sql security definer
    as $$ insert into public.probe_calls default values returning 1 $$;
create function public.probe_raise(p_state text, p_hint text) returns int language plpgsql as $$
begin
    raise exception 'planted' using errcode = p_state, hint = p_hint, detail = '{"retry_after": 7}';
end $$;
"""


def caller(user: uuid.UUID | str) -> Caller:
    """A signed-in user as the verifier makes one."""
    return Caller("authenticated", str(user), json.dumps({"sub": str(user), "role": "authenticated"}))


@pytest.fixture
def probed(database: Db) -> Db:
    """A database with functions that tell what they see."""
    database.superuser.execute(PROBES.encode())
    return database


@contextlib.asynccontextmanager
async def direct(dsn: str, **options: float) -> AsyncIterator[DirectDatabase]:
    """The database under test, closed at the end."""
    reached = DirectDatabase(dsn, **options)
    try:
        yield reached
    finally:
        await reached.close()


async def test_call__runs_as_the_caller_and_leaves_nothing_behind(probed: Db) -> None:
    ada = probed.user("ada")
    async with direct(probed.api_dsn, pool_size=1) as reached:
        (row,) = await reached.rows(caller(ada), "probe_who", {})
        assert (row["sub"], row["role"], row["login"]) == (str(ada), "authenticated", "authenticator")
        (row,) = await reached.rows(Caller("service_role", None, '{"role":"service_role"}'), "probe_who", {})
        assert (row["sub"], row["role"]) == (None, "service_role")
        async with reached._connections().one() as connection:
            left = await (
                await connection.execute("select current_user, current_setting('request.jwt.claims', true)")
            ).fetchone()
    assert left is not None
    assert left[0] == "authenticator"
    assert not left[1]


async def test_call__values_go_and_come_as_they_are(probed: Db) -> None:
    texts = ["", "null", 'quote"', "back\\slash", "{curly},", "new\nline", None, "日本 🙂", "NULL", " space "]
    body = '{"a": 1.0, "b":[1e2,  "\\u0000"], "a":2}'
    async with direct(probed.api_dsn) as reached:
        (row,) = await reached.rows(
            caller(probed.user("ada")),
            "probe_echo",
            {
                "p_text": "it's $1 %s",
                "p_texts": texts,
                "p_numbers": [1, None, -3],
                "p_json": body,
                "p_flag": True,
            },
        )
    with psycopg.connect(probed.dsn) as connection:
        expected = connection.execute("select %s::text[]::text", (texts,)).fetchone()
    assert expected is not None
    assert (row["text"], row["body"], row["flag"]) == ("it's $1 %s", body, True)
    assert (row["texts"], row["numbers"]) == (expected[0], "{1,NULL,-3}")
    assert row["at"] == "2026-01-31T12:00:00.5+00:00"


async def test_call__large_values_both_ways(probed: Db) -> None:
    large = "x" * (30 << 20)
    async with direct(probed.api_dsn) as reached:
        arguments = {"p_text": large, "p_texts": [large], "p_numbers": [], "p_json": "{}", "p_flag": None}
        (row,) = await reached.rows(caller(probed.user("ada")), "probe_echo", arguments)
    assert row["text"] == large
    assert row["flag"] is None


async def test_call__names_are_never_text_from_outside(probed: Db) -> None:
    async with direct(probed.api_dsn) as reached:
        with pytest.raises(ValueError, match="identifiers"):
            await reached.rows(caller(probed.user("ada")), "probe_who(); drop table x; --", {})


async def mixed_calls(dsn: str, probed: Db, calls: int, *, refused: bool) -> set[int]:
    """Calls as two users at once, each answered as the caller's; the backends that answered."""
    users = [probed.user("ada"), probed.user("bob")]
    backends: set[int] = set()
    choice = random.Random(7)
    async with direct(dsn, pool_size=10) as reached:

        async def one(user: uuid.UUID) -> None:
            if refused and choice.random() < 0.2:
                with pytest.raises((NotFound, Invalid, Conflicting)):
                    await reached.rows(caller(user), "get_session", {"p_session_id": str(uuid.uuid4())})
            (row,) = await reached.rows(caller(user), "probe_who", {})
            assert (row["sub"], row["role"]) == (str(user), "authenticated")
            backends.add(row["number"])

        for _ in range(calls // 50):
            await asyncio.gather(*(one(choice.choice(users)) for _ in range(50)))
    return backends


async def test_pool__two_users_never_mix(probed: Db) -> None:
    assert len(await mixed_calls(probed.api_dsn, probed, 500, refused=True)) > 1


async def test_pooler_in_transaction_mode__two_users_never_mix(probed: Db) -> None:
    with pooler(probed.api_dsn, server_connections=3) as dsn:
        backends = await mixed_calls(dsn, probed, 3000, refused=True)
        assert 2 <= len(backends) <= 3  # ten clients did share them
        # and nothing is left on any of them for whoever comes next
        for _ in range(20):
            with psycopg.connect(dsn, autocommit=True) as connection:
                left = connection.execute(
                    "select current_user, coalesce(current_setting('request.jwt.claims', true), ''),"
                    " current_setting('statement_timeout')"
                ).fetchone()
                assert left == ("authenticator", "", "0")


async def test_pooler__saves_and_restores(probed: Db) -> None:
    session_id = probed.session("ada")
    with pooler(probed.api_dsn, server_connections=2) as dsn:
        async with direct(dsn, pool_size=8) as reached:
            ada = caller(probed.user("ada"))

            async def append(number: int) -> None:
                arguments = {
                    "p_session_id": str(session_id),
                    "p_ops": ["append"],
                    "p_paths": ["/messages/"],
                    "p_items": [None],
                    "p_bodies": [str(number)],
                }
                await reached.rows(ada, "save_session_parts", arguments)

            await asyncio.gather(*(append(number) for number in range(100)))
            pieces = await reached.chunks(ada, "get_snapshot_chunks", {"p_session_id": str(session_id)})
    state = json.loads(b"".join(pieces[1:]))
    assert sorted(state["messages"]) == list(range(100))


# -- when the database is not well -----------------------------------------------------------------------


def end_backends(probed: Db) -> None:
    """Cut every connection of the API to this database."""
    probed.superuser.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
        "and usename = 'authenticator'"
    )
    time.sleep(0.2)


async def test_connections_cut_while_idle__cost_no_call(probed: Db) -> None:
    ada = caller(probed.user("ada"))
    async with direct(probed.api_dsn, pool_size=3) as reached:
        for _ in range(3):
            await asyncio.gather(*(reached.rows(ada, "probe_count", {}) for _ in range(3)))
            end_backends(probed)
            # Not repeatable, and yet none fails: it was noticed before anything was sent.
            await asyncio.gather(*(reached.rows(ada, "probe_count", {}) for _ in range(3)))
    assert probed.value("select count(*) from probe_calls") == 18


async def test_connection_cut_in_the_middle__is_repeated_only_where_it_may_be(probed: Db) -> None:
    ada = caller(probed.user("ada"))
    async with direct(probed.api_dsn, pool_size=2) as reached:
        for repeatable in (True, False):
            task = asyncio.create_task(
                reached.rows(ada, "probe_sleep", {"p_seconds": "1"}, repeatable=repeatable)
            )
            await asyncio.sleep(0.4)
            await asyncio.to_thread(end_backends, probed)
            if repeatable:
                assert (await task)[0]["probe_sleep"] == "slept"
            else:
                with pytest.raises(Unavailable) as refused:
                    await task
                assert (refused.value.code, refused.value.retry_after) == ("database_unavailable", 2)


async def test_deadlock__is_run_again(probed: Db) -> None:
    ada = caller(probed.user("ada"))
    async with direct(probed.api_dsn, pool_size=2) as reached:
        both = await asyncio.gather(
            reached.rows(ada, "probe_deadlock", {"p_first": 1, "p_second": 2}),
            reached.rows(ada, "probe_deadlock", {"p_first": 2, "p_second": 1}),
        )
    assert [row["probe_deadlock"] for (row,) in both] == [1, 1]


async def test_slow_call__is_stopped_and_the_connection_stays_good(probed: Db) -> None:
    ada = caller(probed.user("ada"))
    async with direct(probed.api_dsn, pool_size=1, statement_timeout=0.2) as reached:
        with pytest.raises(Unavailable) as refused:
            await reached.rows(ada, "probe_sleep", {"p_seconds": "5"}, repeatable=True)
        assert (refused.value.code, refused.value.status) == ("timeout", 504)
        assert (await reached.rows(ada, "probe_who", {}))[0]["role"] == "authenticated"


async def test_all_connections_busy__is_a_503_in_time(probed: Db) -> None:
    ada = caller(probed.user("ada"))
    async with direct(probed.api_dsn, pool_size=1, pool_timeout=0.3) as reached:
        busy = asyncio.create_task(reached.rows(ada, "probe_sleep", {"p_seconds": "1"}))
        await asyncio.sleep(0.1)
        started = time.monotonic()
        with pytest.raises(Unavailable) as refused:
            await reached.rows(ada, "probe_who", {})
        assert refused.value.code == "database_unavailable"
        assert time.monotonic() - started < 0.9
        await busy


async def test_database_away_and_back__recovers_at_once(probed: Db) -> None:
    ada = caller(probed.user("ada"))
    admin = psycopg.connect(probed.cluster.dsn, autocommit=True)
    with admin:
        async with direct(probed.api_dsn, pool_size=2, pool_timeout=0.5) as reached:
            await reached.rows(ada, "probe_who", {})
            admin.execute(f"alter database {probed.name} allow_connections false".encode())
            end_backends(probed)
            for _ in range(4):
                with pytest.raises(Unavailable):
                    await reached.rows(ada, "probe_who", {})
            admin.execute(f"alter database {probed.name} allow_connections true".encode())
            started = time.monotonic()
            while True:
                with contextlib.suppress(Unavailable):
                    await reached.rows(ada, "probe_who", {})
                    break
                assert time.monotonic() - started < 5
            assert time.monotonic() - started < 3


async def test_cancelled_call__does_not_spoil_the_next(probed: Db) -> None:
    ada, bob = caller(probed.user("ada")), caller(probed.user("bob"))
    async with direct(probed.api_dsn, pool_size=1) as reached:
        task = asyncio.create_task(reached.rows(ada, "probe_sleep", {"p_seconds": "0.5"}))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (row,) = await reached.rows(bob, "probe_who", {})
        assert row["sub"] == bob.user_id


REFUSALS = [
    ("PT404", "session_not_found", "session_not_found", 404),
    ("PT409", "conflict", "conflict", 409),
    ("PT429", "rate_limited", "rate_limited", 429),
    ("PT418", "never_heard_of", "internal", 500),
    ("22P02", "conflict", "invalid_argument", 422),
    ("42501", "", "forbidden", 403),
    ("53300", "", "database_unavailable", 503),
    ("53100", "", "database_unavailable", 503),
    ("57P01", "", "database_unavailable", 503),
    ("25006", "", "database_unavailable", 503),
    ("55P03", "", "database_unavailable", 503),
    ("57014", "", "timeout", 504),
    ("40001", "", "database_unavailable", 503),
    ("23505", "conflict", "internal", 500),
    ("XX000", "", "internal", 500),
    ("42883", "", "internal", 500),
]


async def test_refusals__by_state_and_hint(probed: Db) -> None:
    ada = caller(probed.user("ada"))
    async with direct(probed.api_dsn, pool_size=1) as reached:
        for state, hint, code, status in REFUSALS:
            with pytest.raises(AsYouWereError) as refused:
                await reached.rows(ada, "probe_raise", {"p_state": state, "p_hint": hint})
            error = refused.value
            assert (error.code, error.status) == (code, status), state
            # Only our own SQL's sentence is passed on, and never for a session that is not there.
            assert ("planted" in str(error)) == (code in ("conflict", "rate_limited")), state
            assert error.retry_after == {"rate_limited": 7, "timeout": 1, "database_unavailable": 2}.get(code)
            (row,) = await reached.rows(ada, "probe_who", {})
            assert row["role"] == "authenticated"


async def test_functions_not_granted__are_forbidden(probed: Db) -> None:
    async with direct(probed.api_dsn) as reached:
        with pytest.raises(Forbidden):
            await reached.rows(caller(probed.user("ada")), "cleanup_old_snapshots", {})


def test_pool__belongs_to_its_loop(probed: Db) -> None:
    ada = caller(probed.user("ada"))
    reached = DirectDatabase(probed.api_dsn, pool_size=1)

    async def once() -> str:
        try:
            return str((await reached.rows(ada, "probe_who", {}))[0]["sub"])
        finally:
            await reached.close()

    assert asyncio.run(once()) == asyncio.run(once()) == ada.user_id
