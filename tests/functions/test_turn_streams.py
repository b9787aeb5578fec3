"""Following a turn as an event stream; in both modes."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from asyouwere.service.handlers import turn_streams
from asyouwere.service.http import responses
from asyouwere.service.settings import Settings
from tests.functions.api import BASE, Person, serving, settings_for, token_for
from tests.functions.image import in_process
from tests.functions.turns import begin, events, finish, flush, stream
from tests.support.database import Db


@pytest.fixture
def settings(mode: str, shared: Db, request: pytest.FixtureRequest) -> Settings:
    """Those of a server of the test's own, in the mode."""
    if mode == "postgrest":
        return settings_for("", database=mode, postgrest_url=request.getfixturevalue("rest_url"))
    return settings_for(shared.api_dsn)


def test_stream__is_followed_to_the_end(ada: Person) -> None:
    session_id = ada.session()
    turn = begin(ada, session_id)
    sent = '{"from_seq":1,"chunks":["a",{"b":[1.50]}]}'
    ada.post("sessions", sent, f"/{session_id}/turns/{turn}/chunks")

    def go_on() -> None:
        time.sleep(0.6)
        flush(ada, session_id, turn, 3, "c\n\n")
        time.sleep(0.4)
        finish(ada, session_id, turn)

    thread = threading.Thread(target=go_on)
    thread.start()
    with stream(ada, session_id, turn) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        seen = list(events(answer))
    thread.join()
    assert [(event["id"], event["data"]) for event in seen[:3]] == [
        ("1", '"a"'),
        ("2", '{"b":[1.50]}'),
        ("3", '"c\\n\\n"'),
    ]
    end = seen[3]
    assert (end["event"], end["id"]) == ("end", "4")
    told = json.loads(end["data"])
    assert (told["id"], told["status"], told["number"], told["position"]) == (turn, "done", 1, 0)


def test_stream__goes_on_after_the_last_event_that_was_seen(ada: Person) -> None:
    session_id = ada.session()
    turn = begin(ada, session_id)
    flush(ada, session_id, turn, 1, *"abc")
    finish(ada, session_id, turn)
    for last, seen in (
        ("0", ["1", "2", "3", "4"]),
        ("2", ["3", "4"]),
        ("3", ["4"]),
        ("nonsense", ["1", "2", "3", "4"]),
    ):
        with stream(ada, session_id, turn, **{"Last-Event-ID": last}) as answer:
            assert [event["id"] for event in events(answer)] == seen
    with stream(ada, session_id, turn, **{"Last-Event-ID": "4"}) as answer:
        assert answer.status_code == 204  # EventSource does not come back


def test_stream__tells_of_an_interrupted_turn(ada: Person) -> None:
    session_id = ada.session()
    turn = begin(ada, session_id, lease_seconds=1)
    flush(ada, session_id, turn, 1, "so far")
    with stream(ada, session_id, turn) as answer:
        seen = list(events(answer))
    told = json.loads(seen[-1]["data"])
    assert (told["status"], told["position"]) == ("interrupted", 0)
    assert finish(ada, session_id, turn).json()["code"] == "turn_over"


def test_stream__who_is_put_out_hears_no_more(ada: Person, bob: Person) -> None:
    session_id = ada.session()
    ada.share(session_id, bob, "viewer")
    turn = begin(ada, session_id)
    with stream(bob, session_id, turn) as answer, stream(ada, session_id, turn) as own:
        ada.request("DELETE", "sessions", f"/{session_id}/members/{bob.id}")
        (last,) = events(answer)
        assert (last["event"], json.loads(last["data"])["code"]) == ("error", "session_not_found")
        flush(ada, session_id, turn, 1, "x")
        finish(ada, session_id, turn)
        assert [event["id"] for event in events(own)] == ["1", "2"]


def test_stream__so_many_and_no_more(shared: Db, settings: Settings) -> None:
    settings = replace(settings, max_streams_per_user=2)
    user_id = str(shared.user(uuid4().hex))
    with serving(settings) as url:
        person = Person(url, user_id, token_for(user_id))
        session_id = person.session()
        turn = begin(person, session_id)
        with stream(person, session_id, turn), stream(person, session_id, turn) as second:
            with stream(person, session_id, turn) as third:
                assert (third.status_code, third.read() and third.json()["code"]) == (429, "rate_limited")
                assert int(third.headers["retry-after"]) > 0
            finish(person, session_id, turn)
            list(events(second))
        with stream(person, session_id, turn) as after:
            assert after.status_code == 200
        person.http.close()


