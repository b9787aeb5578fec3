"""Turns over HTTP: begun, flushed, looked at, stopped, finished; in both modes."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.functions.api import Person
from tests.functions.turns import begin, finish, flush, stream
from tests.support.database import Db


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


def test_turn__ids_of_strangers_open_nothing(ada: Person, eve: Person) -> None:
    """The id of a turn is no key: it belongs to its session, whose rules hold."""
    own, foreign = ada.session(), eve.session()
    turn = begin(eve, foreign)
    flush(eve, foreign, turn, 1, "eve's")
    for session_id, code in ((foreign, "session_not_found"), (own, "turn_not_found")):
        at = f"/{session_id}/turns/{turn}"
        answers = [
            ada.request("GET", "sessions", at),
            flush(ada, session_id, turn, 2, "x"),
            finish(ada, session_id, turn),
            ada.request("POST", "sessions", f"{at}/stop"),
        ]
        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, code)] * 4
        with stream(ada, session_id, turn) as answer:
            assert (answer.status_code, answer.read() and answer.json()["code"]) == (404, code)
    assert ada.post("sessions", {"turn_id": turn}, f"/{own}/turns").json()["created"] is True  # a turn of its own
    flush(ada, own, turn, 1, "ada's")
    got = eve.request("GET", "sessions", f"/{foreign}/turns/{turn}").json()
    assert (got["chunks"], got["next_seq"]) == (["eve's"], 2)


@pytest.mark.parametrize(
    ("chunks", "status", "code"),
    [
        ("[" + ",".join(['""'] * 1001) + "]", 413, "too_large"),
        ('["' + "x" * 270_000 + '"]', 413, "too_large"),
        ("[" * 500 + "]" * 500, 422, "nesting_too_deep"),
        ("[" * 100_000 + "]" * 100_000, 422, "nesting_too_deep"),
        ("[1e999]", 422, "number_out_of_range"),
        ("[" + "9" * 5000 + "]", 422, "number_out_of_range"),
        ("[,]", 422, "invalid_json"),
        ('["\\ud800', 422, "invalid_json"),
        ("{}", 422, "invalid_request"),
    ],
)
def test_chunks__bombs(ada: Person, chunks: str, status: int, code: str) -> None:
    session_id = ada.session()
    turn = begin(ada, session_id)
    body = f'{{"from_seq":1,"chunks":{chunks}}}'
    answer = ada.post("sessions", body, f"/{session_id}/turns/{turn}/chunks")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert flush(ada, session_id, turn, 1, "still fine").status_code == 200


def test_chunks__without_end(ada: Person, shared: Db) -> None:
    session_id = ada.session()
    turn = begin(ada, session_id)
    shared.superuser.execute("update asyouwere.settings set max_turn_bytes = 65536")
    try:
        sent = 0
        while (answer := flush(ada, session_id, turn, sent + 1, *[""] * 100)).status_code == 200:
            sent += 100
            assert sent < 2000
    finally:
        shared.superuser.execute("update asyouwere.settings set max_turn_bytes = default")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert finish(ada, session_id, turn, status="failed").status_code == 200


@pytest.mark.parametrize("seconds", [31_536_000, 301, 0, -1, 1e9, "30", None])
def test_begin__a_lease_is_short(ada: Person, seconds: Any) -> None:
    session_id = ada.session()
    answer = ada.post("sessions", {"turn_id": str(uuid4()), "lease_seconds": seconds}, f"/{session_id}/turns")
    assert answer.status_code == 422
