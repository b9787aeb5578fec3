"""The functions before a database of the test's own, and somebody who calls them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functions.api import BASE, Person, serving, settings_for, token_for
from tests.support.database import Db


@pytest.fixture
def ada(db: Db) -> Iterator[Person]:
    """A signed-in user."""
    user_id = str(db.user("ada"))
    with serving(settings_for(db.api_dsn)) as url:
        person = Person(url, user_id, token_for(user_id))
        with person.http:
            yield person


@pytest.fixture
def functions(ada: Person) -> str:
    """The base URL of the functions."""
    return f"{str(ada.http.base_url).rstrip('/')}{BASE}"
