"""Rate limit and quotas as a caller of the functions meets them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.functions.api import Person, refused, serving, settings_for, token_for
from tests.support.database import Db


@pytest.fixture
def limited(database: Db) -> Iterator[tuple[Person, Db]]:
    """Ada, and a database of her own whose limits a test may set."""
    with serving(settings_for(database.api_dsn)) as url:
        user = str(database.user("ada"))
        ada = Person(url, user, token_for(user))
        with ada.http:
            yield ada, database


def test_saves__exactly_as_many_of_a_hundred_at_once_as_allowed(limited: tuple[Person, Db]) -> None:
    ada, database = limited
    session_id = ada.session()
    database.sql("update asyouwere.settings set writes_per_second = 0.5, writes_at_once = 30")
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda n: ada.save(session_id, changes={"append": {"/messages": [n]}}), range(100))
        )
    assert sorted({answer.status_code for answer in answers}) == [200, 429]
    assert sum(answer.status_code == 200 for answer in answers) == 30
    too_many = next(answer for answer in answers if answer.status_code == 429)
    refused(too_many, "rate_limited")
    assert 1 <= int(too_many.headers["Retry-After"]) <= 2
    assert len(ada.state(session_id)["messages"]) == 30


def test_sessions__over_the_quota(limited: tuple[Person, Db]) -> None:
    ada, database = limited
    database.sql("update asyouwere.settings set max_sessions_per_user = 2")
    ada.session()
    ada.session(key="mine")
    refused(ada.post("sessions", {}), "quota_exceeded")
    assert ada.session(key="mine")


def test_saves__over_the_quota(limited: tuple[Person, Db]) -> None:
    ada, database = limited
    session_id = ada.session()
    database.sql("update asyouwere.settings set max_stored_bytes_per_user = 1000")
    refused(ada.save(session_id, state={"text": "x" * 2000}), "quota_exceeded")
    assert ada.state(session_id) == {}
