"""The tables and views through a real PostgREST: rows by caller, paging, counts, filters, embeds, inserts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.postgrest.targets import CALLERS, SIGNED_IN, People, refused
from tests.sql import access_matrix as matrix
from tests.sql.access_matrix import ANONYMOUS, EDITOR, RELATIONS, SERVICE, STRANGER, VIEWER

TABLES = [
    name.removeprefix("public.")
    for name, grants in RELATIONS.items()
    if name.startswith("public.") and grants
]


def column_of(table: str) -> str:
    """The column that holds the session's id; of what is kept of a person, the owner's."""
    if table == "user_usage":
        return "user_id"
    return "id" if table in ("free_agent_sessions", "sessions_list") else "session_id"


@pytest.mark.parametrize("visibility", matrix.VISIBILITIES)
@pytest.mark.parametrize("table", TABLES)
def test_table__shows_everybody_what_the_matrix_says(people: People, table: str, visibility: str) -> None:
    session_id = people.scene(visibility)
    column = column_of(table)
    wanted = people.owner.user_id if column == "user_id" else session_id
    for caller in CALLERS:
        answer = people[caller].get(f"/{table}", {column: f"eq.{wanted}", "select": column})
        expected = matrix.rows_seen(f"public.{table}", caller, visibility)
        if expected == "denied":
            assert (answer.status_code, answer.json()["code"]) == (401, "42501")
        else:
            assert (answer.status_code, len(answer.json())) == (200, expected), caller


def test_sessions_list__pages_by_keyset_range_and_offset(people: People) -> None:
    owner = people.owner
    ids = [owner.session(p_name=f"session {number:02}") for number in range(12)]
    order = {"select": "id,name,last_activity_at", "order": "last_activity_at.desc,id.desc"}
    seen: list[str] = []
    query: dict[str, Any] = {**order, "limit": "5"}
    while page := owner.get("/sessions_list", query).json():
        seen += [row["id"] for row in page]
        at, last = page[-1]["last_activity_at"], page[-1]["id"]
        query["or"] = f'(last_activity_at.lt."{at}",and(last_activity_at.eq."{at}",id.lt.{last}))'
    assert seen == ids[::-1]
    by_range = owner.get("/sessions_list", order, Range_Unit="items", Range="5-9")
    assert [row["id"] for row in by_range.json()] == seen[5:10]
    assert by_range.headers["content-range"] == "5-9/*"
    by_offset = owner.get("/sessions_list", {**order, "limit": "5", "offset": "10"}, Prefer="count=exact")
    assert [row["id"] for row in by_offset.json()] == seen[10:]
    assert (by_offset.status_code, by_offset.headers["content-range"]) == (206, "10-11/12")
    beyond = owner.get("/sessions_list", {**order, "offset": "50"}, Prefer="count=exact")
    assert beyond.status_code == 416


def test_counts__without_rows(people: People) -> None:
    people.scene("private")
    for caller, expected in ((people.owner, "*/1"), (people[STRANGER], "*/0")):
        answer = caller.http.head("/sessions_list", params={"limit": "0"}, headers={"Prefer": "count=exact"})
        assert answer.headers["content-range"] == expected


def test_filters__by_any_column(people: People) -> None:
    owner = people.owner
    wanted = owner.session(
        p_name="Kyoto, day 2", p_model="m-1", p_kind="chat", p_metadata={"trip": {"city": "Kyoto"}}
    )
    owner.session(p_name="Osaka", p_model="m-2")
    owner.done("update_session", p_session_id=wanted, p_changes={"status": "running"})
    for query in (
        {"name": "ilike.*kyoto*"},
        {"model": "eq.m-1"},
        {"status": "in.(running,paused)"},
        {"metadata->trip->>city": "eq.Kyoto"},
        {"kind": "eq.chat", "archived_at": "is.null"},
        {"or": "(name.eq.nothing,model.eq.m-1)"},
    ):
        for table in ("sessions_list", "free_agent_sessions"):
            assert [row["id"] for row in owner.get(f"/{table}", {**query, "select": "id"}).json()] == [wanted]


def test_embeds__come_in_one_request(people: People) -> None:
    session_id = people.scene("shared")
    people.owner.rpc(
        "append_session_messages",
        {"p_session_id": session_id, "p_messages": [{"role": "user", "content": "hi"}]},
    )
    embeds = "id,name,session_snapshots(number,label),session_members(user_id,role),session_messages(position,role,content)"
    query = {"id": f"eq.{session_id}", "select": embeds, "session_messages.order": "position"}
    by_caller = {name: people[name].get("/free_agent_sessions", query).json() for name in SIGNED_IN}
    assert by_caller[STRANGER] == []
    (owned,) = by_caller[matrix.OWNER]
    assert sorted(row["number"] for row in owned["session_snapshots"]) == [1, 2, 3]
    assert {row["role"] for row in owned["session_members"]} == {"editor", "viewer"}
    assert owned["session_messages"][2] == {"position": 2, "role": "user", "content": "hi"}
    (viewed,) = by_caller[VIEWER]
    assert [row["role"] for row in viewed["session_members"]] == ["viewer"]
    assert viewed["session_messages"] == owned["session_messages"]


def test_embeds__may_be_filtered_ordered_and_limited(people: People) -> None:
    session_id = people.scene("private")
    query = {
        "id": f"eq.{session_id}",
        "select": "id,session_messages(position),session_snapshots(number)",
        "session_messages.order": "position.desc",
        "session_messages.limit": "1",
        "session_snapshots.label": "eq.first",
    }
    for table in ("sessions_list", "free_agent_sessions"):
        (row,) = people.owner.get(f"/{table}", query).json()
        assert row["session_messages"] == [{"position": 1}]
        assert row["session_snapshots"] == [{"number": 1}]
    (message, _) = people.owner.get(
        "/session_messages", {"session_id": f"eq.{session_id}", "select": "position,free_agent_sessions(id)"}
    ).json()  # in any order: both have the same
    assert message["free_agent_sessions"] == {"id": session_id}


def test_message__inserted_comes_back_and_is_in_the_next_restore(people: People) -> None:
    session_id = people.scene("shared")
    message = {"session_id": session_id, "role": "user", "content": "three"}
    answer = people[EDITOR].http.post(
        "/session_messages", json=message, headers={"Prefer": "return=representation"}
    )
    assert answer.status_code == 201, answer.text
    (row,) = answer.json()
    assert (row["position"], row["role"], row["content"]) == (2, "user", "three")
    assert row["body"] == {"role": "user", "content": "three"}
    state = people.owner.done("get_latest_snapshot", p_session_id=session_id)["state"]
    assert state["messages"] == ["one", "two", {"role": "user", "content": "three"}]
    minimal = people.owner.http.post("/session_messages", json=message, headers={"Prefer": "return=minimal"})
    assert (minimal.status_code, minimal.content) == (201, b"")


def test_message__inserted_by_whom_may_not(people: People) -> None:
    session_id = people.scene("shared")
    message = {"session_id": session_id, "role": "user", "content": "no"}
    refused(people[VIEWER].http.post("/session_messages", json=message), 403, "forbidden")
    refused(people[STRANGER].http.post("/session_messages", json=message), 404, "session_not_found")
    anonymous = people[ANONYMOUS].http.post("/session_messages", json=message)
    assert (anonymous.status_code, anonymous.json()["code"]) == (401, "42501")
    incomplete = people.owner.http.post("/session_messages", json={"session_id": session_id})
    refused(incomplete, 422, "invalid_argument")
    assert people[SERVICE].http.post("/session_messages", json=message).status_code == 201


def test_messages__are_read_in_pages_of_a_thousand(people: People) -> None:
    session_id = people.owner.session({"messages": list(range(2500))})
    query = {"session_id": f"eq.{session_id}", "select": "position,body", "order": "position"}
    first = people.owner.get("/session_messages", query, Prefer="count=exact")
    assert (first.status_code, first.headers["content-range"]) == (206, "0-999/2500")
    rest = people.owner.get("/session_messages", {**query, "position": "gt.1999"})
    assert [row["body"] for row in rest.json()] == list(range(2000, 2500))


def test_session__written_with_metadata_that_no_list_should_show(people: People) -> None:
    """PostgREST hands jsonb on as it came: the table's own check refuses it."""
    owner = people.owner
    session_id = owner.session()
    json_type = {"Content-Type": "application/json"}
    for text, code in (
        ('{"a":[' + ",".join(["2e120000"] * 500) + "]}", "number_out_of_range"),
        ('{"a":' + "[" * 200 + "]" * 200 + "}", "nesting_too_deep"),
    ):
        for field in ("metadata", "upstream"):
            body = f'{{"{field}":{text}}}'
            refused(owner.http.post("/free_agent_sessions", content=body, headers=json_type), 422, code)
            where = {"id": f"eq.{session_id}"}
            refused(owner.http.patch("/free_agent_sessions", params=where, content=body, headers=json_type), 422, code)


