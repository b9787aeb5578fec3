"""Turns over HTTP: begun, flushed, followed as JSON and as an event stream, finished; in both modes."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.functions.api import BASE, Person, serving, settings_for, token_for
from tests.support.database import Db

Events = list[dict[str, str]]


def begin(person: Person, session_id: str, **fields: Any) -> str:
    turn = str(uuid4())
    answer = person.post("sessions", {"turn_id": turn, **fields}, f"/{session_id}/turns")
    assert answer.status_code == 201, answer.text
    return turn


def flush(person: Person, session_id: str, turn: str, from_seq: int, *chunks: Any) -> httpx.Response:
    return person.post(
        "sessions", {"from_seq": from_seq, "chunks": list(chunks)}, f"/{session_id}/turns/{turn}/chunks"
    )


def finish(person: Person, session_id: str, turn: str, **fields: Any) -> httpx.Response:
    return person.post("sessions", fields, f"/{session_id}/turns/{turn}/finish")


@contextlib.contextmanager
def stream(person: Person, session_id: str, turn: str, **headers: str) -> Iterator[httpx.Response]:
    path = f"{BASE}/sessions/{session_id}/turns/{turn}"
    with person.http.stream("GET", path, headers={"Accept": "text/event-stream", **headers}) as answer:
        yield answer


def events(answer: httpx.Response) -> Iterator[dict[str, str]]:
    """The events as EventSource would read them."""
    event: dict[str, str] = {}
    for line in answer.iter_lines():
        if not line:
            if "data" in event:
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = f"{event[name]}\n{value}" if name == "data" and name in event else value


def test_latest_turn__is_the_running_one_or_the_last(ada: Person, eve: Person) -> None:
    session_id = ada.session()
    latest = f"/{session_id}/turns/latest"
    none = ada.request("GET", "sessions", latest)
    first = begin(ada, session_id)
    flush(ada, session_id, first, 1, "a", "b")

    running = ada.get(latest, after=1)
    finish(ada, session_id, first)
    over = ada.get(latest)
    second = begin(ada, session_id)

    assert (none.status_code, none.json()["code"]) == (404, "turn_not_found")
    assert (running["id"], running["status"], running["chunks"]) == (first, "running", ["b"])
    assert (over["id"], over["status"], over["chunks"]) == (first, "done", ["a", "b"])
    assert ada.get(latest)["id"] == second
    assert eve.request("GET", "sessions", latest).json()["code"] == "session_not_found"


def test_turn__from_begin_to_finish(ada: Person) -> None:
    session_id = ada.session()
    turn = begin(ada, session_id)
    again = ada.post("sessions", {"turn_id": turn}, f"/{session_id}/turns")
    assert (again.status_code, again.json()["created"]) == (200, False)
    assert flush(ada, session_id, turn, 1, "Green", " or").json() == {"next_seq": 3, "stop": False}
    assert flush(ada, session_id, turn, 3, {"n": 1.5}).json() == {"next_seq": 4, "stop": False}
    got = ada.request("GET", "sessions", f"/{session_id}/turns/{turn}", params={"after": "1"})
    assert got.json()["chunks"] == [" or", {"n": 1.5}]
    stopped = ada.request("POST", "sessions", f"/{session_id}/turns/{turn}/stop")
    assert stopped.json()["status"] == "running"
    assert flush(ada, session_id, turn, 4).json() == {"next_seq": 4, "stop": True}
    saved = finish(ada, session_id, turn, status="stopped")
    assert (saved.json()["number"], saved.json()["replayed"]) == (1, False)
    assert finish(ada, session_id, turn, status="stopped").json()["replayed"] is True
    (message,) = ada.request("GET", "sessions", f"/{session_id}/messages").json()["messages"]
    assert message["body"] == {"role": "assistant", "content": "Green or", "status": "stopped"}


def test_turn__refusals(ada: Person, eve: Person, nobody: Person) -> None:
    session_id = ada.session()
    turn = begin(ada, session_id)
    running = ada.post("sessions", {"turn_id": str(uuid4())}, f"/{session_id}/turns")
    assert (running.status_code, running.json()["code"], running.json()["turn"]) == (409, "turn_running", turn)
    gap = flush(ada, session_id, turn, 5, "x")
    assert (gap.status_code, gap.json()["code"], gap.json()["next_seq"]) == (409, "turn_gap", 1)
    for chunks in ({"a": 1}, "x"):
        answer = ada.post("sessions", {"from_seq": 1, "chunks": chunks}, f"/{session_id}/turns/{turn}/chunks")
        assert answer.status_code == 422
    for somebody, status in ((eve, 404), (nobody, 401)):
        assert flush(somebody, session_id, turn, 1, "x").status_code == status
        assert finish(somebody, session_id, turn).status_code == status
        assert somebody.request("POST", "sessions", f"/{session_id}/turns/{turn}/stop").status_code == status
        assert somebody.request("GET", "sessions", f"/{session_id}/turns/{turn}").status_code == status
        with stream(somebody, session_id, turn) as answer:
            assert answer.status_code == status
    for other in (str(uuid4()), "x"):
        missing = ada.request("GET", "sessions", f"/{session_id}/turns/{other}")
        assert (missing.status_code, missing.json()["code"]) == (404, "turn_not_found")
    finish(ada, session_id, turn)
    over = flush(ada, session_id, turn, 1, "x")
    assert (over.status_code, over.json()["code"], over.json()["turn_status"]) == (409, "turn_over", "done")


def test_chunks__every_character_arrives(ada: Person) -> None:
    session_id = ada.session()
    turn = begin(ada, session_id)
    body = '{"from_seq": 1, "chunks": ["half \\ud83d", "\\ude00 \\u0000", 1.50, "ü\\n"]}'
    assert ada.post("sessions", body, f"/{session_id}/turns/{turn}/chunks").json()["next_seq"] == 5
    finish(ada, session_id, turn)
    text = ada.request("GET", "sessions", f"/{session_id}/turns/{turn}").text
    assert '["half \\ud83d","\\ude00 \\u0000",1.50,"ü\\n"]' in text
    (message,) = ada.request("GET", "sessions", f"/{session_id}/messages").json()["messages"]
    assert message["body"]["content"] == "half 😀 \x00ü\n"


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


def test_stream__so_many_and_no_more(shared: Db, newcomer: Callable[[], Person]) -> None:
    settings = settings_for(shared.api_dsn, max_streams_per_user=2)
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


def test_stream__one_look_for_all_followers(shared: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    from asyouwere.service.handlers import turn_streams

    looks = 0
    real = turn_streams.look

    async def counted(*arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        return await real(*arguments)

    monkeypatch.setattr(turn_streams, "look", counted)
    monkeypatch.setattr(turn_streams, "SILENCE_SECONDS", 0.5)
    user_id = str(shared.user(uuid4().hex))
    with serving(settings_for(shared.api_dsn)) as url:
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
