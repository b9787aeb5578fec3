"""Saving and restoring over HTTP: numbers, bases, labels, keys, merging, conflicts."""

from __future__ import annotations

import uuid

from tests.functions.api import Person, refused


def test_save__first_state_is_number_one(ada: Person) -> None:
    session_id = ada.session(name="first")
    saved = ada.saved(session_id, state={"messages": [{"role": "user", "content": "hi"}], "step": 1})
    assert saved == {
        "number": 1,
        "created": True,
        "replayed": False,
        "merged": False,
        "changed_parts": 3,
        "size_bytes": saved["size_bytes"],
        "message_count": 1,
        "others": None,
        "existing": None,
    }
    restored = ada.restore(session_id).json()
    assert restored["number"] == restored["latest_number"] == 1
    assert restored["state"] == {"messages": [{"role": "user", "content": "hi"}], "step": 1}


def test_save__same_state_again_makes_no_snapshot(ada: Person) -> None:
    session_id = ada.session()
    ada.saved(session_id, state={"a": 1})
    again = ada.saved(session_id, state={"a": 1})
    assert (again["number"], again["created"], again["changed_parts"]) == (1, False, 0)


def test_restore__never_saved_is_number_zero(ada: Person) -> None:
    restored = ada.restore(ada.session()).json()
    assert (restored["number"], restored["state"], restored["label"]) == (0, {}, None)


def test_restore__by_number_and_label(ada: Person) -> None:
    session_id = ada.session()
    ada.saved(session_id, state={"n": 1}, label="before lunch")
    ada.saved(session_id, changes={"set": {"/n": 2}}, base=1)
    assert ada.state(session_id) == {"n": 2}
    assert ada.state(session_id, number=1) == {"n": 1}
    assert ada.state(session_id, label="before lunch") == {"n": 1}
    refused(ada.restore(session_id, number=3), "snapshot_not_found")
    refused(ada.restore(session_id, label="after lunch"), "snapshot_not_found")


def test_restore__since_gives_only_changes(ada: Person) -> None:
    session_id = ada.session()
    ada.saved(session_id, state={"messages": [{"content": "one"}], "gone": 1})
    ada.saved(session_id, changes={"append": {"/messages": [{"content": "two"}]}, "remove": ["/gone"]}, base=1)
    changes = ada.restore(session_id, since=1).json()
    assert changes["number"] == 2
    assert changes["reset"] is False
    assert changes["changes"] == {"set": {"/messages/1": {"content": "two"}}, "remove": ["/gone"]}
    assert ada.restore(session_id, since=9).json()["reset"] is True


def test_save__same_key_again_returns_the_first_answer(ada: Person) -> None:
    session_id = ada.session()
    key = str(uuid.uuid4())
    first = ada.saved(session_id, state={"n": 1}, idempotency_key=key)
    ada.saved(session_id, changes={"set": {"/n": 2}})
    again = ada.saved(session_id, state={"n": 1}, idempotency_key=key)
    assert again == {**first, "replayed": True}
    assert ada.state(session_id) == {"n": 2}


def test_save__key_in_the_header(ada: Person) -> None:
    session_id = ada.session()
    body = {"session_id": session_id, "state": {"n": 1}}
    first = ada.post("session-snapshot-save", body, headers={"Idempotency-Key": "k-1"})
    again = ada.post("session-snapshot-save", body, headers={"Idempotency-Key": "k-1"})
    assert (first.json()["replayed"], again.json()["replayed"]) == (False, True)
    both = {**body, "idempotency_key": "k-2"}
    refused(ada.post("session-snapshot-save", both, headers={"Idempotency-Key": "k-1"}), "invalid_request")


def test_save__same_key_with_another_content_is_refused(ada: Person) -> None:
    session_id = ada.session()
    ada.saved(session_id, state={"n": 1}, idempotency_key="k")
    refused(ada.save(session_id, state={"n": 2}, idempotency_key="k"), "idempotency_key_reused")
    assert ada.state(session_id) == {"n": 1}


def test_save__two_clients_at_one_base_merge(ada: Person) -> None:
    session_id = ada.session()
    ada.saved(session_id, state={"a": 1, "b": 1, "messages": []})
    ada.saved(session_id, changes={"set": {"/a": 2}, "append": {"/messages": ["x"]}}, base=1)
    late = ada.saved(session_id, changes={"set": {"/b": 2}, "append": {"/messages": ["y"]}}, base=1)
    assert late["merged"] is True
    assert late["others"]["set"]["/a"] == 2
    assert ada.state(session_id) == {"a": 2, "b": 2, "messages": ["x", "y"]}


