"""The follower of docs/turns.md that a browser runs, in Node.js, as it is printed; its curl is run by test_readme.py."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from uuid import uuid4

import pytest

from asyouwere.local.demo.client import Client
from asyouwere.local.demo.runner import until_answered
from asyouwere.local.node import find_node
from asyouwere.local.stack import LocalStack
from tests.examples.pages import examples


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("turns") / "data", port=0, postgres_port=0) as running:
        yield running


@pytest.fixture
def client(stack: LocalStack) -> Iterator[Client]:
    with Client(stack.url, stack.token()) as opened:
        yield opened


def following(stack: LocalStack, session: str, turn: str, token: str) -> subprocess.Popen[str]:
    """The example, running."""
    (example,) = examples("docs/turns.md", "js")
    return subprocess.Popen(
        [find_node().program, "--no-warnings", "--input-type=module", "--eval", example.text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={
            "PATH": os.environ["PATH"],
            "TURN_URL": f"{stack.url}/sessions/{session}/turns/{turn}",
            "TOKEN": token,
        },
    )


def test_fetch_example__over_a_crash_of_the_functions__prints_each_chunk_once(
    stack: LocalStack, client: Client
) -> None:
    session, turn = client.create_session(), str(uuid4())
    client.begin_turn(session, turn)
    client.flush(session, turn, 1, ["Green"])
    with following(stack, session, turn, stack.token()) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "1 Green\n"
        client.flush(session, turn, 2, [" or", {"n": 1}])
        stack.functions.kill()
        stack.functions.start()
        until_answered(lambda: client.flush(session, turn, 4, ["\u2028black 折"]))
        client.finish_turn(session, turn)
        printed, errors = program.communicate(timeout=60)
    assert errors == ""
    assert printed == "2  or\n3 { n: 1 }\n4 \u2028black 折\n5 end\n"


def test_fetch_example__of_a_turn_that_is_not_theirs__says_why(stack: LocalStack, client: Client) -> None:
    session, turn = client.create_session(), str(uuid4())
    client.begin_turn(session, turn)
    with following(stack, session, turn, stack.token("eve")) as program:
        printed, errors = program.communicate(timeout=60)
    assert printed == ""
    assert "RangeError: session_not_found" in errors
