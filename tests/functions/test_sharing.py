"""sessions: invitations, and sessions that change hands."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from tests.functions.api import Person, refused


def test_invitations__are_listed_by_keyset_and_accepted(ada: Person, newcomer: Callable[[], Person]) -> None:
    guest = newcomer()
    sessions = [ada.session(name=f"n{n}") for n in range(3)]
    for session_id in sessions:
        path = f"/{session_id}/members/{guest.id}"
        assert ada.request("PUT", "sessions", path, json={"role": "editor"}).json()["accepted_at"] is None
        refused(guest.restore(session_id), "session_not_found")
    first = guest.get("/invitations", limit=2)
    second = guest.get("/invitations", limit=2, cursor=first["next"])
    listed = first["invitations"] + second["invitations"]
    assert [each["session_id"] for each in listed] == sessions[::-1]
    assert {(each["role"], each["invited_by"]) for each in listed} == {("editor", ada.id)}
    assert second["next"] is None
    refused(guest.request("GET", "sessions", "/invitations?cursor=x"), "invalid_request")
    accepted = guest.request("POST", "sessions", f"/{sessions[0]}/invitation")
    assert accepted.json()["accepted_at"] is not None
    assert guest.request("DELETE", "sessions", f"/{sessions[1]}/members/{guest.id}").status_code == 204
    assert [each["session_id"] for each in guest.get("/invitations")["invitations"]] == [sessions[2]]
    assert [each["id"] for each in guest.get("")["sessions"]] == [sessions[0]]
    refused(guest.request("POST", "sessions", f"/{sessions[1]}/invitation"), "invitation_not_found")
    refused(guest.request("POST", "sessions", f"/{uuid.uuid4()}/invitation"), "invitation_not_found")


def test_sharing__with_an_id_that_no_user_has(ada: Person, bob: Person) -> None:
    session_id, unknown = ada.session(), str(uuid.uuid4())
    member = f"/{session_id}/members/{unknown}"
    transfer = f"/{session_id}/transfer"
    refused(ada.request("PUT", "sessions", member, json={"role": "viewer"}), "user_not_found")
    refused(ada.request("PUT", "sessions", transfer, json={"user_id": unknown}), "user_not_found")
    refused(bob.request("PUT", "sessions", member, json={"role": "viewer"}), "session_not_found")
    refused(bob.request("PUT", "sessions", transfer, json={"user_id": unknown}), "session_not_found")
    assert ada.get(f"/{session_id}/members") == {"members": []}


def test_transfer__is_offered_and_accepted(ada: Person, bob: Person, eve: Person) -> None:
    session_id = ada.session(key=str(uuid.uuid4()))
    ada.saved(session_id, state={"a": 1})
    path = f"/{session_id}/transfer"
    assert ada.request("PUT", "sessions", path, json={"user_id": bob.id}).json() == {
        "session_id": session_id,
        "user_id": bob.id,
    }
    refused(eve.request("POST", "sessions", path), "invitation_not_found")
    assert ada.request("PUT", "sessions", path, json={"user_id": None}).json()["user_id"] is None
    refused(bob.request("POST", "sessions", path), "invitation_not_found")
    ada.request("PUT", "sessions", path, json={"user_id": bob.id})
    assert ("owner", session_id) in {(i["role"], i["session_id"]) for i in bob.get("/invitations")["invitations"]}
    assert bob.request("POST", "sessions", path).json()["user_id"] == bob.id
    assert bob.state(session_id) == {"a": 1}
    refused(ada.restore(session_id), "session_not_found")


def test_claim__takes_a_guests_sessions_once(newcomer: Callable[[], Person]) -> None:
    guest, account = newcomer(), newcomer()
    sessions = {guest.session(key="k"), guest.session()}
    account.session(key="k")
    offer = guest.request("POST", "sessions", "/offer")
    assert offer.status_code == 201
    body = {"code": offer.json()["code"]}
    refused(guest.request("POST", "sessions", "/claim", json=body), "offer_not_found")
    assert account.request("POST", "sessions", "/claim", json=body).json() == {"sessions": 2, "new_keys": 1}
    assert sessions < {each["id"] for each in account.get("")["sessions"]}
    assert guest.get("")["sessions"] == []
    refused(account.request("POST", "sessions", "/claim", json=body), "offer_not_found")
