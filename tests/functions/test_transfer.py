"""sessions: out as a file and in again."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from asyouwere.errors import Gone
from tests.functions.api import BASE, Person, refused
from tests.functions.image import in_process
from tests.support.database import Db

STATE = (
    r'{"":{"a/b":{"c~d":[1.0,1e2,{"z":1,"a":2,"a":3}]}},"memory":{"\u0000":"\ud800","n":12345678901234567890123},'
    r'"messages":[{"role":"user","content":"日本 🙂 שלום"},"\\u0000",null,[]],"step":1}'
)


def with_history(ada: Person) -> str:
    """A session with a label, an old number and odd content."""
    session_id = ada.session(name="Out and in", model="m", metadata={"k": [1]}, kind="chat", key="only mine")
    assert ada.save_text(session_id, STATE, ',"label":"first"').status_code == 200
    ada.saved(session_id, changes={"append": {"/messages": ["more"]}, "remove": ["/step"]})
    ada.saved(session_id, changes={"set": {"/memory/n": 1}})
    return session_id


def many_snapshots(db: Db, session_id: str, first: int, last: int, metadata_bytes: int) -> None:
    """Those numbers, as if it had been saved so often."""
    db.superuser.execute(
        "insert into public.session_snapshots (session_id, number, size_bytes, changed_parts, message_count, metadata) "
        "select %(session)s, n, 1, 1, 0, jsonb_build_object('a', repeat('m', %(size)s)) "
        "from generate_series(%(first)s::int, %(last)s::int) n",
        {"session": session_id, "first": first, "last": last, "size": metadata_bytes},
    )
    db.superuser.execute(
        "update public.free_agent_sessions set latest_number = %s where id = %s", (last, session_id))


def test_export_and_import__give_the_same_session_to_somebody_else(ada: Person, bob: Person) -> None:
    session_id = with_history(ada)
    exported = ada.request("GET", "sessions", f"/{session_id}/export")
    assert exported.headers["content-disposition"].startswith('attachment; filename="')
    imported = bob.post("sessions", exported.content, "/import")
    assert imported.status_code == 201, imported.text
    assert imported.json()["created"] is True
    copy = imported.json()
    assert copy["id"] != session_id
    assert (copy["user_id"], copy["visibility"], copy["key"]) == (bob.id, "private", None)
    assert (copy["name"], copy["model"], copy["metadata"], copy["kind"]) == (
        "Out and in",
        "m",
        {"k": [1]},
        "chat",
    )
    for wanted in ({}, {"number": 1}, {"number": 2}, {"label": "first"}):
        assert bob.state_text(copy["id"], **wanted) == ada.state_text(session_id, **wanted)
    mine, theirs = (
        who.get(f"/{at}/snapshots")["snapshots"] for who, at in ((ada, session_id), (bob, copy["id"]))
    )
    for before, after in zip(mine, theirs, strict=True):
        assert {**before, "session_id": "", "created_by": ""} == {**after, "session_id": "", "created_by": ""}
    again = bob.request("GET", "sessions", f"/{copy['id']}/export").json()
    assert again["parts"] == exported.json()["parts"]
    assert bob.saved(copy["id"], changes={"set": {"/memory/n": 2}}, base=3)["number"] == 4


def test_export__markdown_is_for_reading(ada: Person) -> None:
    session_id = with_history(ada)
    markdown = ada.request("GET", "sessions", f"/{session_id}/export?format=markdown")
    assert markdown.headers["content-type"] == "text/markdown; charset=utf-8"
    assert "日本 🙂 שלום" in markdown.text
    assert ".md" in markdown.headers["content-disposition"]


def test_export__pdf_is_one(ada: Person) -> None:
    pytest.importorskip("typst", reason="needs typst, which makes the PDF")
    session_id = with_history(ada)
    pdf = ada.request("GET", "sessions", f"/{session_id}/export?format=pdf")
    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF-")
    assert len(pdf.content) > 5000


def test_export__other_formats_are_refused(ada: Person) -> None:
    session_id = ada.session()
    refused(ada.request("GET", "sessions", f"/{session_id}/export?format=docx"), "invalid_request")


def test_export__session_never_saved(ada: Person, bob: Person) -> None:
    session_id = ada.session()
    exported = ada.request("GET", "sessions", f"/{session_id}/export")
    copy = bob.post("sessions", exported.content, "/import").json()
    assert bob.state(copy["id"]) == {}


def test_export__comes_in_pages_that_make_one_document(ada: Person, bob: Person) -> None:
    session_id = ada.session()
    messages = [{"role": "user", "content": f"word{n} " * 100} for n in range(2000)]
    for start in range(0, 2000, 500):
        ada.saved(session_id, changes={"append": {"/messages": messages[start : start + 500]}})
    exported = ada.request("GET", "sessions", f"/{session_id}/export")
    assert "content-length" not in exported.headers
    assert len(exported.json()["parts"]) == 2001
    markdown = ada.request("GET", "sessions", f"/{session_id}/export?format=markdown").text
    assert [f"word{n} " in markdown for n in range(2000)] == [True] * 2000
    copy = bob.post("sessions", exported.content, "/import")
    assert bob.state(copy.json()["id"])["messages"] == messages


def test_export__very_many_snapshots_come_in_pages_too(ada: Person, bob: Person, shared: Db) -> None:
    session_id = ada.session()
    ada.saved(session_id, state={"messages": ["hello"]})
    many_snapshots(shared, session_id, 2, 700, 8000)
    ada.saved(session_id, changes={"append": {"/messages": ["more"]}})
    exported = ada.request("GET", "sessions", f"/{session_id}/export")
    document = exported.json()
    assert [row["number"] for row in document["snapshots"]] == list(range(1, 702))
    assert len(document["snapshots"][1]["metadata"]["a"]) == 8000
    assert [part[5] for part in document["parts"]] == [[], "hello", "more"]
    copy = bob.post("sessions", exported.content, "/import").json()
    assert bob.state(copy["id"]) == {"messages": ["hello", "more"]}
    shown = ada.request("GET", "sessions", f"/{session_id}/export?format=markdown").text
    assert "701 kept, numbers 1 to 701" in shown


def test_export__one_pdf_at_a_time_for_one_caller(ada: Person, bob: Person) -> None:
    """The others are told to wait at once, and a save beside them is not held up."""
    pytest.importorskip("typst", reason="needs typst, which makes the PDF")
    session_id = with_history(ada)
    paths = [f"/{session_id}/export?format=pdf"] * 6
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda path: ada.request("GET", "sessions", path), paths))
    codes = sorted(answer.status_code for answer in answers)
    assert codes[0] == 200
    assert codes[-1] == 429
    for answer in answers:
        if answer.status_code == 429:
            refused(answer, "rate_limited")
            assert int(answer.headers["retry-after"]) > 0
    assert ada.request("GET", "sessions", paths[0]).status_code == 200
    refused(bob.request("GET", "sessions", paths[0]), "session_not_found")


@in_process
def test_export__ends_half_way_if_clean_up_comes_in_between(
    ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a document that looks whole and is not."""
    from asyouwere.service.handlers import exports

    session_id = ada.session()
    ada.saved(session_id, state={"messages": list(range(2000))})
    pages = exports._pages

    async def broken(call: Any, *, latest_only: bool) -> AsyncGenerator[list[bytes], None]:
        async for page in pages(call, latest_only=latest_only):
            yield page
            raise Gone("snapshot_gone")

    monkeypatch.setattr(exports, "_pages", broken)
    with pytest.raises(httpx.RemoteProtocolError):
        ada.request("GET", "sessions", f"/{session_id}/export")
    monkeypatch.undo()
    assert ada.request("GET", "sessions", f"/{session_id}/export").status_code == 200


