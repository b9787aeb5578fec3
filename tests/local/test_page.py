"""The page's own addresses: its files, signing in, and the agent that answers in a turn."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from asyouwere.local.page import agent
from asyouwere.local.page.answers import compose, spoken
from asyouwere.local.tokens import ISSUER, user_id
from tests.functions.api import serving, settings_for
from tests.support.database import Db


@pytest.fixture
def page_file(tmp_path: Path) -> Path:
    """A built page, as far as the server looks at it."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>the page</title>")
    (tmp_path / "assets" / "main.js").write_text("// script")
    return tmp_path


@pytest.fixture
def http(db: Db, page_file: Path) -> Iterator[httpx.Client]:
    """The page's server over a database of its own."""
    with (
        serving(settings_for(db.api_dsn, jwt_issuer=ISSUER), page_file) as url,
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        yield client


def sign_in(http: httpx.Client, **who: Any) -> tuple[dict[str, str], dict[str, Any]]:
    answer = http.post("/page/sign-in", json=who or {"user": "ada"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    return {"Authorization": f"Bearer {told['token']}"}, told


class Chat:
    """One person's session with the agent."""

    def __init__(self, http: httpx.Client, headers: dict[str, str]) -> None:
        self.http = http
        self.headers = headers
        self.session = self.post("/functions/v1/sessions", {}).json()["id"]

    def post(self, path: str, body: Any) -> httpx.Response:
        return self.http.post(path, json=body, headers=self.headers)

    def say(self, text: str) -> None:
        said = {"messages": [{"role": "user", "content": text}]}
        assert self.post(f"/functions/v1/sessions/{self.session}/messages", said).status_code == 201

    def ask(self, turn: str | None = None) -> httpx.Response:
        return self.post("/page/answer", {"session": self.session, "turn": turn or str(uuid.uuid4())})

    def turn(self, turn: str) -> dict[str, Any]:
        address = f"/functions/v1/sessions/{self.session}/turns/{turn}"
        found: dict[str, Any] = self.http.get(address, headers=self.headers).json()
        return found

    def ended(self, turn: str) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while (found := self.turn(turn))["status"] == "running":
            assert time.monotonic() < deadline, "the turn did not end"
            time.sleep(0.05)
        return found

    def answered(self, turn: str) -> dict[str, Any]:
        """The message that the turn has become."""
        position = self.ended(turn)["position"]
        message: dict[str, Any] = self.state()["messages"][position]
        return message

    def state(self) -> Any:
        body = {"session_id": self.session}
        return self.post("/functions/v1/session-snapshot-restore", body).json()["state"]


@pytest.fixture
def chat(http: httpx.Client) -> Chat:
    return Chat(http, sign_in(http)[0])


# -- files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/home", "/generate"])
def test_page__a_browser_gets_it_under_a_strict_policy(http: httpx.Client, path: str) -> None:
    answer = http.get(path, headers={"Accept": "text/html"})

    assert "the page" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert http.get("/assets/main.js").text == "// script"


def test_root__a_program_still_gets_what_there_is_as_json(http: httpx.Client) -> None:
    assert http.get("/").json()["name"] == "asyouwere"


def test_assets__nothing_outside_the_folder(http: httpx.Client) -> None:
    assert http.get("/assets/%2e%2e/index.html").status_code == 404


# -- people ---------------------------------------------------------------------------------------------------


def test_sign_in__as_a_demo_user(http: httpx.Client) -> None:
    headers, told = sign_in(http, user="ben")

    assert told["user"] == {"id": str(user_id("ben")), "name": "Ben", "guest": False}
    assert told["expires_at"] > time.time()
    assert http.get("/functions/v1/sessions", headers=headers).status_code == 200


def test_sign_in__a_guest_stays_the_same_guest(http: httpx.Client) -> None:
    _, first = sign_in(http, guest=None)
    _, again = sign_in(http, guest=first["user"]["id"])
    _, other = sign_in(http, guest=None)

    assert again["user"] == first["user"]
    assert other["user"]["id"] != first["user"]["id"]
    assert first["user"]["guest"]


@pytest.mark.parametrize(
    "who",
    [{"user": "eve"}, {"user": "demo"}, {}, {"guest": "x"}, {"guest": str(user_id("ada"))}, {"user": ["ada"]}, []],
)
def test_sign_in__nobody_else(http: httpx.Client, who: Any) -> None:
    assert http.post("/page/sign-in", json=who).status_code == 422


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:8787"},
    ],
)
def test_sign_in__another_page_is_refused(http: httpx.Client, headers: dict[str, str]) -> None:
    assert http.post("/page/sign-in", json={"user": "ada"}, headers=headers).status_code == 403


def test_sign_in__a_form_is_refused(http: httpx.Client) -> None:
    text = {"Content-Type": "text/plain"}

    assert http.post("/page/sign-in", content='{"user": "ada"}', headers=text).status_code == 422
    assert http.post("/page/sign-in", content=b"[" * 20_000, headers=text).status_code == 422


# -- the agent ------------------------------------------------------------------------------------------------


def test_answer__calls_a_tool_and_keeps_the_message(chat: Chat) -> None:
    chat.say("what is 17 * (3 + 4)?")
    turn = str(uuid.uuid4())

    begun = chat.ask(turn)
    ended = chat.ended(turn)

    assert begun.status_code == 202
    assert ended["status"] == "done"
    message = chat.state()["messages"][ended["position"]]
    assert message["role"] == "assistant"
    assert "**119**" in message["content"]
    assert message["tools"] == [{"name": "calculator", "input": "17 * (3 + 4)", "output": "119"}]


def test_answer__what_it_is_told_is_in_the_memory(chat: Chat) -> None:
    chat.say("remember that the gate a/b is at 9:40.")
    turn = str(uuid.uuid4())
    chat.ask(turn)
    chat.ended(turn)

    assert chat.state()["memory"]["blackboard"] == {"gate a/b": "at 9:40"}
    chat.say("what do you know?")
    chat.ask(turn := str(uuid.uuid4()))
    assert "gate a/b" in chat.answered(turn)["content"]


def test_answer__asked_again_with_the_same_turn_is_one_answer(chat: Chat) -> None:
    chat.say("what time is it?")
    turn = str(uuid.uuid4())

    answers = [chat.ask(turn).status_code for _ in range(5)]
    chat.ended(turn)

    assert answers == [202] * 5
    assert [message["role"] for message in chat.state()["messages"]] == ["user", "assistant"]


def test_answer__while_another_is_being_made_says_which(chat: Chat) -> None:
    chat.say("tell me a long story")
    turn = str(uuid.uuid4())
    chat.ask(turn)

    second = chat.ask()
    chat.post(f"/functions/v1/sessions/{chat.session}/turns/{turn}/stop", {})
    chat.ended(turn)

    assert (second.status_code, second.json()["code"], second.json()["turn"]) == (409, "turn_running", turn)


def test_answer__stopped_keeps_what_was_said(chat: Chat) -> None:
    chat.say("tell me a long story")
    turn = str(uuid.uuid4())
    chat.ask(turn)
    while chat.turn(turn)["next_seq"] == 1:
        time.sleep(0.05)

    chat.post(f"/functions/v1/sessions/{chat.session}/turns/{turn}/stop", {})
    ended = chat.ended(turn)

    message = chat.state()["messages"][ended["position"]]
    assert (ended["status"], message["status"]) == ("stopped", "stopped")
    assert message["content"].startswith("## The night train")


def test_answer__strangers_and_nobody_are_told_not_found(http: httpx.Client, chat: Chat) -> None:
    stranger = sign_in(http, user="ben")[0]
    asked = {"session": chat.session, "turn": str(uuid.uuid4())}

    assert http.post("/page/answer", json=asked, headers=stranger).status_code == 404
    assert http.post("/page/answer", json=asked).status_code == 401
    assert (
        http.post("/page/answer", json={"session": "../sessions", "turn": "x"}, headers=stranger).status_code >= 400
    )


def test_carry_on__an_answer_goes_on_as_the_account_that_its_guest_signs_in_to(http: httpx.Client) -> None:
    chat, theirs = Chat(http, sign_in(http, guest=None)[0]), sign_in(http, user="ben")[0]
    chat.say("tell me a long story")
    chat.ask(turn := str(uuid.uuid4()))
    while chat.turn(turn)["next_seq"] == 1:
        time.sleep(0.05)
    code = chat.post("/functions/v1/sessions/offer", {}).json()["code"]
    for nobodys in (theirs, {}):
        assert http.post("/page/carry-on", headers=nobodys).json() == {"answers": 0}
    assert http.post("/functions/v1/sessions/claim", json={"code": code}, headers=theirs).json()["sessions"] == 1

    assert http.post("/page/carry-on", headers=theirs).json() == {"answers": 1}
    assert http.post("/page/carry-on", headers=theirs).json() == {"answers": 0}  # once
    assert http.post("/page/carry-on", headers=sign_in(http, user="ada")[0]).json() == {"answers": 0}

    chat.headers = theirs
    seen = chat.turn(turn)["next_seq"]
    deadline = time.monotonic() + 30
    while chat.turn(turn)["next_seq"] == seen:
        assert time.monotonic() < deadline, "the answer does not go on"
        time.sleep(0.05)
    chat.post(f"/functions/v1/sessions/{chat.session}/turns/{turn}/stop", {})
    assert chat.ended(turn)["status"] == "stopped"


def test_carry_on__another_page_is_refused(http: httpx.Client) -> None:
    evil = {**sign_in(http)[0], "Origin": "https://evil.example"}
    assert http.post("/page/carry-on", headers=evil).status_code == 403


@pytest.mark.parametrize("question", ["9 ** 9 ** 9 ** 9", "1/0", "2 ** 100000", "((((((1+", "__import__('os') * 2"])
def test_compose__sums_that_cannot_be_worked_out_are_no_sums(question: str) -> None:
    composed = compose([{"role": "user", "content": question}], {})

    assert not composed.tools
    assert composed.text


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("count the words in: to be or not to be", "**6** words"),
        ("a table of 12", "| 12 | 144 |"),
        ("primes in Python", "```python"),
        ("what can you do?", "remember"),
        ("help", "remember"),
        ("2^10", "1,024"),
        ("what is 1,000 / 8 ?", "125"),
        ("Hello", "Hello!"),
    ],
)
def test_compose__does_what_it_is_asked(question: str, expected: str) -> None:
    assert expected in compose([{"role": "user", "content": question}], {}).text


