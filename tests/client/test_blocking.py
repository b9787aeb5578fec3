"""The same session where nothing is async; and the end of a process, however it comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

import asyouwere
from tests.client.conftest import Place

ROOT = Path(__file__).parents[2]


def test_with__everything_as_in_async(home: Place) -> None:
    with home.open() as session:
        assert session.state == {}
        message = session.append({"role": "user", "content": "hi"})
        message["content"] += "!"
        session.update({"step": 1})
        session.update(lambda state: state["messages"].append("x"))
        session.set("/memory/topic", "tea")
        assert session.get("/memory/topic") == "tea"
        assert session.save_now(label="first") == 1
        assert session.status.save_count == 1
        assert session.status.waiting.changes == 0
        assert [row["label"] for row in session.history()] == ["first"]
        session.state = {"all": "new"}
        assert session.save_now() == 2
        assert {row["address"] for row in session.diff(1)} >= {"/step", "/all"}
        assert session.peek(1)["step"] == 1
        assert session.restore(label="first") == 3
        assert session.revert(2) == 4
        assert session.label("last") == 4
        assert session.fork()
        assert session.export("json")
        assert session.key == "chat"
        assert session.change(name="Tea")["name"] == session.info["name"] == "Tea"
        assert session.statistics.is_active
        with session.turn() as turn:
            assert turn.write("Hel")
            turn.write("lo")
        assert turn.text == "Hello"
        assert session.context() == [{"role": "assistant", "content": "Hello"}]
        assert list(session.stream(["a", "b"])) == ["a", "b"]
        assert "".join(progress.text for progress in session.follow(turn.id)) == "Hello"
        with home.open() as other:
            other.append("other")
            other.save_now()
        session.refresh()
        assert session.state["messages"][-1] == "other"
        with session.still():
            assert len(session.state["messages"]) == 3


def test_start__closed_by_close(home: Place) -> None:
    session = home.open().start()
    session.state["step"] = 1
    session.close()
    session.close()
    assert home.saved() == {"step": 1}


PROGRAM = """
    import asyouwere, os, signal, sys, time, asyncio
    options = {options!r}
    {body}
"""


def run(place: Place, body: str, **more: Any) -> subprocess.Popen[str]:
    options = {**place.options, "journal": str(place.options["journal"]), "key": "chat", "poll": None, **more}
    program = textwrap.dedent(PROGRAM).format(options=options, body=textwrap.dedent(body))
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "functions")},
    )


def test_start__saved_at_the_end_of_the_program(home: Place) -> None:
    program = run(home, "session = asyouwere.open(**options).start(); session.state['step'] = 1")
    assert program.communicate(timeout=30) == ("", "")
    assert home.saved() == {"step": 1}


BLOCKING = """
with asyouwere.open(**options) as session:
    session.state["step"] = 1
    print("ready", flush=True)
    time.sleep(30)
"""
ASYNC = """
async def main():
    async with asyouwere.open(**options) as session:
        session.state["step"] = 1
        async with session.turn() as turn:
            await turn.write("Half an ")
            print("ready", flush=True)
            await asyncio.sleep(30)
asyncio.run(main())
"""


@pytest.mark.parametrize("program", [BLOCKING, ASYNC])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal__saved_on_the_way_out(home: Place, program: str, number: int) -> None:
    process = run(home, program)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode not in (0, None)
    found = home.saved()
    assert found["step"] == 1
    if program == ASYNC:
        assert found["messages"] == [{"role": "assistant", "content": "Half an ", "status": "stopped"}]


@pytest.mark.parametrize("way_to_edit", ["session.state['step'] = 1; time.sleep(0.2)", "session.update({'step': 1})"])
def test_kill__what_was_handed_over_is_sent_by_the_next(home: Place, way_to_edit: str) -> None:
    process = run(
        home,
        f"""
session = asyouwere.open(**options).start()
session.append("one")
{way_to_edit}
session.append("two")
print("ready", flush=True)
time.sleep(30)
""",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.stderr.read()  # type: ignore[union-attr]
    process.kill()
    process.communicate(timeout=30)
    assert home.saved() == {}
    with home.open() as session:
        assert session.state == {"messages": ["one", "two"], "step": 1}
        session.save_now()
    assert home.saved() == {"messages": ["one", "two"], "step": 1}
    with home.open() as session:
        assert session.number == 1


@pytest.mark.parametrize("lease", ["good", "over"])
def test_kill__in_the_middle_of_an_answer(home: Place, lease: str) -> None:
    process = run(
        home,
        """
session = asyouwere.open(**options).start()
turn = session.turn().__enter__()
turn.write("Half ")
time.sleep(1.5)
turn.write("an ")
turn.write("answer")
print("ready", flush=True)
time.sleep(30)
""",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate(timeout=30)
    if lease == "over":
        with home.open(journal=False) as other:
            home.db.superuser.execute(
                "update session_turns set lease_until = now() - interval '1 second' where session_id = %s",
                (other.id,),
            )
            with other.turn() as turn:  # ends the other one as interrupted
                turn.write("next")
    with home.open() as session:
        end = time.monotonic() + 20
        while not session.state.get("messages") or session.state["messages"][0]["content"] != "Half an answer":
            assert time.monotonic() < end, session.state
            time.sleep(0.05)
        status = "failed" if lease == "good" else "interrupted"
        assert session.state["messages"][0] == {"role": "assistant", "content": "Half an answer", "status": status}
    assert home.saved()["messages"][0]["content"] == "Half an answer"


def test_format_time_ago() -> None:
    now = time.time()
    expected = {
        0: "just now",
        59: "59 seconds ago",
        61: "1 minute ago",
        7200: "2 hours ago",
        86400 * 3: "3 days ago",
        86400 * 15: "2 weeks ago",
        86400 * 800: "2 years ago",
    }
    assert {seconds: asyouwere.format_time_ago(now - seconds, now) for seconds in expected} == expected
    assert asyouwere.format_time_ago(None) == "never"