def test_import__refuses_what_is_no_export(ada: Person, bob: Person) -> None:
    exported = ada.request("GET", "sessions", f"/{with_history(ada)}/export").json()
    part = exported["parts"][0]

    def changed(**changes: object) -> dict[str, object]:
        return {**exported, **changes}

    for broken in (
        {},
        changed(format="other"),
        changed(version=2),
        changed(session=[]),
        changed(snapshots={}),
        changed(parts={}),
        changed(parts=[["/a/"]]),
        changed(parts=[[*part[:1], "0", *part[2:]]]),
        changed(parts=[[7, *part[1:]]]),
        changed(parts=[[part[0], 2**40, *part[2:]]]),
        changed(parts=[[part[0], True, *part[2:]]]),
        changed(extra=1),
    ):
        refused(bob.post("sessions", broken, "/import"), "invalid_request")
    for broken in (
        changed(parts=[["no slash", *part[1:]]]),
        changed(parts=[[*part[:4], "yesterday-ish", part[5]]]),
        changed(parts=[part, part]),
        changed(snapshots=[]),
        changed(snapshots=[{"number": "x"}]),
        changed(session={"kind": "robot"}),
        changed(parts=exported["parts"][1:]),
    ):
        answer = bob.post("sessions", broken, "/import")
        assert answer.status_code in (409, 422), answer.text
    refused(bob.post("sessions", changed(parts=[["\0", *part[1:]]]), "/import"), "not_representable")
    for name in ("\0", "\ud800"):
        refused(bob.post("sessions", changed(session={"name": name}), "/import"), "not_representable")
    assert bob.get("")["sessions"] == []


