"""LangGraph's AsyncPostgresSaver, under a real graph whose only node answers at once.

What is timed is the saver alone: the time in which at least one of its calls is under way, and of a save only what
writes: each turn also reads the state, which an app that holds it would not have to. The graph's own time is in
`all_ms`. Durability is "exit", which its documentation calls the fastest: one checkpoint a turn. `…AsItComes` has
the default, "async": three checkpoints a turn, so that a crash in the middle of one loses less. Messages are plain dicts, as on the other sides. What looks like a message in a delta
channel, LangGraph turns into a message object with an id, which takes more time and room: so `Delta` names the keys
of its dicts differently, and `DeltaOfMessages` is the same with message objects, as most of its users have it.
Only one call at a time enters a saver (it has a lock), so each session has a saver of its own on one shared pool.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Awaitable
from typing import Annotated, Any, TypedDict

from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from tests.bench.peers.sides.base import CLIENTS, Message, Side, Turn

DELTA_TURNS = 30  # how many of the turns a session is filled with are saved one by one: a third of the way to a snapshot


def join(state: list[Message], writes: list[list[Message]]) -> list[Message]:
    """A delta channel's reducer: all writes at once."""
    return [*state, *(message for write in writes for message in write)]


class PlainState(TypedDict):
    messages: Annotated[list[Message], operator.add]
    step: int


class DeltaState(TypedDict):
    messages: Annotated[list[Message], DeltaChannel(join, list)]
    step: int


class Stopwatch:
    """Adds up the time in which at least one of the awaited things is under way."""

    def __init__(self) -> None:
        self.ms = 0.0
        self._running = 0
        self._begin = 0

    async def over(self, work: Awaitable[Any]) -> Any:
        """The result of the work."""
        if not self._running:
            self._begin = time.perf_counter_ns()
        self._running += 1
        try:
            return await work
        finally:
            self._running -= 1
            if not self._running:
                self.ms += (time.perf_counter_ns() - self._begin) / 1e6


class TimedSaver(AsyncPostgresSaver):  # type: ignore[misc,unused-ignore]  # not installed here
    """The saver, with a stopwatch over what a graph calls of it."""

    stopwatch: Stopwatch
    reading = True

    async def aput(self, *args: Any, **kwargs: Any) -> Any:
        return await self.stopwatch.over(super().aput(*args, **kwargs))

    async def aput_writes(self, *args: Any, **kwargs: Any) -> Any:
        return await self.stopwatch.over(super().aput_writes(*args, **kwargs))

    async def aget_tuple(self, *args: Any, **kwargs: Any) -> Any:
        return await self._read(super().aget_tuple(*args, **kwargs))

    async def aget_delta_channel_history(self, *args: Any, **kwargs: Any) -> Any:
        return await self._read(super().aget_delta_channel_history(*args, **kwargs))

    async def _read(self, work: Awaitable[Any]) -> Any:
        return await (self.stopwatch.over(work) if self.reading else work)


class Plain(Side):
    """`messages` is a list under a reducer: every checkpoint stores it whole."""

    packages = ("langgraph", "langgraph-checkpoint-postgres", "psycopg", "psycopg-pool")
    state: type = PlainState
    durability = "exit"
    turns_one_by_one = 1

    async def open(self, dsn: str, **options: Any) -> None:
        self._pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=CLIENTS,
            open=False,
            kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
        )
        await self._pool.open(wait=True)
        self._stopwatch = Stopwatch()
        await self._saver().setup()
        self._answers: dict[str, Turn] = {}
        self._graphs: dict[str, Any] = {}
        self._versions: dict[str, list[Any]] = {}
        self._loading_ms = 0.0

    async def fill(self, session: str, turns: list[Turn]) -> None:
        self._graphs[session] = self._graph(session)
        self._versions[session] = []
        bulk, single = turns[: -self.turns_one_by_one], turns[-self.turns_one_by_one :]
        if bulk:
            first = {"messages": [self.message(message) for turn in bulk for message in turn.messages][:-1]}
            await self._invoke(session, first, bulk[-1])
        for turn in single:
            await self.save(session, turn)

    async def save(self, session: str, turn: Turn) -> None:
        await self._invoke(session, {"messages": [self.message(turn.user)]}, turn)

    def message(self, message: Message) -> Message:
        """A message as this side keeps it."""
        return message

    async def _invoke(self, session: str, given: dict[str, Any], turn: Turn) -> None:
        self._answers[session] = turn
        graph = self._graphs[session]
        graph.checkpointer.reading = False
        updates = graph.astream(
            given, self._config(session), durability=self.durability, stream_mode="updates"
        )
        async for _ in updates:
            pass
        graph.checkpointer.reading = True

    def _graph(self, session: str) -> Any:
        async def answer(state: Any) -> dict[str, Any]:
            turn = self._answers[session]
            return {"messages": [self.message(turn.assistant)], "step": turn.step}

        graph = StateGraph(self.state)
        graph.add_node("answer", answer)
        graph.add_edge(START, "answer")
        graph.add_edge("answer", END)
        return graph.compile(checkpointer=self._saver())

    def _saver(self) -> TimedSaver:
        saver = TimedSaver(self._pool)
        saver.stopwatch = self._stopwatch
        return saver

    async def restore(self, session: str) -> object:
        return (await self._graphs[session].aget_state(self._config(session))).values

    async def restore_old(self, session: str, back: int) -> object | None:
        graph, config = self._graphs[session], self._config(session)
        if session not in self._versions or len(self._versions[session]) <= back:
            saver = graph.checkpointer
            async with saver._cursor() as cursor:  # ids alone: alist() would read all the states
                await cursor.execute(
                    "select checkpoint_id from checkpoints where thread_id = %s order by checkpoint_id desc",
                    (session,),
                )
                self._versions[session] = [row["checkpoint_id"] for row in await cursor.fetchall()]
            self._stopwatch.ms = 0.0
        config["configurable"]["checkpoint_id"] = self._versions[session][back]
        state: object = (await graph.aget_state(config)).values
        return state

    def took(self, elapsed_ms: float) -> float:
        took, self._stopwatch.ms = self._stopwatch.ms, 0.0
        return took

    @staticmethod
    def _config(session: str) -> dict[str, Any]:
        return {"configurable": {"thread_id": session}}

    async def close(self) -> None:
        await self._pool.close()


class Delta(Plain):
    """`messages` is a delta channel with its default of a snapshot every 100 updates."""

    state = DeltaState
    turns_one_by_one = DELTA_TURNS

    def message(self, message: Message) -> Message:
        return {"author": message["role"], "text": message["content"]}

    def contents(self, restored: Any) -> list[str]:
        return [message["text"] for message in restored["messages"]]


class PlainAsItComes(Plain):
    """With the durability that a graph has unless it is told otherwise."""

    durability = "async"


class DeltaAsItComes(Delta):
    """With the durability that a graph has unless it is told otherwise."""

    durability = "async"


class DeltaOfMessages(Delta):
    """The delta of LangChain's message objects."""

    def message(self, message: Message) -> Message:
        return message

    def contents(self, restored: Any) -> list[str]:
        return [message.content for message in restored["messages"]]
