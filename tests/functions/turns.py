"""Turns over HTTP in few words, for the tests of the functions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx

from tests.functions.api import BASE, Person


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

    assert (none.status_code, none.json()) == (200, None)
    assert (running["id"], running["status"], running["chunks"]) == (first, "running", ["b"])
    assert (over["id"], over["status"], over["chunks"]) == (first, "done", ["a", "b"])
    assert ada.get(latest)["id"] == second
    assert eve.request("GET", "sessions", latest).json()["code"] == "session_not_found"
