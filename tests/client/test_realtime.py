"""Hearing of news by Supabase Realtime: supabase-py's own client, against a server that speaks its protocol."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
import realtime
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

import asyouwere
from tests.client.conftest import Place, until

pytestmark = pytest.mark.anyio


class Phoenix:
    """As much of Realtime as a broadcast needs. joined: the topics, each with what it was joined with."""

    def __init__(self) -> None:
        self.joined: dict[str, dict[str, Any]] = {}
        self.refuses = False
        self._lines: set[ServerConnection] = set()
        self._server: Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/realtime/v1"

    async def __aenter__(self) -> Phoenix:
        self._server = await serve(self._talk, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _talk(self, line: ServerConnection) -> None:
        self._lines.add(line)
        async for text in line:
            asked = json.loads(text)
            topic, is_join = asked["topic"], asked["event"] == "phx_join"
            status = "error" if is_join and self.refuses else "ok"
            if is_join and status == "ok":
                self.joined[topic] = asked["payload"]
            elif asked["event"] == "phx_leave":
                self.joined.pop(topic, None)
            response = {"postgres_changes": []} if status == "ok" else {"reason": "Unauthorized"}
            reply = {"event": "phx_reply", "topic": topic, "ref": asked["ref"]}
            with suppress(ConnectionClosed):  # it does not wait for the answer to its leaving
                await line.send(json.dumps({**reply, "payload": {"status": status, "response": response}}))
        self._lines.discard(line)

    async def say(self, session: str, event: str, **payload: Any) -> None:
        """As the database does."""
        told = {"event": event, "payload": {"session": session, **payload}, "type": "broadcast"}
        message = {"event": "broadcast", "topic": f"realtime:asyouwere:{session}", "ref": None, "payload": told}
        for line in self._lines:
            await line.send(json.dumps(message))


@pytest.fixture
async def phoenix() -> AsyncIterator[Phoenix]:
    async with Phoenix() as server:
        yield server


@pytest.fixture
async def client(phoenix: Phoenix) -> AsyncIterator[realtime.AsyncRealtimeClient]:
    made = realtime.AsyncRealtimeClient(phoenix.url, "key")
    yield made
    await made.close()


def topic_of(session: asyouwere.Session) -> str:
    return f"realtime:asyouwere:{session.id}"


async def test_realtime__what_others_save_comes_in_when_it_is_told(
    home: Place, phoenix: Phoenix, client: realtime.AsyncRealtimeClient
) -> None:
    async with home.open(realtime=client) as session, home.open() as other:
        await until(lambda: topic_of(session) in phoenix.joined)
        assert phoenix.joined[topic_of(session)]["config"]["private"] is True
        other.append("theirs")
        number = await other.save_now()
        await phoenix.say(session.id, "snapshot", number=number)
        await until(lambda: session.state.get("messages") == ["theirs"])
    assert phoenix.joined == {}


async def test_realtime__what_was_told_before_it_listened_is_seen(
    home: Place, phoenix: Phoenix, client: realtime.AsyncRealtimeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        subscribe = realtime.AsyncRealtimeChannel.subscribe

        async def later(self: realtime.AsyncRealtimeChannel, *args: Any) -> Any:
            async with home.open(journal=False) as other:
                other.append("theirs")
            return await subscribe(self, *args)

        monkeypatch.setattr(realtime.AsyncRealtimeChannel, "subscribe", later)
        session = await stack.enter_async_context(home.open(realtime=client))
        await until(lambda: session.state.get("messages") == ["theirs"])


async def test_realtime__turns_of_others_are_told(
    home: Place, phoenix: Phoenix, client: realtime.AsyncRealtimeClient
) -> None:
    async with home.open(realtime=client) as session:
        await until(lambda: topic_of(session) in phoenix.joined)
        told: list[dict[str, Any]] = []
        session.on("turn", lambda event: told.append(event.data))
        turn = str(uuid.uuid4())
        await phoenix.say(session.id, "turn", turn=turn, seq=4)
        await until(lambda: told == [{"turn": turn, "seq": 4}])


async def test_realtime__one_that_refuses_keeps_nobody_from_looking(
    home: Place, phoenix: Phoenix, client: realtime.AsyncRealtimeClient
) -> None:
    phoenix.refuses = True
    async with home.open(realtime=client, poll=0.05) as session, home.open() as other:
        other.append("theirs")
        await other.save_now()
        await until(lambda: session.state.get("messages") == ["theirs"])
        session.append("mine")
        await session.save_now()
    assert home.saved()["messages"] == ["theirs", "mine"]


async def test_realtime__another_session_is_listened_to_after_a_clean_start(
    home: Place, phoenix: Phoenix, client: realtime.AsyncRealtimeClient
) -> None:
    async with home.open(realtime=client, on_expired="new") as session:
        await until(lambda: topic_of(session) in phoenix.joined)
        gone = session.id
        home.db.superuser.execute("delete from free_agent_sessions where id = %s", (gone,))
        with suppress(asyouwere.AsYouWereError):
            await session.refresh()
        await until(lambda: session.id != gone and set(phoenix.joined) == {topic_of(session)})


def test_open__realtime_without_a_loop_of_the_apps__is_a_mistake(home: Place) -> None:
    with pytest.raises(TypeError, match="async with"), home.open(realtime=object()):
        pass
