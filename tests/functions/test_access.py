"""Who may do what over HTTP: owner, editor, viewer, stranger, anonymous, service."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.functions.api import Person

#: What is tried: how, and the statuses for owner, editor, viewer, stranger, anonymous and service.
Attempt = Callable[[Person, str, str], httpx.Response]


def call(method: str, path: str, body: Any = None) -> Attempt:
    """A request to the function sessions; {other} is a user's id."""

    def attempt(who: Person, session_id: str, other: str) -> httpx.Response:
        place = f"/{session_id}{path.replace('{other}', other)}"
        return who.request(method, "sessions", place, **({} if body is None else {"json": body}))

    return attempt


ATTEMPTS: dict[str, tuple[Attempt, tuple[int, int, int, int, int, int]]] = {
    "save": (
        lambda who, sid, _: who.save(sid, changes={"set": {"/x": who.id}}),
        (200, 200, 403, 404, 401, 401),
    ),
    "restore": (lambda who, sid, _: who.restore(sid), (200, 200, 200, 404, 401, 401)),
    "since": (lambda who, sid, _: who.restore(sid, since=1), (200, 200, 200, 404, 401, 401)),
    "read": (call("GET", ""), (200, 200, 200, 404, 401, 401)),
    "rename": (call("PATCH", "", {"name": "new"}), (200, 200, 403, 404, 401, 401)),
    "publish": (call("PATCH", "", {"visibility": "shared"}), (200, 403, 403, 404, 401, 401)),
    "members": (call("GET", "/members"), (200, 200, 200, 404, 401, 401)),
    "invite": (call("PUT", "/members/{other}", {"role": "viewer"}), (200, 403, 403, 404, 401, 401)),
    "offer": (call("PUT", "/transfer", {"user_id": None}), (200, 403, 403, 404, 401, 401)),
    "accept": (call("POST", "/invitation"), (404, 200, 200, 404, 401, 401)),
    "take_over": (call("POST", "/transfer"), (404, 404, 404, 404, 401, 401)),
    "put_out": (call("DELETE", "/members/{other}"), (204, 403, 403, 404, 401, 401)),
    "snapshots": (call("GET", "/snapshots"), (200, 200, 200, 404, 401, 401)),
    "label": (call("PUT", "/snapshots/1/label", {"label": "l"}), (200, 200, 403, 404, 401, 401)),
    "unlabel": (call("DELETE", "/snapshots/1/label"), (204, 204, 403, 404, 401, 401)),
    "diff": (call("GET", "/diff?from=0&to=1"), (200, 200, 200, 404, 401, 401)),
    "revert": (call("POST", "/revert", {"number": 1}), (200, 200, 403, 404, 401, 401)),
    "fork": (call("POST", "/fork", {}), (201, 201, 201, 404, 401, 401)),
    "messages": (call("GET", "/messages"), (200, 200, 200, 404, 401, 401)),
    "append": (call("POST", "/messages", {"messages": ["m"]}), (201, 201, 403, 404, 401, 401)),
    "export": (call("GET", "/export"), (200, 200, 200, 404, 401, 401)),
    "delete": (call("DELETE", ""), (200, 403, 403, 404, 401, 401)),
}


@pytest.mark.parametrize("what", ATTEMPTS)
def test_access(
    what: str, ada: Person, newcomer: Callable[[], Person], nobody: Person, service: Person, eve: Person
) -> None:
    attempt, expected = ATTEMPTS[what]
    editor, viewer, other = newcomer(), newcomer(), newcomer()
    session_id = ada.session(visibility="shared")
    ada.saved(session_id, state={"a": 1, "messages": ["first"]})
    for who, role in ((editor, "editor"), (viewer, "viewer")):
        ada.share(session_id, who, role)
    # The owner last, who may do what nobody after would find as it was.
    people = {
        "service": service,
        "anonymous": nobody,
        "stranger": eve,
        "viewer": viewer,
        "editor": editor,
        "owner": ada,
    }
    seen = {name: attempt(who, session_id, str(other.id)).status_code for name, who in people.items()}
    assert tuple(seen[name] for name in reversed(people)) == expected


@pytest.mark.parametrize("what", ATTEMPTS)
def test_missing_deleted_and_foreign__answer_byte_for_byte_alike(what: str, ada: Person, eve: Person) -> None:
    attempt, _ = ATTEMPTS[what]
    foreign, deleted, never = ada.session(), eve.session(), str(uuid.uuid4())
    ada.saved(foreign, state={"a": 1})
    eve.saved(deleted, state={"a": 1})
    eve.request("DELETE", "sessions", f"/{deleted}")
    answers = [attempt(eve, session_id, str(ada.id)) for session_id in (foreign, deleted, never)]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert len({answer.content for answer in answers}) == 1
    headers = [{k: v for k, v in a.headers.items() if k not in ("x-request-id", "date")} for a in answers]
    assert headers[0] == headers[1] == headers[2]


def test_malformed_id__is_no_session(ada: Person) -> None:
    missing = ada.request("GET", "sessions", f"/{uuid.uuid4()}")
    for odd in ("x", "1", "me", "%00", "..%2f..", "00000000-0000-0000-0000-00000000000g"):
        answer = ada.request("GET", "sessions", f"/{odd}")
        if odd == "me":
            assert answer.status_code == 405
        elif answer.json()["code"] != "not_found":
            assert answer.content == missing.content


def test_public_session__is_read_by_any_signed_in_user_and_written_by_none(ada: Person, eve: Person) -> None:
    session_id = ada.session(visibility="public")
    ada.saved(session_id, state={"a": 1})
    assert eve.state(session_id) == {"a": 1}
    assert eve.get(f"/{session_id}")["my_role"] == "viewer"
    assert eve.save(session_id, state={}).status_code == 403
    assert eve.get("")["sessions"] == []


def test_members__of_a_session_made_private_again_are_strangers(ada: Person, bob: Person) -> None:
    session_id = ada.session(visibility="shared")
    ada.share(session_id, bob, "editor")
    ada.request("PATCH", "sessions", f"/{session_id}", json={"visibility": "private"})
    assert bob.restore(session_id).status_code == 404
    assert bob.save(session_id, state={}).status_code == 404


def test_cleanup__is_for_the_service_only(ada: Person, nobody: Person, service: Person) -> None:
    statuses = [who.post("cleanup-old-snapshots", {}).status_code for who in (ada, nobody, service)]
    assert statuses == [403, 401, 200]
