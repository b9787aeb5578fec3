"""Usage and branches over HTTPS: what the SQL functions do is tried in tests/sql; here that it gets there and back."""

from __future__ import annotations

from typing import Any

import pytest

from asyouwere.service.handlers.cursors import pack
from tests.functions.api import Person, refused

CALL = {"model": "large-1", "input_tokens": 1200, "output_tokens": 300, "cost": 0.0125}


def record(person: Person, session: str, **more: Any) -> Any:
    return person.post("sessions", CALL | more, f"/{session}/usage")


def test_usage__recorded_listed_in_pages_and_kept_to_a_budget(ada: Person) -> None:
    session = ada.session()
    for model in "abc":
        assert record(ada, session, model=model).json()["recorded"] is True
    page = ada.get(f"/{session}/usage/days", limit=2)
    rest = ada.get(f"/{session}/usage/days", limit=2, cursor=page["next"])
    assert [day["model"] for day in page["days"] + rest["days"]] == ["c", "b", "a"]
    assert rest["next"] is None
    budget = ada.request("PUT", "sessions", f"/{session}/budget", json={"budget": 0.05})
    assert budget.json()["used"] == 0.75
    assert record(ada, session, cost=1e-7).json()["cost"] == 0.0375001
    assert ada.get(f"/{session}")["budget"] == 0.05
    assert ada.get("/usage")["calls"] >= 4


def test_usage__the_key_may_be_in_the_header(ada: Person) -> None:
    session = ada.session()
    answers = [
        ada.post("sessions", CALL, f"/{session}/usage", headers={"Idempotency-Key": "call-1"}).json() for _ in range(2)
    ]
    assert [answer["recorded"] for answer in answers] == [True, False]


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-1", "1e400", '"1"', "true", "null"])
def test_usage__what_is_no_amount_is_refused(ada: Person, amount: str) -> None:
    session = ada.session()
    text = f'{{"model":"m","input_tokens":1,"output_tokens":1,"cost":{amount}}}'
    assert ada.post("sessions", text, f"/{session}/usage").status_code == 422
    assert ada.get(f"/{session}/usage")["calls"] == 0


@pytest.mark.parametrize("place", [("yesterday", "m"), ("2026-02-30", "m"), ("2026-01-01", "\0"), ("2026-01-01", "\ud800")])
def test_usage__a_cursor_made_by_hand_is_refused(ada: Person, place: tuple[str, str]) -> None:
    session = ada.session()
    answer = ada.request("GET", "sessions", f"/{session}/usage/days", params={"cursor": pack(*place)})
    refused(answer, "invalid_request")


def test_usage__is_the_business_of_those_who_work_with_it(ada: Person, bob: Person, service: Person) -> None:
    session = ada.session(visibility="public")
    record(ada, session)
    refused(record(bob, session), "forbidden")
    refused(bob.request("GET", "sessions", f"/{session}/usage"), "forbidden")
    refused(bob.request("PUT", "sessions", f"/{session}/budget", json={"budget": 1}), "forbidden")
    assert bob.get(f"/{session}")["cost"] is None
    budget = {"budget": 1, "period": "day"}
    assert ada.request("PUT", "sessions", f"/budgets/{ada.id}", json=budget).status_code == 403
    assert service.request("PUT", "sessions", f"/budgets/{ada.id}", json=budget).json()["period"] == "day"
    told = service.request("GET", "sessions", f"/budgets/{ada.id}")
    assert told.json().get("budget") == 1, told.text
    assert record(ada, session).json()["user_budget"] == 1


def test_merge__conflicts_are_named_and_decided(ada: Person) -> None:
    session = ada.session()
    ada.saved(session, state={"nodes": {"a": {"x": 1}}})
    fork = ada.post("sessions", {}, f"/{session}/fork").json()["id"]
    assert ada.get(f"/{session}/origin")["origin_id"] is None
    assert ada.get(f"/{fork}/origin")["origin_id"] == session
    ada.saved(session, changes={"set": {"/nodes/a/x": 2}})
    ada.saved(fork, changes={"set": {"/nodes/a/x": 3}})
    problem = refused(ada.post("sessions", {}, f"/{fork}/merge"), "conflict")
    assert problem["addresses"] == ["/nodes/a/x"]
    refused(ada.post("sessions", {"choices": {"/nodes": "both"}}, f"/{fork}/merge"), "invalid_argument")
    refused(ada.post("sessions", {"choices": {"nodes": "fork"}}, f"/{fork}/merge"), "invalid_address")
    merged = ada.post("sessions", {"choices": {"/nodes/a": "fork"}, "idempotency_key": "m"}, f"/{fork}/merge").json()
    assert (merged["number"], merged["merged"]) == (3, True)
    assert ada.state(session) == {"nodes": {"a": {"x": 3}}}
    refused(ada.post("sessions", {}, f"/{session}/merge"), "invalid_argument")
