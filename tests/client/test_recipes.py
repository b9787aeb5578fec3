"""The recipes of docs/python.md, run as they are printed."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.client.conftest import Place
from tests.examples.pages import examples, page

TITLES = re.findall(r"^## (.*)$", page("docs/python.md"), re.MULTILINE)
RECIPES = dict(zip(TITLES, [example.text for example in examples("docs/python.md", "python")], strict=False))


@pytest.fixture
def recipe(home: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a recipe for a user who is new; returns its names."""
    monkeypatch.setenv("URL", home.options["url"])
    monkeypatch.setenv("TOKEN", home.options["token"])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def run(title: str) -> dict[str, Any]:
        names: dict[str, Any] = {"__name__": "__recipe__"}
        exec(compile(RECIPES[title], title, "exec"), names)
        return names

    return run


def saved(home: Place, key: str) -> Any:
    with home.open(key=key, journal=False) as session:
        return session.state.copy()


@pytest.mark.anyio
async def test_chat_with_fastapi(home: Place, recipe: Any) -> None:
    app = recipe("A chat with FastAPI")["app"]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as http:
        for text in ("hi", "again"):
            answer = await http.post("/chats/one", params={"text": text})
            assert answer.text == f"You said {text}."
    async with home.open(key="one", journal=False) as session:
        assert [message["content"] for message in session.state["messages"]] == [
            "hi",
            "You said hi.",
            "again",
            "You said again.",
        ]


def test_worker_with_a_queue(home: Place, recipe: Any, capsys: pytest.CaptureFixture[str]) -> None:
    recipe("A worker with a queue")
    printed = sorted(capsys.readouterr().out.splitlines())
    assert printed == ["answered: ONE CUP OF TEA ", "answered: TWO OF COFFEE "]
    contents = {message["content"] for message in saved(home, "queue")["messages"]}
    assert contents == {"ONE CUP OF TEA ", "TWO OF COFFEE "}


def test_notebook(home: Place, recipe: Any, capsys: pytest.CaptureFixture[str]) -> None:
    recipe("A notebook")
    assert capsys.readouterr().out == "[{'temperature': 0.2, 'score': 0.71}]\n[3, 2, 1]\n"
    assert saved(home, "notebook") == {"trials": [{"temperature": 0.2, "score": 0.71}]}


def test_agent_with_tools(home: Place, recipe: Any, capsys: pytest.CaptureFixture[str]) -> None:
    recipe("An agent with tools")
    recipe("An agent with tools")  # it is where it was
    assert capsys.readouterr().out == "It is 5.\nIt is 5.\n"
    state = saved(home, "agent")
    assert [message["role"] for message in state["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert state["step"] == 3


def test_agent_behind_a_page(home: Place, recipe: Any, capsys: pytest.CaptureFixture[str]) -> None:
    recipe("An agent behind somebody else's page")
    assert capsys.readouterr().out == "['a tea house', 'with cups']\n"
    assert saved(home, "outbox")["deliveries"] == {"1": {"status": "sent"}, "2": {"status": "sent"}}


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A real Redis; skips the test if Debian has not installed one."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server: apt-get install redis-server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = (tmp_path / "redis.log").open("wb")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert time.monotonic() < end, "Redis did not start"
                time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()
        log.close()


def test_from_a_list_in_redis(
    home: Place, recipe: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    redis = pytest.importorskip("redis")
    monkeypatch.setenv("REDIS_URL", redis_url)
    with redis.Redis.from_url(redis_url) as store:
        store.rpush("chat:1", '{"role":"user","content":"hi"}', '{"role":"assistant","content":"yes?"}')
        store.rpush("other", "x")
        recipe("From a list in Redis")["store"].close()
        store.rpush("chat:1", '{"role":"user","content":"more"}')
        recipe("From a list in Redis")["store"].close()
    assert capsys.readouterr().out == "chat:1 2 of 2\nchat:1 1 of 3\n"
    assert [message["content"] for message in saved(home, "chat:1")["messages"]] == ["hi", "yes?", "more"]


def test_recipes__are_all_run() -> None:
    assert len(examples("docs/python.md", "python")) == 6
