"""The database in postgrest mode: values, rows beyond its limit, errors, outages, whose token and which key is sent."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import random
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest

from asyouwere.errors import AsYouWereError, Forbidden, Invalid, NotFound, Unauthorized, Unavailable
from asyouwere.service.auth.caller import Caller
from asyouwere.service.database import columns
from asyouwere.service.database.postgrest import PostgrestDatabase
from tests.functions.api import SECRET, token_for
from tests.functions.test_database import PROBES, REFUSALS
from tests.support.database import Db
from tests.support.postgrest import PostgREST, running_postgrest

MORE_PROBES = """
create function public.probe_many(p_rows int) returns table (number int, body json) language sql stable
    as $$ select n, '1.10'::json from generate_series(1, p_rows) n $$;
create function public.probe_texts(p_rows int) returns setof text language sql stable
    as $$ select 'row ' || n from generate_series(1, p_rows) n $$;
create function public.probe_changing() returns setof int language plpgsql security definer as $$
begin
    insert into public.probe_calls default values;
    return query select generate_series(1, (select 1500 + count(*)::int from public.probe_calls));
end $$;
"""


def caller(user: uuid.UUID | str) -> Caller:
    """A signed-in user with a token that PostgREST accepts."""
    claims = {"sub": str(user), "role": "authenticated"}
    return Caller("authenticated", str(user), json.dumps(claims), token_for(str(user)))


@pytest.fixture
def probed(database: Db) -> Db:
    """A database with functions that tell what they see."""
    database.superuser.execute((PROBES + MORE_PROBES).encode())
    return database


@pytest.fixture
def rest(probed: Db) -> Iterator[PostgREST]:
    """A PostgREST of the test's own before it."""
    with running_postgrest(probed.api_dsn, SECRET) as postgrest:
        yield postgrest


@contextlib.asynccontextmanager
async def reaching(url: str, **options: Any) -> AsyncIterator[PostgrestDatabase]:
    """The database under test, closed at the end."""
    reached = PostgrestDatabase(url, **options)
    try:
        yield reached
    finally:
        await reached.close()


async def test_call__values_go_and_come_as_they_are(
    probed: Db, rest: PostgREST, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        columns.SELECT, "probe_echo", ("text", "texts", "numbers", "body::text", "flag", "at")
    )
    monkeypatch.setattr("asyouwere.service.database.postgrest.JSON_ARGUMENTS", {"p_json"})
    texts = ["", "null", 'quote"', "back\\slash", "{curly},", "new\nline", None, "日本 🙂", "NULL", " space "]
    body = '{"a": 1.0, "b":[1e2,  "\\u00e9"], "a":2, "n":1234567890123456789012345678901234567890}'
    async with reaching(rest.url) as reached:
        arguments = {"p_text": "it's $1 %s", "p_texts": texts, "p_numbers": [1, None, -3], "p_json": body}
        (row,) = await reached.rows(caller(probed.user("ada")), "probe_echo", {**arguments, "p_flag": True})
    assert (row["text"], row["body"], row["flag"]) == ("it's $1 %s", body, True)
    assert (row["texts"], row["numbers"]) == (texts, [1, None, -3])
    assert row["at"] == "2026-01-31T12:00:00.5+00:00"


async def test_call__two_users_never_mix(probed: Db, rest: PostgREST) -> None:
    users = [probed.user("ada"), probed.user("bob")]
    choice = random.Random(7)
    async with reaching(rest.url, pool_size=10) as reached:

        async def one(user: uuid.UUID) -> None:
            if choice.random() < 0.2:
                with pytest.raises(NotFound):
                    await reached.rows(caller(user), "get_session", {"p_session_id": str(uuid.uuid4())})
            (row,) = await reached.rows(caller(user), "probe_who", {})
            assert (row["sub"], row["role"], row["login"]) == (str(user), "authenticated", "authenticator")

        for _ in range(6):
            await asyncio.gather(*(one(choice.choice(users)) for _ in range(50)))


