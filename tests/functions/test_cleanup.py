"""cleanup-old-snapshots: what it removes, what it keeps, and its time budget."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functions.api import Person, refused, serving, settings_for, token_for
from tests.support.database import Db


@pytest.fixture
def own(database: Db) -> Iterator[tuple[Person, Person, Db]]:
    """Ada, the service and a database of their own, as clean-up works on all that is there."""
    with serving(settings_for(database.api_dsn)) as url:
        user = str(database.user("ada"))
        ada, service = (
            Person(url, user, token_for(user)),
            Person(url, None, token_for("cron", "service_role")),
        )
        with ada.http, service.http:
            yield ada, service, database


def test_cleanup__keeps_the_newest_the_labelled_and_the_latest(own: tuple[Person, Person, Db]) -> None:
    ada, service, _ = own
    session_id = ada.session()
    for number in range(1, 8):
        ada.saved(session_id, state={"n": number}, **({"label": "keep me"} if number == 2 else {}))
    report = service.post("cleanup-old-snapshots", {"keep": 2, "older_than_seconds": 0}).json()
    assert (report["sessions"], report["snapshots"], report["done"]) == (1, 4, True)
    assert report["bytes"] > 0
    kept = [snapshot["number"] for snapshot in ada.get(f"/{session_id}/snapshots")["snapshots"]]
    assert kept == [7, 6, 2]
    assert [ada.state(session_id, number=number)["n"] for number in kept] == kept
    refused(ada.restore(session_id, number=3), "snapshot_gone")
    assert ada.restore(session_id, since=3).json()["reset"] is True
    refused(ada.save(session_id, changes={"set": {"/n": 0}}, base=3), "snapshot_gone")
    again = service.post("cleanup-old-snapshots", {"keep": 2, "older_than_seconds": 0}).json()
    assert (again["snapshots"], again["parts"], again["done"]) == (0, 0, True)


def test_cleanup__expires_and_a_save_revives(own: tuple[Person, Person, Db]) -> None:
    ada, service, database = own
    session_id = ada.session(kind="chat", expires_after_seconds=60)
    ada.saved(session_id, state={"n": 1})
    database.sql("update free_agent_sessions set last_activity_at = now() - interval '1 hour'")
    report = service.post("cleanup-old-snapshots", {}).json()
    assert (report["expired"], report["deleted"]) == (1, 0)
    assert ada.restore(session_id).json()["status"] == "expired"
    ada.saved(session_id, changes={"set": {"/n": 2}})
    assert ada.restore(session_id).json()["status"] == "idle"


def test_cleanup__works_in_batches_until_done(own: tuple[Person, Person, Db]) -> None:
    ada, service, _ = own
    for _ in range(5):
        session_id = ada.session()
        for number in range(3):
            ada.saved(session_id, state={"n": number})
    body = {"keep": 1, "older_than_seconds": 0, "max_sessions": 2}
    report = service.post("cleanup-old-snapshots", body).json()
    assert (report["snapshots"], report["done"]) == (10, True)
    assert report["batches"] >= 4


def test_cleanup__stops_when_its_time_is_up(database: Db) -> None:
    settings = settings_for(database.api_dsn, cleanup_budget_seconds=1e-9)
    with serving(settings) as url:
        service = Person(url, None, token_for("cron", "service_role"))
        with service.http:
            report = service.post("cleanup-old-snapshots", {}).json()
    assert (report["batches"], report["done"]) == (0, False)


def test_cleanup__a_scheduler_need_not_send_a_body(own: tuple[Person, Person, Db]) -> None:
    _, service, _ = own
    answer = service.request("POST", "cleanup-old-snapshots")
    assert (answer.status_code, answer.json()["done"]) == (200, True)


def test_cleanup__refuses_rules_that_make_no_sense(own: tuple[Person, Person, Db]) -> None:
    _, service, _ = own
    for body in ({"keep": 0}, {"keep": "2"}, {"older_than_seconds": -1}, {"all": True}, {"max_sessions": 0}):
        refused(service.post("cleanup-old-snapshots", body), "invalid_request")
