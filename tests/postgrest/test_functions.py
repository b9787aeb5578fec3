"""Every public function through a real PostgREST: who is answered what, with which status and code."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.postgrest.targets import CALLERS, Caller, People, refused
from tests.sql import access_matrix as matrix
from tests.sql.access_matrix import ANONYMOUS, EDITOR, FUNCTIONS, SERVICE, STRANGER, VIEWER

PUBLIC = [name.removeprefix("public.") for name in FUNCTIONS if name.startswith("public.")]
NOWHERE = str(uuid.UUID(int=7))

#: What the matrix answers -> the HTTP status; "denied" is 401 for whom nobody knows, as signing in may help.
STATUS = {"ok": 200, "session_not_found": 404, "forbidden": 403, "not_signed_in": 401, "denied": 403}
STATUS |= {"invitation_not_found": 404, "offer_not_found": 404, "invalid_argument": 422}


def plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments as JSON can hold them."""
    return {name: str(value) if isinstance(value, uuid.UUID) else value for name, value in arguments.items()}


@pytest.mark.parametrize("visibility", matrix.VISIBILITIES)
@pytest.mark.parametrize("function", PUBLIC)
def test_function__answers_everybody_as_the_matrix_says(
    people: People, function: str, visibility: str
) -> None:
    call = FUNCTIONS[f"public.{function}"]
    session_id = people.scene(visibility)
    for caller in CALLERS:  # those who may do most come last
        if function == "delete_session" and caller == SERVICE:
            session_id = people.scene(visibility)  # the owner has just deleted it
        arguments = plain(call.arguments(None, session_id))  # type: ignore[arg-type]
        answer = people[caller].rpc(function, arguments)
        expected = call.but.get(caller, matrix.answer(call.kind, caller, visibility))
        status = 401 if expected == "denied" and caller == ANONYMOUS else STATUS[expected]
        if expected == "ok":
            assert answer.status_code in (200, 204), (caller, answer.text)
        elif expected == "denied":
            assert (answer.status_code, answer.json()["code"]) == (status, "42501"), caller
        else:
            refused(answer, status, expected)


REFUSALS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "user_not_found": (404, "set_session_member", {"p_user_id": NOWHERE, "p_role": "viewer"}),
    "snapshot_not_found": (404, "get_snapshot", {"p_number": 99}),
    "conflict": (409, "create_session_snapshot", {"p_changes": {"set": {"/n": 3}}, "p_base": 1}),
    "label_taken": (409, "label_snapshot", {"p_number": 2, "p_label": "first"}),
    "unknown_base": (422, "create_session_snapshot", {"p_changes": {"set": {"/n": 3}}, "p_base": 99}),
    "address_below_part": (422, "create_session_snapshot", {"p_changes": {"set": {"/messages/0/a": 3}}}),
    "missing_parent": (422, "create_session_snapshot", {"p_changes": {"set": {"/no/0": 3}}}),
    "list_gap": (422, "create_session_snapshot", {"p_changes": {"set": {"/messages/9": 3}}}),
    "not_a_list": (422, "create_session_snapshot", {"p_changes": {"append": {"/n": [3]}}}),
    "invalid_address": (422, "create_session_snapshot", {"p_changes": {"set": {"n": 3}}}),
    "overlapping_addresses": (
        422,
        "create_session_snapshot",
        {"p_changes": {"set": {"/m": {}}, "remove": ["/m/x"]}},
    ),
    "address_too_long": (422, "create_session_snapshot", {"p_changes": {"set": {"/" + "x" * 2001: 1}}}),
    "invalid_state": (422, "create_session_snapshot", {"p_state": []}),
    "invalid_changes": (422, "create_session_snapshot", {"p_changes": {"put": {}}}),
    "invalid_argument": (422, "update_session", {"p_changes": {"status": "expired"}}),
    "nesting_too_deep": (422, "create_session_snapshot", {"p_state": {"a": json.loads("[" * 70 + "]" * 70)}}),
    "number_out_of_range": (
        422,
        "save_session_parts",
        {"p_ops": ["set"], "p_paths": ["/n/"], "p_items": [-1], "p_bodies": ["1e999"]},
    ),
    "invalid_json": (
        422,
        "save_session_parts",
        {"p_ops": ["set"], "p_paths": ["/n/"], "p_items": [-1], "p_bodies": ["{"]},
    ),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_refusal__has_status_code_and_data(people: People, code: str) -> None:
    status, function, arguments = REFUSALS[code]
    session_id = people.scene("private")
    answer = people.owner.rpc(function, {"p_session_id": session_id, **arguments})
    problem = refused(answer, status, code)
    assert isinstance(json.loads(problem["details"]), dict)
    assert session_id not in problem["message"]


def test_refusals__of_other_functions(people: People) -> None:
    owner = people.owner
    session_id = people.scene("private")
    save = {"p_session_id": session_id, "p_state": {"n": 5}, "p_idempotency_key": "k"}
    first = owner.done("create_session_snapshot", **save)
    again = owner.done("create_session_snapshot", **save)
    assert (again["number"], again["replayed"]) == (first["number"], True)
    refused(
        owner.rpc("create_session_snapshot", {**save, "p_state": {"n": 6}}), 409, "idempotency_key_reused"
    )
    refused(people[STRANGER].rpc("get_or_create_session", {"p_id": session_id}), 404, "session_not_found")
    owner.done("create_session_snapshot", p_session_id=session_id, p_state={"n": 7})
    cleaned = people[SERVICE].done("cleanup_old_snapshots", p_keep=1, p_older_than="0", p_max_sessions=10_000)
    while not cleaned["done"]:
        cleaned = people[SERVICE].done(
            "cleanup_old_snapshots", p_keep=1, p_older_than="0", p_max_sessions=10_000
        )
    problem = refused(
        owner.rpc("get_snapshot", {"p_session_id": session_id, "p_number": 2}), 410, "snapshot_gone"
    )
    assert json.loads(problem["details"])["latest"] == first["number"] + 1


