"""sessions: create or get, list by keyset, change, delete, members, everything of one user."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.functions.api import Person, refused, token_for
from tests.support.database import Db


def test_create__with_everything(ada: Person) -> None:
    fields = {
        "key": "character-7",
        "name": "Café 🙂",
        "model": "some-model",
        "kind": "chat",
        "visibility": "shared",
        "expires_after_seconds": 86_400,
        "metadata": {"nested": {"list": [1, None]}},
        "upstream": {"provider": "x", "external_id": "y"},
    }
    session = ada.post("sessions", fields).json()
    assert {name: session[name] for name in fields} == fields
    assert (session["user_id"], session["status"], session["latest_number"]) == (ada.id, "idle", 0)
    assert "internal_id" not in session
    assert session.pop("created") is True
    listed = ada.get(f"/{session['id']}")
    assert {name: listed[name] for name in session} == session
    assert (listed["my_role"], listed["last_message"], listed["last_saved_at"]) == ("owner", None, None)


def test_create__expiry_by_kind(ada: Person) -> None:
    assert ada.post("sessions", {"kind": "chat"}).json()["expires_after_seconds"] == 1800
    assert ada.post("sessions", {"kind": "agent"}).json()["expires_after_seconds"] is None
    assert ada.post("sessions", {"kind": "chat", "expires_after_seconds": 0}).json()[
        "expires_after_seconds"
    ] in (None, 1800)


def test_create__one_for_each_key_and_owner(ada: Person, bob: Person) -> None:
    first = ada.session(key="k")
    assert ada.session(key="k", name="other") == first
    assert bob.session(key="k") != first
    assert ada.session() != ada.session()


def test_create__says_whether_it_was_made(ada: Person) -> None:
    own = str(uuid.uuid4())
    for fields in ({"key": "k"}, {"id": own}):
        made, there = ada.post("sessions", fields), ada.post("sessions", fields)
        assert (made.status_code, there.status_code) == (201, 200)
        assert there.json() == {**made.json(), "created": False}
    assert [ada.post("sessions", {}).status_code for _ in range(2)] == [201, 201]


def test_create__twenty_at_once_with_one_key_make_one(newcomer: Callable[[], Person]) -> None:
    ada = newcomer()
    with ThreadPoolExecutor(20) as pool:
        made = set(pool.map(lambda _: ada.session(key="same"), range(40)))
    assert len(made) == 1
    assert len(ada.get("")["sessions"]) == 1


def test_create__own_id_makes_a_retry_safe(ada: Person, bob: Person) -> None:
    own = str(uuid.uuid4())
    assert ada.session(id=own) == own
    assert ada.session(id=own) == own
    refused(bob.post("sessions", {"id": own}), "session_not_found")


def test_create__refuses_what_does_not_fit(ada: Person) -> None:
    for fields in ({"kind": "robot"}, {"name": 7}, {"user_id": ada.id}, {"visibility": "secret"}, {"key": ""},
                   {"name": "n" * 501}, {"expires_after_seconds": -1}, {"id": "x"}):  # fmt: skip
        refused(ada.post("sessions", fields), "invalid_request")
    refused(ada.post("sessions", {"metadata": [1]}), "invalid_argument")
    refused(ada.post("sessions", {"metadata": {"a": "x" * 70_000}}), "invalid_argument")
    assert ada.get("")["sessions"] == []


def test_list__pages_by_keyset_without_gaps_or_repeats(ada: Person) -> None:
    made = [ada.session(name=f"s{number}") for number in range(7)]
    pages = []
    query: dict[str, object] = {"limit": 3}
    while True:
        page = ada.get("", **query)
        pages.append([session["id"] for session in page["sessions"]])
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [session_id for page in pages for session_id in page] == made[::-1]
    exactly = ada.get("", limit=7)
    assert (len(exactly["sessions"]), exactly["next"]) == (7, None)


def test_list__filters(ada: Person) -> None:
    kept, put_away, running = (
        ada.session(name="Kept"),
        ada.session(name="Put away"),
        ada.session(name="100% run_ning"),
    )
    ada.request("PATCH", "sessions", f"/{put_away}", json={"archived": True})
    ada.request("PATCH", "sessions", f"/{running}", json={"status": "running"})

    def found(**query: str) -> set[str]:
        return {session["id"] for session in ada.get("", **query)["sessions"]}

    assert found() == {kept, running}
    assert found(archived="true") == {put_away}
    assert found(archived="all") == {kept, put_away, running}
    assert found(status="running") == {running}
    assert found(search="kEPt") == {kept}
    assert found(search="0% run_") == {running}
    assert found(search="%") == {running}


def test_list__shows_the_last_message_and_sizes(ada: Person) -> None:
    session_id = ada.session()
    saved = ada.saved(session_id, state={"messages": [{"role": "user", "content": "the very last words"}]})
    (listed,) = ada.get("")["sessions"]
    assert listed["last_message"] == "the very last words"
    assert listed["last_saved_at"] is not None
    assert (listed["latest_number"], listed["message_count"]) == (1, 1)
    assert listed["size_bytes"] == saved["size_bytes"]


def test_list__refuses_odd_queries(ada: Person) -> None:
    for query in (
        "limit=0", "limit=201", "limit=x", "limit=1.5", "limit=٣", "limit=1&limit=2", "cursor=x",
        "cursor=W10", "cursor=WyJ4IiwieSJd", "cursor=%ff", "archived=maybe", "status=odd",
        "page=2", "search=%00",
    ):  # fmt: skip
        refused(ada.request("GET", "sessions", f"?{query}"), "invalid_request")
    assert ada.request("GET", "sessions", "?forceFunctionRegion=eu-west-1").status_code == 200


def test_update__changes_only_what_was_sent(ada: Person) -> None:
    session_id = ada.session(name="before", model="m", metadata={"a": 1})
    before = ada.get(f"/{session_id}")
    after = ada.request("PATCH", "sessions", f"/{session_id}", json={"name": "after"}).json()
    changed = {name for name in after if after[name] != before[name]}
    assert changed <= {"name", "updated_at", "last_activity_at"}
    assert after["name"] == "after"
    emptied = ada.request("PATCH", "sessions", f"/{session_id}", json={"name": None, "metadata": None}).json()
    assert (emptied["name"], emptied["model"], emptied["metadata"]) == (None, "m", {})
    archived = ada.request("PATCH", "sessions", f"/{session_id}", json={"archived": True}).json()
    assert archived["archived_at"] is not None
    back = ada.request("PATCH", "sessions", f"/{session_id}", json={"archived": False}).json()
    assert back["archived_at"] is None
    timed = ada.request("PATCH", "sessions", f"/{session_id}", json={"expires_after_seconds": 90}).json()
    assert timed["expires_after_seconds"] == 90


def test_update__refuses_what_does_not_fit(ada: Person) -> None:
    session_id = ada.session()
    for fields in (
        {},
        {"key": "x"},
        {"status": "expired"},
        {"archived": "yes"},
        {"archived": None},
        {"latest_number": 9},
    ):
        refused(ada.request("PATCH", "sessions", f"/{session_id}", json=fields), "invalid_request")


def test_delete__is_for_good(ada: Person) -> None:
    session_id = ada.session()
    ada.saved(session_id, state={"a": 1})
    receipt = ada.request("DELETE", "sessions", f"/{session_id}")
    assert (receipt.status_code, receipt.json()) == (200, {"snapshots": 1, "parts": 1, "turns": 0, "members": 0})
    refused(ada.restore(session_id), "session_not_found")
    refused(ada.request("DELETE", "sessions", f"/{session_id}"), "session_not_found")


def test_members__come_and_go(ada: Person, bob: Person) -> None:
    session_id = ada.session(visibility="shared")
    assert ada.get(f"/{session_id}/members") == {"members": []}
    path = f"/{session_id}/members/{bob.id}"
    made = ada.request("PUT", "sessions", path, json={"role": "viewer"}).json()
    assert (made["user_id"], made["role"]) == (bob.id, "viewer")
    assert bob.request("POST", "sessions", f"/{session_id}/invitation").status_code == 200
    assert bob.get(f"/{session_id}")["my_role"] == "viewer"
    assert ada.request("PUT", "sessions", path, json={"role": "editor"}).json()["role"] == "editor"
    assert [member["role"] for member in ada.get(f"/{session_id}/members")["members"]] == ["editor"]
    assert [session["id"] for session in bob.get("")["sessions"]] == [session_id]
    assert bob.request("DELETE", "sessions", path).status_code == 204
    assert bob.request("GET", "sessions", f"/{session_id}").status_code == 404
    refused(ada.request("PUT", "sessions", path, json={"role": "owner"}), "invalid_request")
    refused(
        ada.request("PUT", "sessions", f"/{session_id}/members/x", json={"role": "viewer"}), "invalid_request"
    )


def test_delete_my_data__asks_twice_and_gives_a_receipt(ada: Person, bob: Person) -> None:
    mine, shared = ada.session(), bob.session(visibility="shared")
    ada.saved(mine, state={"a": 1, "b": {"c": 2}})
    bob.share(shared, ada, "viewer")
    refused(ada.request("DELETE", "sessions", "/me"), "invalid_request")
    refused(ada.request("DELETE", "sessions", "/me?confirm=yes"), "invalid_request")
    assert len(ada.get("", archived="all")["sessions"]) == 2
    receipt = ada.request("DELETE", "sessions", "/me?confirm=delete-my-data").json()
    assert receipt == {"sessions": 1, "snapshots": 1, "parts": 3, "turns": 0, "memberships": 1, "done": True}
    assert ada.get("", archived="all")["sessions"] == []
    assert bob.get(f"/{shared}")["id"] == shared


def test_user_who_never_came_before__needs_no_registration(people: Callable[..., Person], shared: Db) -> None:
    user_id = str(shared.user(uuid.uuid4().hex))
    assert people(user_id, token_for(user_id)).get("") == {"sessions": [], "next": None}


def test_sessions__that_belong_to_another(ada: Person, bob: Person) -> None:
    parent = ada.session(name="trip")
    child = ada.session(name="research", parent_id=parent)
    assert [row["id"] for row in ada.get("", parent_id=parent)["sessions"]] == [child]
    assert child not in [row["id"] for row in ada.get("", limit=200)["sessions"]]
    assert ada.get(f"/{child}")["parent_id"] == parent
    refused(bob.post("sessions", {"parent_id": parent}), "session_not_found")
    refused(ada.request("GET", "sessions", "?parent_id=x"), "invalid_request")
    ada.request("DELETE", "sessions", f"/{parent}")
    refused(ada.request("GET", "sessions", f"/{child}"), "session_not_found")
