"""The checkpointer in LangGraph's own conformance suite, in a graph that is interrupted and goes on, and raced."""

from __future__ import annotations

import operator
import uuid
from typing import Annotated, Any, TypedDict

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from examples.adapters.database import Database
from examples.adapters.langgraph_checkpointer import AsYouWereSaver
from tests.adapters.checks.racing import CALLERS, at_once, run


class Chat(TypedDict):
    messages: Annotated[list[Any], operator.add]


async def conforms(database: Database) -> int:
    """How many tests of the suite passed; all must."""

    @checkpointer_test(name="asyouwere")
    async def saver():
        yield AsYouWereSaver(database, prefix=f"{uuid.uuid4()}/")

    report = await validate(saver)
    results = report.to_dict()
    if not report.passed_all():
        report.print_report()
        raise AssertionError(results)
    return sum(result.tests_passed for result in report.results.values())


async def goes_on_in_a_graph(database: Database) -> None:
    def ask(state: Chat) -> Chat:
        return {"messages": [HumanMessage(interrupt("Where to?"), id="1")]}

    def answer(state: Chat) -> Chat:
        return {"messages": [{"role": "assistant", "content": f"To {state['messages'][-1].content}."}]}

    builder = StateGraph(Chat)
    builder.add_node("ask", ask)
    builder.add_node("answer", answer)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", "answer")
    builder.add_edge("answer", END)
    config = {"configurable": {"thread_id": str(uuid.uuid4())}}
    graph = builder.compile(checkpointer=AsYouWereSaver(database))
    await graph.ainvoke({"messages": ["hi"]}, config)
    # another process goes on
    graph = builder.compile(checkpointer=AsYouWereSaver(database))
    state = await graph.ainvoke(Command(resume="Kyoto"), config)
    expected = ["hi", HumanMessage("Kyoto", id="1"), {"role": "assistant", "content": "To Kyoto."}]
    assert state["messages"] == expected, state
    history = [snapshot async for snapshot in graph.aget_state_history(config)]
    assert history[0].values["messages"] == expected
    # back to where it was about to answer, and another way from there
    before = next(snapshot for snapshot in history if snapshot.next == ("answer",))
    branch = await graph.aupdate_state(before.config, {"messages": [HumanMessage("Nara", id="2")]}, as_node="ask")
    await graph.ainvoke(None, branch)
    again = await graph.aget_state(config)
    assert again.values["messages"][-1]["content"] == "To Nara.", again.values
    old = await graph.aget_state(history[0].config)
    assert old.values["messages"] == expected


async def sixteen_at_once(database: Database) -> None:
    thread = {"configurable": {"thread_id": str(uuid.uuid4()), "checkpoint_ns": ""}}
    savers = [AsYouWereSaver(database) for _ in range(CALLERS)]

    def checkpoint(messages: list[str]) -> Any:
        return empty_checkpoint() | {"id": str(uuid.uuid4()), "channel_values": {"messages": messages}}

    root = await savers[0].aput(thread, checkpoint(["root"]), {"source": "input"}, {})

    # a branch each from one checkpoint, twice, so that what a saver remembers is raced too
    async def branch(number: int) -> Any:
        config = root
        for step in ("a", "b"):
            messages = ["root", f"{number}{step}"]
            config = await savers[number].aput(config, checkpoint(messages), {"source": "loop", "by": number}, {})
        return config

    ends = await at_once(branch)
    for number, end in enumerate(ends):
        found = await savers[0].aget_tuple(end)
        assert found is not None
        assert found.checkpoint["channel_values"] == {"messages": ["root", f"{number}b"]}
        assert found.metadata["by"] == number
    listed = [found async for found in savers[0].alist(thread, filter={"source": "loop"})]
    assert len(listed) == 2 * CALLERS

    # one task by sixteen runners: the first wins, whole
    async def writes(number: int) -> None:
        pairs = [("one", number), ("two", number)]
        await savers[number].aput_writes(root, pairs, "task")

    await at_once(writes)
    found = await savers[0].aget_tuple(root)
    assert found is not None
    pending = found.pending_writes or []
    assert [write[:2] for write in pending] == [("task", "one"), ("task", "two")]
    assert len({write[2] for write in pending}) == 1, pending

    # tasks of their own
    await at_once(lambda number: savers[number].aput_writes(root, [("c", number)], f"task {number}"))
    found = await savers[0].aget_tuple(root)
    assert found is not None
    assert len(found.pending_writes or []) == 2 + CALLERS
    # the same checkpoint by sixteen: one
    same = checkpoint(["same"])
    await at_once(lambda number: savers[number].aput(root, same, {}, {}))
    found = await savers[0].aget_tuple({"configurable": thread["configurable"] | {"checkpoint_id": same["id"]}})
    assert found is not None
    await savers[0].adelete_thread(thread["configurable"]["thread_id"])
    assert await savers[0].aget_tuple(thread) is None


async def check(database: Database) -> str:
    passed = await conforms(database)
    await goes_on_in_a_graph(database)
    await sixteen_at_once(database)
    return f"{passed} of LangGraph's own"


if __name__ == "__main__":
    run(check)