def test_save__conflict_names_the_address_and_writes_nothing(ada: Person) -> None:
    session_id = ada.session()
    ada.saved(session_id, state={"a": 1, "b": 1})
    ada.saved(session_id, changes={"set": {"/a": 2}}, base=1)
    problem = refused(ada.save(session_id, changes={"set": {"/a": 3, "/b": 3}}, base=1), "conflict")
    assert (problem["addresses"], problem["latest"]) == (["/a"], 2)
    assert ada.state(session_id) == {"a": 2, "b": 1}
    overwritten = ada.saved(session_id, changes={"set": {"/a": 3}}, base=1, on_conflict="overwrite")
    assert overwritten["number"] == 3
    refused(ada.save(session_id, changes={"set": {"/b": 4}}, base=1, on_conflict="reject"), "conflict")


def test_save__label_taken(ada: Person) -> None:
    session_id = ada.session()
    ada.saved(session_id, state={"n": 1}, label="x")
    refused(ada.save(session_id, state={"n": 2}, label="x"), "label_taken")
    assert ada.state(session_id) == {"n": 1}


def test_save__state_and_changes_or_neither_is_refused(ada: Person) -> None:
    session_id = ada.session()
    refused(ada.save(session_id), "invalid_request")
    refused(ada.save(session_id, state={}, changes={"set": {"/a": 1}}), "invalid_request")
    refused(ada.save(session_id, state={}, colour="red"), "invalid_request")
    refused(ada.save(session_id, state={}, base="1"), "invalid_request")
    refused(ada.save(session_id, state={}, on_conflict="shout"), "invalid_request")
    refused(ada.save("not-a-uuid", state={}), "invalid_request")


def test_save__refusals_of_the_database_keep_their_code_and_data(ada: Person) -> None:
    session_id = ada.session()
    ada.saved(session_id, state={"memory": {"board": {"topic": {"deep": 1}}}, "messages": ["a"]})
    below = ada.save(session_id, changes={"set": {"/memory/board/topic/deep": 2}})
    assert refused(below, "address_below_part")["part"] == "/memory/board/topic"
    assert refused(ada.save(session_id, changes={"set": {"/x/0": 1}}), "missing_parent")["parent"] == "/x"
    refused(ada.save(session_id, changes={"set": {"/messages/7": "b"}}), "list_gap")
    refused(ada.save(session_id, changes={"append": {"/memory": ["b"]}}), "not_a_list")
    refused(ada.save(session_id, changes={"set": {"no-slash": 1}}), "invalid_address")
    refused(ada.save(session_id, changes={"set": {"/a": 1, "/a/b": 1}}), "overlapping_addresses")
    refused(ada.save(session_id, changes={"sett": {"/a": 1}}), "invalid_changes")
    refused(ada.save(session_id, changes={"set": {"/a": 1}}, base=9), "unknown_base")
    refused(ada.save(session_id, changes={"set": {"/" + "k" * 2100: 1}}), "address_too_long")
    assert ada.restore(session_id).json()["latest_number"] == 1


def test_save__conditions(ada: Person) -> None:
    session_id = ada.session()
    ada.saved(session_id, state={"messages": [{"id": "a"}], "step": 1})
    changes = {
        "expect": {"/step": 1},
        "expect_absent": ["/messages/1"],
        "add": {"/step": 5, "/owner": {"name": "ada"}},
        "append_once": {"/messages": {"by": "id", "items": [{"id": "b"}, {"id": "a", "text": "again"}]}},
    }
    saved = ada.saved(session_id, changes=changes, idempotency_key="k")
    assert saved["existing"] == {"/messages/0": {"id": "a"}, "/step": 1}
    assert ada.state(session_id) == {"messages": [{"id": "a"}, {"id": "b"}], "step": 1, "owner": {"name": "ada"}}
    again = ada.saved(session_id, changes=changes, idempotency_key="k")
    assert again == {**saved, "replayed": True}
    problem = refused(ada.save(session_id, changes=changes), "conflict")
    assert (problem["addresses"], problem["latest"]) == (["/messages/1"], 2)
    refused(ada.save(session_id, changes={"add": {"/messages/0": 1}}), "invalid_address")
    refused(ada.save(session_id, changes={"append_once": {"/messages": [1]}}), "invalid_changes")
    refused(ada.save(session_id, changes={"add": {"/a": 1}, "set": {"/a/b": 1}}), "overlapping_addresses")


def test_save__conditions_keep_every_character(ada: Person) -> None:
    session_id = ada.session()
    there = r'"/a\u0000":{"b":1.10,"c":"\ud800"}'
    for added in (there, r'"/a\u0000":2'):
        body = f'{{"session_id":"{session_id}","changes":{{"add":{{{added}}}}}}}'
        response = ada.post("session-snapshot-save", body)
    assert response.text.endswith(f'"existing":{{{there}}}}}')