async def test_rows__more_than_postgrest_hands_out_come_all(probed: Db, rest: PostgREST) -> None:
    ada = caller(probed.user("ada"))
    async with reaching(rest.url) as reached:
        for wanted in (0, 1, 1000, 1001, 2500):
            rows = await reached.rows(ada, "probe_many", {"p_rows": wanted}, repeatable=True)
            assert [row["number"] for row in rows] == list(range(1, wanted + 1))


async def test_rows__that_change_between_two_pages_are_not_mixed(probed: Db, rest: PostgREST) -> None:
    async with reaching(rest.url) as reached:
        with pytest.raises(Unavailable):
            await reached.rows(caller(probed.user("ada")), "probe_changing", {}, repeatable=True)


async def test_chunks__are_whole_or_an_error(probed: Db, rest: PostgREST) -> None:
    ada = caller(probed.user("ada"))
    async with reaching(rest.url) as reached:
        chunks = await reached.chunks(ada, "probe_texts", {"p_rows": 1000})
        assert chunks == [f"row {number}".encode() for number in range(1, 1001)]
        with pytest.raises(AsYouWereError) as error:
            await reached.chunks(ada, "probe_texts", {"p_rows": 1001})
        assert error.value.code == "internal"


async def test_long_session__is_restored_and_exported_whole(probed: Db, rest: PostgREST) -> None:
    state = {"messages": list(range(40_000)), "memory": {f"key {n}": {"n": n} for n in range(1500)}}
    session_id = probed.session("ada")
    with probed.acting_as("ada"):
        probed.save(session_id, state)
    ada = caller(probed.user("ada"))
    async with reaching(rest.url) as reached:
        header, *pieces = await reached.chunks(ada, "get_snapshot_chunks", {"p_session_id": str(session_id)})
        export = await reached.chunks(ada, "export_session", {"p_session_id": str(session_id)})
    assert json.loads(b"".join(pieces)) == state
    assert json.loads(header)["number"] == 1
    assert len(json.loads(b"".join(export))["parts"]) == 1 + 40_000 + 1 + 2 * 1500
    assert len(export) <= 1000


async def test_restore__a_label_that_looks_like_the_state(probed: Db, rest: PostgREST) -> None:
    session_id = probed.session("ada")
    with probed.acting_as("ada"):
        probed.save(session_id, {"a": 1}, p_label='x","state":{}')
    async with reaching(rest.url) as reached:
        header, state = await reached.chunks(
            caller(probed.user("ada")), "get_snapshot_chunks", {"p_session_id": str(session_id)}
        )
    assert json.loads(header)["label"] == 'x","state":{}'
    assert state == b'{"a":1}'


# -- errors ------------------------------------------------------------------------------------------------