@in_process
def test_stream__one_look_for_all_followers(shared: Db, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    real = turn_streams.look

    async def counted(*arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        return await real(*arguments)

    monkeypatch.setattr(turn_streams, "look", counted)
    monkeypatch.setattr(turn_streams, "SILENCE_SECONDS", 0.5)
    user_id = str(shared.user(uuid4().hex))
    with serving(settings) as url:
        person = Person(url, user_id, token_for(user_id))
        session_id = person.session()
        turn = begin(person, session_id)
        with contextlib.ExitStack() as stack:
            answers = [stack.enter_context(stream(person, session_id, turn)) for _ in range(12)]
            before, started = looks, time.monotonic()
            line = next(line for line in answers[0].iter_lines() if line.startswith(":"))  # the silence is broken
            assert line == ": "
            assert looks - before <= (time.monotonic() - started) / turn_streams.POLL_SECONDS + 2
            flush(person, session_id, turn, 1, "x")
            finish(person, session_id, turn)
            assert [[event["id"] for event in events(answer)] for answer in answers[1:]] == [["1", "2"]] * 11
        person.http.close()


# -- followers that are slow, gone, or many ----------------------------------------------------------------------


@contextlib.contextmanager
def caller_of(settings: Settings, db: Db) -> Iterator[Person]:
    """A new user of a server with these settings."""
    user_id = str(db.user(uuid4().hex))
    with serving(settings) as url:
        person = Person(url, user_id, token_for(user_id))
        yield person
        person.http.close()


@contextlib.contextmanager
def never_reading(person: Person, session_id: str, turn: str) -> Iterator[socket.socket]:
    """A follower that reads the head of its answer and nothing more."""
    url = urlsplit(str(person.http.base_url))
    with socket.socket() as follower:
        follower.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        follower.connect((url.hostname, url.port))
        follower.sendall(
            f"GET {BASE}/sessions/{session_id}/turns/{turn} HTTP/1.1\r\nHost: {url.netloc}\r\n"
            f"Authorization: Bearer {person.token}\r\nAccept: text/event-stream\r\n\r\n".encode()
        )
        assert follower.recv(12) == b"HTTP/1.1 200"
        yield follower


def follows_again(person: Person, session_id: str, turn: str, seconds: float) -> bool:
    """Whether a slot is free within that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with stream(person, session_id, turn) as answer:
            if answer.status_code == 200:
                return True
        time.sleep(0.1)
    return False


@in_process
def test_stream__a_follower_that_never_reads_is_dropped(
    shared: Db, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "_PATIENCE_SECONDS", 1.0)
    with caller_of(replace(settings, max_streams_per_user=1), shared) as person:
        session_id = person.session()
        turn = begin(person, session_id)
        for n in range(40):  # more than what lies in the sockets' buffers
            assert flush(person, session_id, turn, n + 1, f"{n}" * 100_000).status_code == 200
        with never_reading(person, session_id, turn):
            with stream(person, session_id, turn) as answer:
                assert answer.status_code == 429
            assert follows_again(person, session_id, turn, 20)


def test_stream__a_follower_that_is_gone_gives_its_place_back_in_the_silence(shared: Db, settings: Settings) -> None:
    with caller_of(replace(settings, max_streams_per_user=1), shared) as person:
        session_id = person.session()
        turn = begin(person, session_id)
        with stream(person, session_id, turn) as answer:
            assert answer.status_code == 200
        # long before the next line would be sent to it
        assert follows_again(person, session_id, turn, turn_streams.SILENCE_SECONDS / 3)


def test_stream__no_connection_is_held_between_looks(shared: Db, mode: str) -> None:
    if mode == "postgrest":
        pytest.skip("PostgREST has the connections")
    with caller_of(settings_for(shared.api_dsn, pool_size=1, pool_timeout_seconds=2.0), shared) as person:
        session_id = person.session()
        turn = begin(person, session_id)
        with contextlib.ExitStack() as stack:
            answers = [stack.enter_context(stream(person, session_id, turn)) for _ in range(15)]
            for n in range(1, 6):
                assert flush(person, session_id, turn, n, "x").status_code == 200
            finish(person, session_id, turn)
            for answer in answers:
                assert [event["id"] for event in events(answer)] == ["1", "2", "3", "4", "5", "6"]


@in_process
def test_stream__ends_by_itself_and_is_gone_on_with(
    shared: Db, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_streams, "LIFE_SECONDS", 1.0)
    with caller_of(settings, shared) as person:
        session_id = person.session()
        turn = begin(person, session_id)
        flush(person, session_id, turn, 1, "a")
        with stream(person, session_id, turn) as answer:
            seen = list(events(answer))
        assert [event["id"] for event in seen] == ["1"]  # no end: the turn runs
        finish(person, session_id, turn)
        with stream(person, session_id, turn, **{"Last-Event-ID": seen[-1]["id"]}) as answer:
            assert [event["event"] for event in events(answer)] == ["end"]


@in_process
def test_stream__silence_is_broken(shared: Db, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert turn_streams.SILENCE_SECONDS <= 15
    assert turn_streams.LIFE_SECONDS <= 300
    monkeypatch.setattr(turn_streams, "SILENCE_SECONDS", 0.3)
    with caller_of(settings, shared) as person:
        session_id = person.session()
        turn = begin(person, session_id)
        with stream(person, session_id, turn) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("retry: ")
            assert [line for line, _ in zip(filter(None, lines), range(3), strict=False)] == [": "] * 3


def test_stream__a_follower_far_behind_gets_all_of_it(ada: Person) -> None:
    session_id = ada.session()
    turn = begin(ada, session_id)
    for n in range(12):
        flush(ada, session_id, turn, n * 900 + 1, *["x" * 200] * 900)
    with stream(ada, session_id, turn, **{"Last-Event-ID": "7"}) as answer:
        seen = events(answer)
        assert [int(event["id"]) for event, _ in zip(seen, range(10_793), strict=False)] == list(range(8, 10_801))


@in_process
def test_stream__of_many_followers_several_are_asked_for_at_once(
    shared: Db, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that each one's right to read is looked at every few seconds."""
    looks: list[float] = []
    real = turn_streams.look

    async def timed(*arguments: Any) -> Any:
        looks.append(time.monotonic())
        return await real(*arguments)

    monkeypatch.setattr(turn_streams, "look", timed)
    monkeypatch.setattr(turn_streams, "POLL_SECONDS", 0.5)
    with caller_of(replace(settings, max_streams_per_user=60), shared) as person:
        session_id = person.session()
        turn = begin(person, session_id)
        with contextlib.ExitStack() as stack:
            for _ in range(51):
                stack.enter_context(stream(person, session_id, turn))
            looks.clear()
            while len(looks) < 12:
                time.sleep(0.1)
            finish(person, session_id, turn)
    together, most = 1, 1
    for earlier, later in itertools.pairwise(looks):
        together = together + 1 if later - earlier < 0.3 else 1
        most = max(most, together)
    assert most >= 3