def test_refusals__every_code_of_the_readme_is_tried_here() -> None:
    """Or named here with what tries it elsewhere: a state over 64 MB is too much for this, limits have tests of
    their own, and through json no \\u0000 reaches our code."""
    readme = (Path(__file__).parents[2] / "sql/README.md").read_text()
    section = readme.partition("## Errors")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `(\w+)` \| \d+ \|", section, re.MULTILINE))
    elsewhere = {"too_large", "not_representable", "rate_limited", "quota_exceeded"}
    elsewhere |= {"invitation_not_found", "offer_not_found"}  # by the matrix, above
    elsewhere.add("snapshot_exists")  # tests/functions/test_history.py
    elsewhere |= {"turn_not_found", "turn_running", "turn_over", "turn_gap"}  # tests/sql/test_turns.py
    elsewhere.add("internal")  # tests/sql/test_large_sessions.py
    here = {
        "session_not_found",
        "forbidden",
        "not_signed_in",
        "idempotency_key_reused",
        "key_taken",
        "snapshot_gone",
    }
    assert documented == set(REFUSALS) | here | elsewhere


def test_missing_and_foreign_sessions__answer_byte_for_byte_alike(people: People) -> None:
    session_id = people.scene("private")
    for caller in (ANONYMOUS, STRANGER):
        answers = {
            people[caller].rpc("get_snapshot", {"p_session_id": asked}).content
            for asked in (session_id, NOWHERE)
        }
        assert len(answers) == 1


def test_reading_functions__answer_get_too(people: People) -> None:
    session_id = people.scene("shared")
    for caller, status in ((VIEWER, 200), (STRANGER, 404)):
        answer = people[caller].get("/rpc/get_snapshot", {"p_session_id": session_id, "p_number": 1})
        assert answer.status_code == status
    listed = people.owner.get("/rpc/list_snapshots", {"p_session_id": session_id, "select": "number,label"})
    assert listed.json() == [{"number": 2, "label": None}, {"number": 1, "label": "first"}]


def test_writing_functions__cannot_be_reached_by_a_link(people: People) -> None:
    session_id = people.scene("private")
    answer = people.owner.get("/rpc/delete_session", {"p_session_id": session_id})
    assert (answer.status_code, answer.json()["code"]) == (405, "25006")
    assert people.owner.rpc("get_session", {"p_session_id": session_id}).status_code == 200


def test_state__comes_back_character_by_character(people: People) -> None:
    owner = people.owner
    state = '{"messages":[{"z":1.0,"a":1e2,"big":1234567890123456789012345678901234567890,"z2":-0}],"n":1.10}'
    session_id = owner.session()
    saved = owner.rpc("create_session_snapshot", f'{{"p_session_id":"{session_id}","p_state":{state}}}')
    assert saved.json()[0]["number"] == 1
    assert f'"state":{state}}}' in owner.rpc("get_latest_snapshot", {"p_session_id": session_id}).text


def test_one_row__as_an_object(people: People) -> None:
    session_id = people.scene("private")
    answer = people.owner.rpc(
        "get_latest_snapshot", {"p_session_id": session_id}, Accept="application/vnd.pgrst.object+json"
    )
    assert answer.json()["state"] == {"messages": ["one", "two"], "n": 2}


def test_save__at_once_by_many_loses_nothing(people: People) -> None:
    from concurrent.futures import ThreadPoolExecutor

    session_id = people.scene("shared")

    def append(number: int) -> int:
        who: Caller = people.owner if number % 2 else people[EDITOR]
        return who.rpc(
            "append_session_messages", {"p_session_id": session_id, "p_messages": [number]}
        ).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(append, range(40))) == {200}
    state = people.owner.done("get_latest_snapshot", p_session_id=session_id)["state"]
    assert sorted(state["messages"][2:]) == list(range(40))


def test_long_export__is_whole_though_rows_are_limited(people: People) -> None:
    session_id = people.owner.session({"messages": list(range(33_000))})
    chunks = people.owner.rpc("export_session", {"p_session_id": session_id}).json()
    assert len(json.loads("".join(chunks))["parts"]) == 33_001


def test_private_functions_and_schema__are_not_there(people: People) -> None:
    for caller in (people.owner, people[SERVICE]):
        assert caller.rpc("save_json", {}).status_code == 404
        assert caller.rpc("save_json", {}, Content_Profile="asyouwere").status_code == 406
        assert caller.get("/parts").status_code == 404
        assert caller.get("/parts", Accept_Profile="asyouwere").status_code == 406


def test_token__that_is_not_good_is_a_401(people: People, target: Any) -> None:
    good = target.token(people.owner.user_id, "authenticated")
    for bad in (good[:-6] + "AAAAAA", "x.y.z"):
        answer = people[ANONYMOUS].get("/sessions_list", Authorization=f"Bearer {bad}")
        assert answer.status_code == 401
