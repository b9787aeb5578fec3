from __future__ import annotations

import pytest

from tests.client.conftest import Place, until

pytestmark = pytest.mark.anyio


async def test_open__what_happened_meanwhile_is_heard_by_who_listens_at_once(home: Place) -> None:
    heard: list[str] = []
    async with home.open() as session:
        session.on("restored", lambda event: heard.append(event.data["source"]))
        session.append("x")
        await until(lambda: heard)
    async with home.open() as session:
        session.on("*", lambda event: heard.append(event.data["source"]))
        await until(lambda: len(heard) == 2)
    assert heard == ["server", "server"]


async def test_status__and_figures(home: Place) -> None:
    async with home.open(debounce=60) as session:
        assert session.status.is_restored
        assert session.status.last_saved is None
        assert session.status.journal == "ok"
        session.append("é")
        status = session.status
        assert (status.waiting.changes, status.waiting.bytes) == (2, len('{"set":{"/messages":["é"]}}'.encode()))
        await session.save_now()
        after = session.status
        assert (after.waiting.changes, after.waiting.bytes) == (0, 0)
        assert after.last_saved is not None
        figures = session.statistics
        assert (figures.id, figures.messages, figures.reconnects) == (session.id, 1, 0)
        assert 0 < figures.duration_seconds < 60
    assert not session.statistics.is_active