async def test_refusals__are_those_of_the_direct_way(
    probed: Db, rest: PostgREST, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyouwere.service.database.postgrest.JSON_ARGUMENTS", set())  # of the probe's, none is
    ada = caller(probed.user("ada"))
    async with reaching(rest.url) as reached:
        for state, hint, code, status in REFUSALS:
            if state == "40001":
                continue  # PostgREST runs it again by itself, and this one never ends
            with pytest.raises(AsYouWereError) as refused:
                await reached.rows(ada, "probe_raise", {"p_state": state, "p_hint": hint})
            error = refused.value
            assert (error.code, error.status) == (code, status), state
            assert ("planted" in str(error)) == (code in ("conflict", "rate_limited")), state
            assert error.retry_after == {"rate_limited": 7, "timeout": 1, "database_unavailable": 2}.get(code)
        with pytest.raises(Forbidden):
            await reached.rows(ada, "cleanup_old_snapshots", {})
        with pytest.raises(AsYouWereError) as unknown:
            await reached.rows(ada, "no_such_function", {})
        assert unknown.value.code == "internal"
        with pytest.raises(Invalid):
            await reached.rows(ada, "get_session", {"p_session_id": "no uuid"})


async def test_token__that_postgrest_refuses_is_a_401(probed: Db, rest: PostgREST) -> None:
    ada = str(probed.user("ada"))
    expired = Caller("authenticated", ada, "{}", token_for(ada, exp=int(time.time()) - 600))
    async with reaching(rest.url) as reached:
        for bad in (expired, Caller("authenticated", ada, "{}", "a.b.c"), Caller("authenticated", ada, "{}")):
            with pytest.raises(Unauthorized) as refused:
                await reached.rows(bad, "probe_who", {})
            assert refused.value.code == "invalid_token"


async def test_service__acts_by_its_key_and_by_its_own_token_without_one(probed: Db, rest: PostgREST) -> None:
    scheduler = Caller("service_role", None, "{}")
    with_token = Caller("service_role", None, "{}", token_for(None, "service_role"))
    async with reaching(rest.url, service_key=token_for(None, "service_role")) as reached:
        (row,) = await reached.rows(scheduler, "probe_who", {})
        assert row["role"] == "service_role"
    async with reaching(rest.url) as reached:
        (row,) = await reached.rows(with_token, "probe_who", {})
        assert row["role"] == "service_role"
    async with reaching(rest.url, service_key="not.good.key") as reached:
        with pytest.raises(AsYouWereError) as refused:
            await reached.rows(with_token, "probe_who", {})
        assert refused.value.code == "internal"  # it is not the caller's token that is bad


@pytest.mark.parametrize("text", [r'"\u0000"', r'"\ud800"'])
async def test_json_argument__that_no_json_of_the_database_can_hold_is_refused(
    probed: Db, rest: PostgREST, text: str
) -> None:
    arguments = {"p_metadata": f'{{"a":{text}}}'}
    async with reaching(rest.url) as reached:
        with pytest.raises(Invalid):
            await reached.rows(caller(probed.user("ada")), "get_or_create_session", arguments)


# -- when it is not well ---------------------------------------------------------------------------------


def end_backends(probed: Db) -> None:
    """Cut every connection of the API to this database."""
    probed.superuser.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
        "and usename = 'authenticator'"
    )


async def test_connection_cut_in_the_middle__is_repeated_only_where_it_may_be(
    probed: Db, rest: PostgREST
) -> None:
    ada = caller(probed.user("ada"))
    async with reaching(rest.url) as reached:
        for repeatable in (True, False):
            call = reached.rows(ada, "probe_sleep", {"p_seconds": "1"}, repeatable=repeatable)
            task = asyncio.create_task(call)
            await asyncio.sleep(0.4)
            await asyncio.to_thread(end_backends, probed)
            if repeatable:
                assert await task == [{"probe_sleep": "slept"}]
            else:
                with pytest.raises(Unavailable) as refused:
                    await task
                assert (refused.value.code, refused.value.retry_after) == ("database_unavailable", 2)


async def test_deadlock__is_run_again(probed: Db, rest: PostgREST) -> None:
    ada = caller(probed.user("ada"))
    async with reaching(rest.url) as reached:
        both = await asyncio.gather(
            reached.rows(ada, "probe_deadlock", {"p_first": 1, "p_second": 2}),
            reached.rows(ada, "probe_deadlock", {"p_first": 2, "p_second": 1}),
        )
    assert [row["probe_deadlock"] for (row,) in both] == [1, 1]


async def test_slow_call__is_a_504(probed: Db, rest: PostgREST) -> None:
    ada = caller(probed.user("ada"))
    async with reaching(rest.url, statement_timeout=0.3) as reached:
        with pytest.raises(Unavailable) as refused:
            await reached.rows(ada, "probe_sleep", {"p_seconds": "3"}, repeatable=True)
        assert (refused.value.code, refused.value.status) == ("timeout", 504)
        assert (await reached.rows(ada, "probe_who", {}))[0]["role"] == "authenticated"


