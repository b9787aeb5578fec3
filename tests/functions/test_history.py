"""sessions: snapshots, labels, differences, going back, branching off; messages by position."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.functions.api import Person, refused


def with_history(ada: Person, numbers: int) -> str:
    """A session whose snapshot n holds {"n": n}."""
    session_id = ada.session()
    for number in range(1, numbers + 1):
        ada.saved(session_id, state={"n": number, "messages": ["m"] * number})
    return session_id


def test_snapshots__page_newest_first(ada: Person) -> None:
    session_id = with_history(ada, 5)
    first = ada.get(f"/{session_id}/snapshots", limit=3)
    second = ada.get(f"/{session_id}/snapshots", limit=3, cursor=first["next"])
    assert [snapshot["number"] for snapshot in first["snapshots"]] == [5, 4, 3]
    assert [snapshot["number"] for snapshot in second["snapshots"]] == [2, 1]
    assert second["next"] is None
    newest = first["snapshots"][0]
    assert (newest["message_count"], newest["changed_parts"], newest["label"]) == (5, 2, None)


def test_snapshots__what_the_app_says_of_them(ada: Person, bob: Person) -> None:
    session_id = ada.session()
    ada.saved(session_id, state={"n": 1}, external_id="cp-1", metadata={"source": "input", "deep": {"n": 1.5}})
    ada.saved(session_id, changes={"set": {"/n": 2}}, external_id="cp-2", metadata={"source": "loop"})
    ada.saved(session_id, state={"n": 3}, parent_number=1)
    ada.post("sessions", {"messages": ["hi"], "external_id": "m"}, f"/{session_id}/messages")
    listed = ada.get(f"/{session_id}/snapshots")["snapshots"]
    assert [(row["external_id"], row["parent_number"], row["metadata"]) for row in listed] == [
        ("m", None, None),
        (None, 1, None),
        ("cp-2", None, {"source": "loop"}),
        ("cp-1", None, {"source": "input", "deep": {"n": 1.5}}),
    ]

    def numbers(**query: Any) -> list[int]:
        return [row["number"] for row in ada.get(f"/{session_id}/snapshots", **query)["snapshots"]]

    assert numbers(external_id="cp-2") == [2]
    assert numbers(parent_number=1) == [3]
    assert numbers(metadata='{"source": "input"}') == [1]
    restored = ada.restore(session_id, external_id="cp-1").json()
    assert (restored["number"], restored["state"], restored["metadata"]["source"]) == (1, {"n": 1}, "input")
    parts = ada.restore(session_id, external_id="cp-1", addresses=["/n"]).json()
    assert (parts["number"], parts["parts"][0]["value"]) == (1, 1)
    refused(ada.restore(session_id, external_id="cp-9"), "snapshot_not_found")
    refused(ada.restore(session_id, external_id="cp-1", number=1), "invalid_request")
    problem = refused(ada.save(session_id, state={"n": 4}, external_id="cp-1"), "snapshot_exists")
    assert problem["number"] == 1
    refused(ada.save(session_id, state={}, metadata={"a": "\0"}), "not_representable")
    refused(ada.save(session_id, state={}, metadata=[1]), "invalid_argument")
    refused(bob.request("GET", "sessions", f"/{session_id}/snapshots?external_id=cp-1"), "session_not_found")
    diff = ada.get(f"/{session_id}/diff", **{"from": 0, "to": 2})
    assert (diff["from"], diff["to"]["external_id"], len(diff["differences"])) == (None, "cp-2", 1)


def test_snapshots__a_cursor_of_another_list_is_refused(ada: Person) -> None:
    session_id = with_history(ada, 1)
    ada.session()
    other = ada.get("", limit=1)["next"]
    refused(ada.request("GET", "sessions", f"/{session_id}/snapshots?cursor={other}"), "invalid_request")
    refused(ada.request("GET", "sessions", f"/{session_id}/snapshots?cursor=W3RydWVd"), "invalid_request")


def test_label__is_given_moved_and_taken(ada: Person) -> None:
    session_id = with_history(ada, 2)
    labelled = ada.request(
        "PUT", "sessions", f"/{session_id}/snapshots/1/label", json={"label": "good"}
    ).json()
    assert (labelled["number"], labelled["label"]) == (1, "good")
    assert ada.state(session_id, label="good")["n"] == 1
    other = ada.request("PUT", "sessions", f"/{session_id}/snapshots/2/label", json={"label": "good"})
    refused(other, "label_taken")
    assert ada.request("DELETE", "sessions", f"/{session_id}/snapshots/1/label").status_code == 204
    refused(ada.restore(session_id, label="good"), "snapshot_not_found")
    for number in ("9", "0", "x", "-1", "99999999999"):
        answer = ada.request(
            "PUT", "sessions", f"/{session_id}/snapshots/{number}/label", json={"label": "x"}
        )
        refused(answer, "snapshot_not_found")


def test_diff__names_what_was_added_removed_and_changed(ada: Person) -> None:
    session_id = ada.session()
    ada.saved(session_id, state={"same": 1, "gone": {"deep": [1]}, "other": 1.0})
    ada.saved(session_id, state={"same": 1, "new": None, "other": 1})
    differences = ada.get(f"/{session_id}/diff", **{"from": 1, "to": 2})["differences"]
    assert differences == [
        {"change": "removed", "address": "/gone", "before": {}, "after": None},
        {"change": "removed", "address": "/gone/deep", "before": [], "after": None},
        {"change": "removed", "address": "/gone/deep/0", "before": 1, "after": None},
        {"change": "added", "address": "/new", "before": None, "after": None},
        {"change": "changed", "address": "/other", "before": 1.0, "after": 1},
    ]
    back = ada.get(f"/{session_id}/diff", **{"from": 2, "to": 1})["differences"]
    assert [difference["change"] for difference in back] == ["added", "added", "added", "removed", "changed"]
    assert ada.get(f"/{session_id}/diff", **{"from": 2, "to": 2})["differences"] == []
    refused(ada.request("GET", "sessions", f"/{session_id}/diff?from=1&to=3"), "snapshot_not_found")
    refused(ada.request("GET", "sessions", f"/{session_id}/diff?from=1"), "invalid_request")


def test_revert__is_a_new_snapshot(ada: Person) -> None:
    session_id = with_history(ada, 3)
    body = {"number": 1, "idempotency_key": "back-1"}
    reverted = ada.post("sessions", body, f"/{session_id}/revert").json()
    assert (reverted["number"], reverted["created"], reverted["message_count"]) == (4, True, 1)
    assert ada.state(session_id) == {"messages": ["m"], "n": 1}
    assert ada.state(session_id, number=3)["n"] == 3
    again = ada.post("sessions", body, f"/{session_id}/revert").json()
    assert (again["number"], again["replayed"]) == (4, True)
    refused(ada.post("sessions", {"number": 9}, f"/{session_id}/revert"), "snapshot_not_found")


def test_fork__begins_with_that_content_and_goes_its_own_way(ada: Person) -> None:
    session_id = with_history(ada, 3)
    forked = ada.post("sessions", {"number": 2, "name": "what if"}, f"/{session_id}/fork")
    assert (forked.status_code, forked.json()["created"]) == (201, True)
    other = forked.json()["id"]
    assert (forked.json()["name"], forked.json()["user_id"]) == ("what if", ada.id)
    assert ada.state(other) == ada.state(session_id, number=2)
    ada.saved(other, changes={"set": {"/n": "changed"}})
    assert ada.state(session_id)["n"] == 3
    latest = ada.post("sessions", {}, f"/{session_id}/fork").json()["id"]
    assert ada.state(latest)["n"] == 3


# -- messages --------------------------------------------------------------------------------------------


def test_messages__page_by_position(ada: Person) -> None:
    session_id = ada.session()
    sent = [{"role": "user" if n % 2 else "assistant", "content": f"text {n}"} for n in range(5)]
    ada.saved(session_id, state={"messages": sent})
    first = ada.get(f"/{session_id}/messages", limit=2)
    assert [message["position"] for message in first["messages"]] == [0, 1]
    assert first["next"] == 1
    rest = ada.get(f"/{session_id}/messages", after=1)
    assert [message["body"] for message in rest["messages"]] == sent[2:]
    assert rest["next"] is None
    message = first["messages"][1]
    assert (message["role"], message["content"], message["session_id"]) == ("user", "text 1", session_id)
    for query in ("after=-2", "after=x", "limit=0", "limit=1001"):
        refused(ada.request("GET", "sessions", f"/{session_id}/messages?{query}"), "invalid_request")


def test_append__tells_the_positions(ada: Person) -> None:
    session_id = ada.session()
    first = ada.post("sessions", {"messages": [{"a": 1}, "two"]}, f"/{session_id}/messages").json()
    assert first == {
        "number": 1,
        "created": True,
        "replayed": False,
        "first_position": 0,
        "last_position": 1,
        "message_count": 2,
    }
    body = {"messages": [3], "idempotency_key": "k"}
    second = ada.post("sessions", body, f"/{session_id}/messages").json()
    ada.post("sessions", {"messages": [4]}, f"/{session_id}/messages")
    again = ada.post("sessions", body, f"/{session_id}/messages").json()
    assert (second["first_position"], second["replayed"]) == (2, False)
    assert again == {**second, "replayed": True}
    assert ada.state(session_id) == {"messages": [{"a": 1}, "two", 3, 4]}


def test_append__many_at_once_leave_no_gap(ada: Person) -> None:
    session_id = ada.session()

    def append(number: int) -> dict[str, int]:
        return dict(ada.post("sessions", {"messages": [number, number]}, f"/{session_id}/messages").json())

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(append, range(40)))
    state = ada.state(session_id)["messages"]
    assert len(state) == 80
    for number, answer in enumerate(answers):
        assert state[answer["first_position"] : answer["last_position"] + 1] == [number, number]


def test_append__refuses_what_is_no_list_of_messages(ada: Person) -> None:
    session_id = ada.session()
    bodies: list[Any] = [{}, {"messages": []}, {"messages": {}}, {"messages": "x"}, {"messages": None}]
    for body in bodies:
        refused(ada.post("sessions", body, f"/{session_id}/messages"), "invalid_request")
    deep = '{"messages":[' + "[" * 64 + "]" * 64 + "]}"
    refused(ada.post("sessions", deep, f"/{session_id}/messages"), "nesting_too_deep")
    ada.saved(session_id, state={"messages": {"not": "a list"}})
    refused(ada.post("sessions", {"messages": [1]}, f"/{session_id}/messages"), "not_a_list")