def test_session__inserted_changed_and_deleted(people: People) -> None:
    owner = people.owner
    created = owner.http.post(
        "/free_agent_sessions", json={"name": "by hand"}, headers={"Prefer": "return=representation"}
    )
    assert created.status_code == 201, created.text
    session = created.json()[0]
    assert session["user_id"] == owner.user_id
    one = {"id": f"eq.{session['id']}"}
    assert owner.http.patch("/free_agent_sessions", params=one, json={"name": "new"}).status_code == 204
    for caller in (people[STRANGER], people[ANONYMOUS]):
        changed = caller.http.patch(
            "/free_agent_sessions",
            params=one,
            json={"name": "mine"},
            headers={"Prefer": "return=representation"},
        )
        assert changed.status_code == 401 or changed.json() == []
    assert owner.get("/free_agent_sessions", {**one, "select": "name"}).json() == [{"name": "new"}]
    assert people[STRANGER].http.delete("/free_agent_sessions", params=one).status_code == 204
    assert owner.get("/free_agent_sessions", one).json() != []
    assert owner.http.delete("/free_agent_sessions", params=one).status_code == 204
    assert owner.get("/free_agent_sessions", one).json() == []


def test_history__cannot_be_written_by_hand(people: People) -> None:
    session_id = people.scene("private")
    snapshot = {"session_id": session_id, "number": 9}
    one = {"session_id": f"eq.{session_id}"}
    for caller in (people.owner, people[SERVICE]):
        for answer in (
            caller.http.post("/session_snapshots", json=snapshot),
            caller.http.patch("/session_snapshots", params=one, json={"label": "x"}),
            caller.http.delete("/session_snapshots", params=one),
            caller.http.patch(
                "/free_agent_sessions", params={"id": f"eq.{session_id}"}, json={"latest_number": 9}
            ),
            caller.http.delete("/session_messages", params=one),
            caller.http.patch("/session_messages", params=one, json={"content": "x"}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "42501"), answer.request.url


def test_session__of_somebody_else_cannot_be_made(people: People) -> None:
    answer = people[STRANGER].http.post(
        "/free_agent_sessions", json={"user_id": people.owner.user_id, "name": "x"}
    )
    assert answer.status_code == 403