async def test_postgrest_away_and_back__is_a_503_and_recovers(probed: Db) -> None:
    ada = caller(probed.user("ada"))
    with running_postgrest(probed.api_dsn, SECRET) as first:
        url = first.url
        async with reaching(url) as before:
            await before.check()
    reached = PostgrestDatabase(url)
    for repeatable in (True, False):
        with pytest.raises(Unavailable) as refused:
            await reached.rows(ada, "probe_who", {}, repeatable=repeatable)
        assert (refused.value.code, refused.value.retry_after) == ("database_unavailable", 2)
    with pytest.raises(Unavailable):
        await reached.check()
    with running_postgrest(probed.api_dsn, SECRET, port=int(url.rpartition(":")[2])):
        assert (await reached.rows(ada, "probe_who", {}))[0]["role"] == "authenticated"
        await reached.check()
        await reached.close()


async def test_database_away_and_back__is_a_503_and_recovers(probed: Db, rest: PostgREST) -> None:
    ada = caller(probed.user("ada"))
    with psycopg.connect(probed.cluster.dsn, autocommit=True) as admin:
        async with reaching(rest.url, statement_timeout=5) as reached:
            await reached.rows(ada, "probe_who", {})
            admin.execute(f"alter database {probed.name} allow_connections false".encode())
            end_backends(probed)
            for _ in range(3):
                with pytest.raises(Unavailable):
                    await reached.rows(ada, "probe_who", {})
            admin.execute(f"alter database {probed.name} allow_connections true".encode())
            deadline = time.monotonic() + 60  # PostgREST waits twice as long after each try
            while True:
                with contextlib.suppress(Unavailable):
                    await reached.rows(ada, "probe_who", {})
                    break
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)


def test_client__belongs_to_its_loop(probed: Db, rest: PostgREST) -> None:
    ada = caller(probed.user("ada"))
    reached = PostgrestDatabase(rest.url)

    async def once() -> str:
        try:
            return str((await reached.rows(ada, "probe_who", {}))[0]["sub"])
        finally:
            await reached.close()

    assert asyncio.run(once()) == asyncio.run(once()) == ada.user_id


# -- what stands before PostgREST ------------------------------------------------------------------------