def test_import__an_answer_cut_within_a_character_comes_back(ada: Person, bob: Person) -> None:
    session_id = ada.session()
    turn = str(uuid.uuid4())
    assert ada.post("sessions", {"turn_id": turn}, f"/{session_id}/turns").status_code == 201
    flush = '{"from_seq":1,"chunks":["\\ud83d","\\ude00 a\\u0000b"]}'
    assert ada.post("sessions", flush, f"/{session_id}/turns/{turn}/chunks").status_code == 200
    exported = ada.request("GET", "sessions", f"/{session_id}/export")
    copy = bob.post("sessions", exported.content, "/import")
    assert copy.status_code == 201, copy.text
    assert bob.get(f"/{copy.json()['id']}/turns/{turn}")["chunks"] == ["\ud83d", "\ude00 a\0b"]


def test_import__deep_parts_come_back(ada: Person, bob: Person) -> None:
    session_id = ada.session()
    deep = '{"a":' + "[" * 63 + "]" * 63 + "}"
    assert ada.save_text(session_id, deep).status_code == 200
    exported = ada.request("GET", "sessions", f"/{session_id}/export")
    copy = bob.post("sessions", exported.content, "/import")
    assert copy.status_code == 201, copy.text
    assert bob.state_text(copy.json()["id"]) == deep


def test_import__may_be_larger_than_a_save(ada: Person, bob: Person) -> None:
    session_id = ada.session()
    words = "it was the best of times, it was the worst of times " * 60_000
    for _ in range(4):
        ada.saved(session_id, changes={"append": {"/messages": [words]}})
    exported = ada.request("GET", "sessions", f"/{session_id}/export")
    assert len(exported.content) > 10 * 1024 * 1024
    copy = bob.post("sessions", exported.content, "/import")
    assert copy.status_code == 201, copy.text
    assert bob.state(copy.json()["id"])["messages"] == [words] * 4


def test_export__id_that_is_none(ada: Person) -> None:
    refused(ada.request("GET", "sessions", f"/{uuid.uuid4()}/export?format=pdf"), "session_not_found")


def test_import__json_is_checked_like_any(ada: Person) -> None:
    refused(ada.post("sessions", json.dumps({"format": "asyouwere-session"})[:-1], "/import"), "invalid_json")


def test_export__slots_are_given_back_whoever_leaves(ada: Person) -> None:
    """A client that goes away in the middle keeps neither its slot nor the pages coming."""
    session_id = ada.session()
    for _ in range(3):
        ada.saved(session_id, changes={"append": {"/messages": ["x" * 900_000] * 9}})
    for _ in range(2):
        with ada.http.stream("GET", f"{BASE}/sessions/{session_id}/export") as answer:
            assert answer.status_code == 200
            next(answer.iter_bytes(1000))
    deadline = time.monotonic() + 20
    while (answer := ada.request("GET", "sessions", f"/{session_id}/export")).status_code == 429:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(answer.json()["parts"]) == 28
