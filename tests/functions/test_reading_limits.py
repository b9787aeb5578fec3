"""What one caller may have under way: more is refused, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from asyouwere.service.auth.caller import Caller
from asyouwere.service.http import admission
from asyouwere.service.http.admission import Slots, large_reads, reads
from asyouwere.service.settings import Settings
from tests.functions.api import BASE, Person, refused, settings_for
from tests.functions.test_database import caller, direct, probed
from tests.support.database import Db

__all__ = ["probed"]


@pytest.fixture
def settings(shared: Db, mode: str, request: pytest.FixtureRequest) -> Settings:
    """Those of the server under test, which has its slots by them."""
    if mode == "postgrest":
        return settings_for("", database=mode, postgrest_url=request.getfixturevalue("rest_url"))
    return settings_for(shared.api_dsn)


@contextlib.contextmanager
def under_way(slots: Slots, *people: Person) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for person in people:
            assert person.id is not None
            stack.enter_context(slots.taken(Caller("authenticated", person.id, "{}"), "restores"))
        yield


def saved_twice(person: Person) -> str:
    session_id = person.session()
    person.saved(session_id, state={"messages": ["one"]})
    person.saved(session_id, changes={"append": {"/messages": ["two"]}})
    return session_id


def busy(answer: object) -> None:
    refused(answer, "rate_limited")  # type: ignore[arg-type]
    assert int(answer.headers["retry-after"]) > 0  # type: ignore[attr-defined]


def test_large_reads__beyond_the_callers_share(ada: Person, bob: Person, settings: Settings) -> None:
    mine, his = saved_twice(ada), saved_twice(bob)
    ada.request("PATCH", "sessions", f"/{mine}", json={"visibility": "public"})
    with under_way(large_reads(settings), ada, ada):
        busy(ada.post("session-snapshot-restore", {"session_id": mine, "number": 1}))
        busy(ada.request("GET", "sessions", f"/{mine}/diff?from=1&to=2"))
        assert ada.state(mine) == {"messages": ["one", "two"]}
        assert ada.post("session-snapshot-restore", {"session_id": mine, "since": 1}).json()["number"] == 2
        ada.saved(mine, changes={"append": {"/messages": ["three"]}})
        for session_id in (his, mine):
            assert bob.state(session_id, number=1) == {"messages": ["one"]}
    assert ada.state(mine, number=1) == {"messages": ["one"]}


def test_large_reads__strangers_of_a_public_session_are_counted_too(
    ada: Person, bob: Person, eve: Person, settings: Settings
) -> None:
    session_id = saved_twice(ada)
    ada.request("PATCH", "sessions", f"/{session_id}", json={"visibility": "public"})
    with under_way(large_reads(settings), eve, eve):
        busy(eve.post("session-snapshot-restore", {"session_id": session_id, "number": 1}))
        assert ada.state(session_id, number=1) == {"messages": ["one"]}
        with under_way(large_reads(settings), bob, bob):
            busy(ada.post("session-snapshot-restore", {"session_id": session_id, "number": 1}))
            assert ada.state(session_id) == {"messages": ["one", "two"]}
            ada.saved(session_id, changes={"append": {"/messages": ["three"]}})


def test_reads__beyond_the_callers_share(ada: Person, bob: Person, settings: Settings) -> None:
    mine, his = saved_twice(ada), saved_twice(bob)
    with under_way(reads(settings), *[ada] * settings.reads_per_caller):
        for wanted in ({}, {"number": 1}, {"since": 1}):
            busy(ada.post("session-snapshot-restore", {"session_id": mine, **wanted}))
        busy(ada.request("GET", "sessions", f"/{mine}/diff?from=1&to=2"))
        ada.saved(mine, changes={"append": {"/messages": ["three"]}})
        assert bob.state(his) == {"messages": ["one", "two"]}


def test_restore__large_states_arrive_whole_and_leave_nothing_taken(ada: Person) -> None:
    session_id = ada.session()
    messages = [f"{n} é\\ud83d " * 700 for n in range(500)]
    for start in (0, 250):
        ada.saved(session_id, changes={"append": {"/messages": messages[start : start + 250]}})
    ada.saved(session_id, changes={"set": {"/one": ["big " * 500_000]}})
    for _ in range(3):
        answer = ada.post("session-snapshot-restore", {"session_id": session_id})
        assert "content-length" not in answer.headers
        assert answer.json()["state"] == {"messages": messages, "one": ["big " * 500_000]}
        assert ada.state(session_id, number=2) == {"messages": messages}


def test_restore__reader_that_goes_away_gives_all_back(ada: Person) -> None:
    session_id = ada.session()
    for _ in range(2):
        ada.saved(session_id, changes={"append": {"/messages": ["x" * 90_000] * 90}})
    for _ in range(2):
        body = {"session_id": session_id}
        with ada.http.stream("POST", f"{BASE}/session-snapshot-restore", json=body) as answer:
            assert answer.status_code == 200
            next(answer.iter_bytes(1000))
    deadline = time.monotonic() + 20
    while (answer := ada.post("session-snapshot-restore", {"session_id": session_id})).status_code == 429:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(answer.json()["state"]["messages"]) == 180


def test_reads__small_ones_of_eight_devices_at_once(ada: Person, settings: Settings) -> None:
    mine = saved_twice(ada)
    with under_way(reads(settings), *[ada] * 7):
        assert ada.state(mine) == {"messages": ["one", "two"]}
        assert ada.post("session-snapshot-restore", {"session_id": mine, "since": 1}).json()["number"] == 2


async def test_connections__one_caller_holds_half(probed: Db) -> None:
    ada, bob = (caller(probed.user(name)) for name in ("ada", "bob"))
    async with direct(probed.api_dsn, pool_size=4) as reached:
        calls = [
            asyncio.create_task(reached.chunks(ada, "probe_sleep", {"p_seconds": "1.5"})) for _ in range(4)
        ]
        await asyncio.sleep(0.2)
        await reached.rows(bob, "probe_who", {})
        await reached.rows(bob, "probe_who", {})
        assert not any(call.done() for call in calls)
        assert await asyncio.gather(*calls) == [[b"slept"]] * 4


async def test_pieces__are_the_rows_and_keep_no_connection(probed: Db) -> None:
    session_id = probed.session("ada")
    state = {"messages": list(range(40_000)), "memory": {f"key {n}": n for n in range(1500)}}
    with probed.acting_as("ada"):
        probed.save(session_id, state)
    ada = caller(probed.user("ada"))
    arguments = {"p_session_id": str(session_id)}
    async with direct(probed.api_dsn, pool_size=1) as reached:
        header, *pieces = [piece async for piece in reached.pieces(ada, "get_snapshot_chunks", arguments)]
        assert json.loads(b"".join(pieces)) == state
        assert json.loads(header)["number"] == 1
        async with contextlib.aclosing(reached.pieces(ada, "get_snapshot_chunks", arguments)) as some:
            await anext(some)
        (row,) = await reached.rows(ada, "probe_who", {})
        assert row["sub"] == ada.user_id


async def test_pieces__error_comes_before_the_first(probed: Db) -> None:
    session_id = probed.session("ada")
    bob = caller(probed.user("bob"))
    async with direct(probed.api_dsn, pool_size=1) as reached:
        with pytest.raises(Exception, match="session"):
            await anext(reached.pieces(bob, "get_snapshot_chunks", {"p_session_id": str(session_id)}))
        (row,) = await reached.rows(bob, "probe_who", {})
        assert row["sub"] == bob.user_id


# -- large bodies ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def half_sent(person: Person, session_id: str, *, declared: bool) -> Iterator[Future[httpx.Response]]:
    """A large save of which the second half is sent at the end of the block."""
    body = json.dumps({"session_id": session_id, "state": {"text": "x" * 600_000}}).encode()
    half, rest = threading.Event(), threading.Event()

    def pieces() -> Iterator[bytes]:
        yield body[:400_000]
        half.set()
        rest.wait(60)
        yield body[400_000:]

    headers = {"Content-Type": "application/json", **({"Content-Length": str(len(body))} if declared else {})}
    with ThreadPoolExecutor(1) as threads:
        url = f"{BASE}/session-snapshot-save"
        sent = threads.submit(lambda: person.http.post(url, content=pieces(), headers=headers))
        try:
            assert half.wait(20)
            yield sent
        finally:
            rest.set()
        sent.result(60)


@pytest.mark.parametrize("declared", [True, False])
def test_large_bodies__of_one_caller_wait_for_one_another(
    ada: Person, bob: Person, declared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission._LARGE_BODIES, "_patience", 0.3)
    mine, other, his = ada.session(), ada.session(), bob.session()
    state = {"text": "x" * 300_000}
    with half_sent(ada, mine, declared=declared) as sent:
        deadline = time.monotonic() + 20
        while (answer := ada.save(other, state=state)).is_success:  # the first piece may be on its way yet
            assert time.monotonic() < deadline
        busy(answer)
        ada.saved(other, changes={"set": {"/small": 1}})
        bob.saved(his, state=state)
        assert not sent.done()
    assert sent.result().status_code == 200
    ada.saved(other, state=state)


def test_large_bodies__that_are_refused_leave_nothing_taken(ada: Person) -> None:
    session_id = ada.session()
    for _ in range(3):
        refused(ada.save_text(session_id, '{"text":"' + "x" * 300_000), "invalid_json")
        refused(ada.save_text(session_id, '{"text":"' + "x" * 11_000_000 + '"}'), "body_too_large")
    ada.saved(session_id, state={"text": "x" * 300_000})


def test_large_answers__are_large_reads_until_they_are_sent(ada: Person, bob: Person, settings: Settings) -> None:
    mine = ada.session()
    ada.saved(mine, state={"messages": ["x" * 700_000] * 2})
    ada.saved(mine, changes={"set": {"/more": "x" * 1_200_000}})
    wanted: list[Callable[[], httpx.Response]] = [
        lambda: ada.restore(mine, addresses=["/messages"]),
        lambda: ada.restore(mine, addresses=["/messages"], number=1),
        lambda: ada.restore(mine, since=1),
        lambda: ada.request("GET", "sessions", f"/{mine}/messages"),
        lambda: ada.request("GET", "sessions", f"/{mine}/diff?from=1&to=2"),
    ]
    for ask in wanted:
        with under_way(large_reads(settings), ada, ada):
            busy(ask())
        for _ in range(5):  # nothing stays taken
            assert ask().status_code == 200
    with under_way(large_reads(settings), ada, ada):
        assert ada.restore(mine, addresses=[{"address": "/messages", "last": 1}]).status_code == 200


def test_large_answers__a_reader_that_never_reads_holds_no_more_than_its_share(ada: Person) -> None:
    session_id = ada.session()
    ada.saved(session_id, state={"a": "x" * 9_000_000})
    asked = json.dumps({"session_id": session_id, "addresses": ["/a"]}).encode()
    head = (
        f"POST {BASE}/session-snapshot-restore HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ada.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(asked)}\r\n\r\n"
    ).encode()
    with contextlib.ExitStack() as stack:
        silent = []
        for _ in range(2):
            line = stack.enter_context(socket.socket())
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that little of it fits between the two
            line.connect((ada.http.base_url.host, ada.http.base_url.port or 0))
            line.sendall(head + asked)
            silent.append(line)
            assert line.recv(12) == b"HTTP/1.1 200"
        busy(ada.restore(session_id, addresses=["/a"]))
    until = time.monotonic() + 30
    while ada.restore(session_id, addresses=["/a"]).status_code != 200:
        assert time.monotonic() < until, "those who are gone still hold their share"
        time.sleep(0.05)