class Gateway:
    """Answers every call alike, as a gateway would that does not let it through, and remembers the headers."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b"[]"
        self.headers: dict[str, str] = {}
        self.seen: list[dict[str, str]] = []
        gateway = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                gateway.seen.append({name.lower(): value for name, value in self.headers.items()})
                self.send_response(gateway.status)
                for name, value in {**gateway.headers, "Content-Length": str(len(gateway.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(gateway.body)

            def log_message(self, *_: object) -> None:
                """Nothing on the terminal."""

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/rest/v1"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    server = Gateway()
    thread = threading.Thread(target=server.http.serve_forever, daemon=True)
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


ADA = Caller("authenticated", str(uuid.UUID(int=1)), "{}", "user.jwt.token")
SERVICE = Caller("service_role", None, "{}", "service.jwt.token")


async def test_credentials__each_key_goes_where_the_gateway_wants_it(gateway: Gateway) -> None:
    cases: list[tuple[Caller, dict[str, str], str | None, str | None]] = [
        (ADA, {}, None, "Bearer user.jwt.token"),
        (ADA, {"publishable_key": "sb_publishable_x"}, "sb_publishable_x", "Bearer user.jwt.token"),
        (ADA, {"service_key": "sb_secret_x", "publishable_key": "p"}, "p", "Bearer user.jwt.token"),
        (SERVICE, {"service_key": "sb_secret_x"}, "sb_secret_x", None),
        (SERVICE, {"service_key": "legacy.jwt.key"}, "legacy.jwt.key", "Bearer legacy.jwt.key"),
    ]
    for who, keys, apikey, authorization in cases:
        async with reaching(gateway.url, **keys) as reached:
            assert await reached.rows(who, "delete_my_data", {}) == []
        seen = gateway.seen[-1]
        assert (seen.get("apikey"), seen.get("authorization")) == (apikey, authorization)


GATEWAY = [
    (401, b'{"message":"Invalid API key"}', {}, "internal", None),
    (404, b"<html>no such project</html>", {}, "internal", None),
    (302, b"", {"Location": "http://127.0.0.1:1/"}, "internal", None),
    (413, b"", {}, "body_too_large", None),
    (429, b"{}", {"Retry-After": "9"}, "rate_limited", 9),
    (429, b"{}", {"Retry-After": "99999"}, "rate_limited", 60),
    (502, b"<html>", {}, "database_unavailable", 2),
    (503, b"[]", {"Retry-After": "7"}, "database_unavailable", 7),
    (503, b'{"code":"PGRST002","message":"loading"}', {}, "database_unavailable", 2),
    (504, b'{"code":"PGRST003","message":"no connection"}', {}, "database_unavailable", 2),
    (400, b'{"code":"","details":null,"hint":null,"message":""}', {}, "database_unavailable", 2),
    (504, b"", {}, "timeout", 1),
    (522, b"", {}, "database_unavailable", 2),
    (540, b"Project paused", {}, "database_unavailable", 2),
    (402, b'{"message":"exceed_egress_quota"}', {}, "database_unavailable", 2),
    (544, b"", {}, "timeout", 1),
    (524, b"", {}, "timeout", 1),
    (500, b'{"code":7}', {}, "internal", None),
    (500, b'{"code":[]}', {}, "internal", None),
    (500, b"{}", {}, "internal", None),
]


async def test_gateway__its_refusals_are_ours(gateway: Gateway) -> None:
    async with reaching(gateway.url) as reached:
        for gateway.status, gateway.body, gateway.headers, code, retry_after in GATEWAY:
            with pytest.raises(AsYouWereError) as refused:
                await reached.rows(ADA, "delete_my_data", {})
            assert (refused.value.code, refused.value.retry_after) == (code, retry_after), gateway.status
            assert "token" not in repr(refused.value.__cause__)
    assert "user.jwt.token" not in repr(ADA)


# -- the lists ---------------------------------------------------------------------------------------------


def test_columns__are_those_of_the_catalog(db: Db) -> None:
    rows = db.sql("""
        select p.proname as function, coalesce(a.attname, u.name) as name,
            coalesce(a.atttypid, u.type)::regtype::text as type
        from pg_proc p
        left join pg_type t on t.oid = p.prorettype and t.typrelid > 0
        left join pg_attribute a on a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
        left join lateral unnest(p.proargnames, p.proallargtypes, p.proargmodes) u (name, type, mode)
            on u.mode = 't' and t.oid is null
        where p.pronamespace = 'public'::regnamespace""")
    returned: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["name"] is not None:
            returned.setdefault(row["function"], {})[row["name"]] = row["type"]
    for function, listed in columns.SELECT.items():
        private = {"internal_id", "pruned_through", "prepaid_saves", "stored_bytes", "activity_bin"}
        assert set(listed) == {
            name + ("::text" if kind in ("json", "jsonb") else "")
            for name, kind in returned[function].items()
            if name not in private
        }, function
    # what no handler calls; the last three are relationships for PostgREST's embeds
    never_called = {"get_snapshot", "get_latest_snapshot", "create_session_snapshot"}
    never_called |= {"free_agent_sessions", "session_messages", "session_snapshots"}
    with_json = {f for f, kinds in returned.items() if {"json", "jsonb"} & set(kinds.values())}
    assert with_json - never_called == set(columns.SELECT)


def test_json_arguments__are_those_of_the_catalog(db: Db) -> None:
    rows = db.sql("""
        select distinct u.name, u.type::regtype::text as type
        from pg_proc p, unnest(p.proargnames[:p.pronargs], p.proargtypes::oid[]) u (name, type)
        where p.pronamespace = 'public'::regnamespace""")
    json_types = {row["name"] for row in rows if row["type"] in ("json", "jsonb")}
    other_types = {row["name"] for row in rows if row["type"] not in ("json", "jsonb")}
    json_types -= {"p_chunks", "p_session"}
    assert json_types == columns.JSON_ARGUMENTS
    assert not json_types & other_types  # a name alone says it
