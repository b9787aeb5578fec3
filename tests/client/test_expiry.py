"""Sessions that are gone, and states that another version of the app wrote."""

from __future__ import annotations

from typing import Any

import pytest

from asyouwere.client.errors import Expired, SchemaTooNew
from tests.client.conftest import Place, until

pytestmark = pytest.mark.anyio


def delete(place: Place, session_id: str) -> None:
    place.db.superuser.execute("delete from free_agent_sessions where id = %s", (session_id,))


async def test_deleted__the_app_is_told_and_words_stay(home: Place) -> None:
    heard: list[Any] = []
    async with home.open() as session:
        session.append("x")
        await session.save_now()
        session.on("expired", heard.append)
        delete(home, session.id)
        session.append("y")
        with pytest.raises(Exception, match="No such session"):
            await session.save_now()
        assert len(heard) == 1
        assert not session.statistics.is_active
        with pytest.raises(Expired):
            await session.save_now()
        assert session.state == {"messages": ["x", "y"]}
        assert session.status.waiting.changes == 1


async def test_deleted__a_clean_new_start_if_asked_for(place: Place) -> None:
    async with place.open(on_expired="new") as session:
        session.append("x")
        await session.save_now()
        old = session.id
        delete(place, old)
        session.append("y")
        with pytest.raises(Exception, match="No such session"):
            await session.save_now()
        await until(lambda: session.id != old)
        assert session.state == {}
        session.append("new")
        await session.save_now()
    async with place.open(journal=False) as session:
        assert session.id != old
        assert session.state == {"messages": ["new"]}


async def test_deleted__with_the_last_messages_if_asked_for(home: Place) -> None:
    async with home.open(on_expired=2, debounce=0.01) as session:
        session.append({"role": "system", "content": "s"}, "a", "b", "c")
        session.state["step"] = 1
        await session.save_now()
        old = session.id
        delete(home, old)
        session.append("d")
        await until(lambda: session.id != old)
        await session.save_now()
        assert session.state == {"messages": [{"role": "system", "content": "s"}, "c", "d"]}
    async with home.open(journal=False) as session:
        assert session.state == {"messages": [{"role": "system", "content": "s"}, "c", "d"]}


async def test_expired__is_told_or_begun_anew(home: Place) -> None:
    async with home.open(kind="chat") as session:
        session.append("a", "b", "c")
        await session.save_now()
    home.db.superuser.execute("update free_agent_sessions set expired_at = now() where id = %s", (session.id,))
    async with home.open(on_expired=1) as session:
        assert session.state == {"messages": ["c"]}
        assert (await session.peek(1))["messages"] == ["a", "b", "c"]


async def test_version__older_ones_are_brought_up(home: Place) -> None:
    def migrate(state: Any, version: int) -> Any:
        assert version == 1
        state["memory"] = {"topic": state.pop("topic")}

    async with home.open() as session:
        session.state["topic"] = "tea"
    async with home.open(version=2, migrate=migrate) as session:
        assert session.state == {"memory": {"topic": "tea"}, "schemaVersion": 2}
        assert await session.peek(label="before version 2") == {"topic": "tea"}
        assert session.number == 2
    async with home.open(version=3, migrate=lambda state, version: {"was": version}) as session:
        assert session.state == {"was": 2, "schemaVersion": 3}


async def test_version__newer_ones_are_for_reading_only(home: Place) -> None:
    async with home.open(version=3) as session:
        assert session.state == {}
        session.state["x"] = 1
    async with home.open(version=2, debounce=0.01) as session:
        assert session.is_read_only
        assert session.state == {"x": 1, "schemaVersion": 3}
        with pytest.raises(SchemaTooNew):
            session.append("x")
        with pytest.raises(SchemaTooNew):
            session.set("/x", 2)
        with pytest.raises(SchemaTooNew):
            session.update({"x": 2})
        with pytest.raises(SchemaTooNew):
            await session.save_now()
        with pytest.raises(SchemaTooNew):
            session.state["x"] = 2
        assert (await session.history())[0]["number"] == 1
    async with home.open(version=3, journal=False) as session:
        assert session.state["x"] == 1
