"""What an app does with a session, over each way to the database."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import anyio.lowlevel
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from asyouwere.client.opening import Opening, Options, transport_for
from asyouwere.errors import AsYouWereError, NotFound
from tests.client.conftest import Place, until

pytestmark = pytest.mark.anyio


async def test_open__save_and_restore(place: Place) -> None:
    async with place.open() as session:
        assert session.state == {}
        assert session.number == 0
        session.append({"role": "user", "content": "Héllo \ud83d 🙂 \x00"})
        session.state["memory"] = {"topic": {"name": "tea"}, "list": [1, 2.5, None, True]}
        session.state["step"] = 1
        assert await session.save_now() == 1
        session.state["memory"]["topic"]["name"] = "rain"
        session.state["memory"]["list"].append("x")
        session.state["messages"][0]["content"] += "!"
        del session.state["step"]
        assert await session.save_now() == 2
        assert await session.save_now() == 2
    async with place.open(journal=False) as again:
        assert again.id == session.id
        assert again.number == 2
        assert again.state == {
            "messages": [{"role": "user", "content": "Héllo \ud83d 🙂 \x00!"}],
            "memory": {"topic": {"name": "rain"}, "list": [1, 2.5, None, True, "x"]},
        }
        assert again.key == "chat"


async def test_open__leaving_the_block_saves(place: Place) -> None:
    async with place.open() as session:
        session.state["step"] = 7
    async with place.open() as again:
        assert again.state == {"step": 7}


async def test_sessions__two_at_once(place: Place) -> None:
    async with place.open() as one, place.open() as two:
        one.append("one")
        two.append("two")
        two.state["step"] = 2
        await one.save_now()
        two.append("three")
        await two.save_now()
        two.state["messages"][1] += "."
        await two.save_now()
        await one.refresh()
        assert one.state == two.state == {"messages": ["one", "two.", "three"], "step": 2}


async def test_session__edits_while_a_save_is_under_way(place: Place) -> None:
    async with place.open() as one, place.open() as two:
        two.append("theirs")
        await two.save_now()
        mine = one.append({"text": "mine"})
        async with anyio.create_task_group() as group:
            group.start_soon(one.save_now)
            await anyio.lowlevel.checkpoint()
            mine["text"] += ", grown"
            one.append("later")
        await one.save_now()
        assert one.state == {"messages": ["theirs", {"text": "mine, grown"}, "later"]}
        assert one.state["messages"][1] is mine
        await two.refresh()
        assert two.state == one.state


async def test_history__labels_restore_diff_fork(place: Place) -> None:
    async with place.open() as session:
        session.state["step"] = 1
        await session.save_now(label="first")
        session.state["step"] = 2
        session.append("hi")
        await session.save_now()
        rows = await session.history()
        assert [(row["number"], row["label"]) for row in rows] == [(2, None), (1, "first")]
        assert [row["number"] for row in await session.history(before=2)] == [1]
        diff = await session.diff(1)
        assert {row["address"]: row["after"] for row in diff}["/step"] == 2
        assert await session.peek(label="first") == {"step": 1}
        assert await session.restore(label="first") == 3
        assert session.state == {"step": 1}
        assert await session.revert(2) == 4
        assert session.state == {"step": 2, "messages": ["hi"]}
        assert await session.label("now") == 4
        fork = await session.fork(1, name="Another")
        assert b'"snapshots"' in await session.export()
    async with place.open(session=fork, key=None) as branch:
        assert branch.state == {"step": 1}


async def test_change__what_is_kept_beside_the_state(place: Place) -> None:
    agent = {"provider": "studio", "external_id": "a1"}
    async with place.open(name="Tea") as session:
        assert (session.info["name"], session.info["upstream"]) == ("Tea", None)
        changed = await session.change(upstream=agent, status="running")
        assert (changed["upstream"], session.info["status"]) == (agent, "running")
    async with place.open(key=None, session=session.id) as again:
        assert (again.info["name"], again.info["upstream"], again.info["my_role"]) == ("Tea", agent, "owner")
        with pytest.raises(AsYouWereError) as refused:
            await again.change(status="asleep")
        assert (refused.value.status in (400, 422), again.info["status"]) == (True, "running")


async def test_open__an_id_that_is_not_there(place: Place) -> None:
    from asyouwere.client.errors import Expired

    with pytest.raises(Expired) as refused:
        async with place.open(key=None, session="01900000-0000-7000-8000-000000000001"):
            pass
    assert isinstance(refused.value.__cause__, NotFound)


@pytest.mark.parametrize(
    ("url", "transport"),
    [
        ("https://example.org/functions/v1", "HttpTransport"),
        ("https://example.cloudfunctions.net", "HttpTransport"),
        ("https://ref.supabase.co", "PostgrestTransport"),
        ("https://ref.supabase.co/functions/v1", "HttpTransport"),
        ("https://ref.supabase.co/rest/v1/", "PostgrestTransport"),
        ("postgresql://u:p@127.0.0.1/d", "PostgresTransport"),
    ],
)
async def test_transport_for__the_address_says_which(url: str, transport: str) -> None:
    found = transport_for(Options(url=url, user_id="u"), None)
    assert type(found).__name__ == transport
    await found.close()


async def test_transport_for__what_makes_no_sense(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(TypeError, match="user_id"):
        transport_for(Options(url="postgresql://u:p@127.0.0.1/d"), None)
    with pytest.raises(ValueError, match="https"):
        transport_for(Options(url="ftp://example.org"), None)
    with pytest.raises(TypeError, match="not both"):
        Opening(Options(url="https://example.org", session="s", key="k"))
    await transport_for(Options(url="http://example.org/functions/v1"), None).close()
    assert "in clear" in caplog.text
    assert "secret" not in repr(Options(url="postgresql://u:secret@h/d", token="secret", api_key="secret"))


async def test_open__an_address_without_the_path_of_the_functions_says_so(home: Place) -> None:
    bare = home.options["url"].removesuffix("/functions/v1")
    assert bare != home.options["url"]
    for url in (bare, bare + "/"):
        with pytest.raises(NotFound, match="ends in /functions/v1"):
            async with home.open(url=url):
                pass


async def test_postgres__sessions_of_a_process_share_a_few_connections(new_place: Callable[[str], Place]) -> None:
    place = new_place("postgres")
    database = conninfo_to_dict(place.db.dsn)["dbname"]

    def connections() -> int:
        with psycopg.connect(place.db.dsn, autocommit=True) as watching:
            asked = "select count(*) from pg_stat_activity where application_name = 'asyouwere-shared' and datname = %s"
            (count,) = watching.execute(asked, (database,)).fetchone() or (0,)
            return int(count)

    url = place.options["url"] + "?application_name=asyouwere-shared"
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(place.open(url=url, key=f"chat {n}")) for n in range(30)]

        async def save(session: Any) -> None:
            session.append({"role": "user", "content": session.id})
            await session.save_now()

        async with anyio.create_task_group() as group:
            for session in sessions:
                group.start_soon(save, session)
        assert 1 <= connections() <= 5
        assert [session.state["messages"][0]["content"] for session in sessions] == [one.id for one in sessions]
    await until(lambda: connections() == 0)