async def test_spoken__the_words_are_the_text() -> None:
    for text in ("one  two\n\nthree ", "", " ", "## A\n\n| a |\n"):
        said = [piece async for piece in spoken(compose([{"role": "user", "content": "hi"}], {}).__class__(text), 0)]
        assert "".join(map(str, said)) == text


# -- a model --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def endpoint(
    *events: str, status: int = 200, hangs: threading.Event | None = None
) -> Iterator[tuple[str, list[Any]]]:
    """An OpenAI-compatible address that answers with these events, and then hangs; and what it was asked."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            asked.append((self.path, self.headers["Authorization"], json.loads(self.rfile.read(length))))
            self.send_response(status)
            self.end_headers()
            for event in events:
                self.wfile.write(f"data: {event}\n\n".encode())
                self.wfile.flush()
            if hangs is not None:
                hangs.wait(120)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
        server.shutdown()


def delta(text: str) -> str:
    return json.dumps({"choices": [{"delta": {"content": text}}]})


@contextlib.contextmanager
def asking(db: Db, page: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    monkeypatch.setenv("ASYOUWERE_MODEL_URL", url)
    monkeypatch.setenv("ASYOUWERE_MODEL_KEY", "the key")
    with (
        serving(settings_for(db.api_dsn, jwt_issuer=ISSUER), page) as base,
        httpx.Client(base_url=base, timeout=30, trust_env=False) as client,
    ):
        yield Chat(client, sign_in(client)[0])


def test_model__its_words_become_the_message(db: Db, page_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = [json.dumps({"choices": [{"delta": {"role": "assistant"}}]}), delta("Hi "), delta("there"), "[DONE]"]
    with endpoint(*events) as (url, asked), asking(db, page_file, url, monkeypatch) as chat:
        chat.say("hello")
        chat.ask(turn := str(uuid.uuid4()))
        message = chat.answered(turn)

    assert message["content"] == "Hi there"
    (path, authorization, body), *_ = asked
    assert (path, authorization) == ("/v1/chat/completions", "Bearer the key")
    assert (body["stream"], body["messages"]) == (True, [{"role": "user", "content": "hello"}])


def test_model__that_fails_says_so_and_keeps_what_it_said(
    db: Db, page_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with endpoint(delta("Half"), "no json") as (url, _), asking(db, page_file, url, monkeypatch) as chat:
        chat.say("hello")
        chat.ask(turn := str(uuid.uuid4()))
        ended = chat.ended(turn)
        message = chat.state()["messages"][ended["position"]]

    assert ended["status"] == "failed"
    assert message["content"] == "Half"
    assert "did not answer" in message["error"]


def test_model__that_refuses_says_how(db: Db, page_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint(status=503) as (url, _), asking(db, page_file, url, monkeypatch) as chat:
        chat.say("hello")
        chat.ask(turn := str(uuid.uuid4()))
        assert chat.answered(turn)["error"].endswith("answered 503")


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([], "said nothing"),
        (["[DONE]"], "said nothing"),
        ([json.dumps({"error": {"message": "no such model"}})], "failed"),
        (["[1]"], "did not answer"),
    ],
)
def test_model__that_answers_with_nothing_has_failed(
    db: Db, page_file: Path, monkeypatch: pytest.MonkeyPatch, events: list[str], said: str
) -> None:
    with endpoint(*events) as (url, _), asking(db, page_file, url, monkeypatch) as chat:
        chat.say("hello")
        chat.ask(turn := str(uuid.uuid4()))
        message = chat.answered(turn)

    assert message["status"] == "failed"
    assert said in message["error"]


def test_model__that_takes_its_time_is_waited_for_and_can_be_stopped(
    db: Db, page_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "_LEASE_SECONDS", 3)
    hangs = threading.Event()
    with (
        endpoint(delta("One "), delta("moment"), hangs=hangs) as (url, _),
        asking(db, page_file, url, monkeypatch) as chat,
    ):
        chat.say("hello")
        chat.ask(turn := str(uuid.uuid4()))
        deadline = time.monotonic() + 30
        while "".join(chat.turn(turn)["chunks"]) != "One moment":  # shown though nothing follows
            assert time.monotonic() < deadline, "the words are not there"
            time.sleep(0.05)
        begun = time.monotonic()
        while time.monotonic() < begun + 4:  # longer than the lease
            assert chat.turn(turn)["status"] == "running"
            time.sleep(0.1)

        chat.post(f"/functions/v1/sessions/{chat.session}/turns/{turn}/stop", {})

        ended = chat.ended(turn)
        message = chat.state()["messages"][ended["position"]]
        hangs.set()
    assert (ended["status"], message["content"], message["status"]) == ("stopped", "One moment", "stopped")
