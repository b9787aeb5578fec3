"""The example `characters`, used as people use it, and broken as its world breaks."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from examples.building import EXAMPLES
from examples.characters.stand_in import KEY, StandIn
from tests.examples.apps.running import PATIENCE, Example, check_looks, until
from tests.functions.api import serving_app, token_for
from tests.web.chromium.line import Line, serving_line

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Route

pytestmark = pytest.mark.slow

OPTIONS = {"upstream_seconds": 20}


class Upstream:
    """The stand-in on a port of its own, behind a line that can be bad."""

    def __init__(self, api: StandIn, line: Line) -> None:
        self.api = api
        self.line = line

    def heard(self) -> list[str]:
        """What it was told, over all sessions."""
        bodies = [json.loads(one.body) for one in self.line.seen if one.path.endswith("/messages")]
        return [body["input"] for body in bodies]


@pytest.fixture(scope="module")
def running_upstream(example: Example) -> Iterator[Upstream]:
    api = StandIn()
    with serving_app(api.app()) as url, serving_line(url) as line:
        example.stack.options["upstream_url"] = line.url
        example.stop()
        example.start()
        yield Upstream(api, line)


@pytest.fixture
def upstream(running_upstream: Upstream) -> Iterator[Upstream]:
    """The upstream, and all is well with it before and after a test."""
    running_upstream.line.seen.clear()
    yield running_upstream
    running_upstream.line.is_down, running_upstream.line.answer = False, None
    running_upstream.line.delay = running_upstream.line.answer_delay = 0
    running_upstream.api.is_moving = running_upstream.api.is_forgetful = False


@pytest.fixture
def user(example: Example, upstream: Upstream) -> str:
    return example.person()


def say(page: Page, text: str) -> None:
    page.get_by_role("textbox").fill(text)
    page.locator("button.accent:enabled").wait_for()  # the answer before is seen a moment before it has arrived
    page.keyboard.press("Enter")


def shown(page: Page) -> list[str]:
    """The conversation as it is on the screen."""
    return page.locator(".message").all_inner_texts()


def wait_for_reply(page: Page, text: str) -> None:
    """Waits until the character has answered what was said."""
    page.locator("[data-role=assistant]", has_text=text).wait_for()


def kept(example: Example, user: str, character: str = "navigator") -> dict[str, Any]:
    """The conversation as the server has it."""
    api = example.api(user)
    session = api.post("sessions", {"key": f"character:{character}"}).json()["id"]
    return dict(api.state(session))


def contents(state: dict[str, Any]) -> list[str]:
    return [one["content"] for one in state["messages"]]


LOG = "By the stars, that is entry {} in my log. You said: {}"


# -- how it is meant ------------------------------------------------------------------------------------------


def test_characters__each_has_a_conversation_of_its_own__found_again_after_a_reload(
    example: Example, context: BrowserContext, user: str
) -> None:
    page = example.open(context, user)
    say(page, "Where are we?")
    wait_for_reply(page, "entry 1")
    page.get_by_role("button", name="The Gardener").click()
    say(page, "What blooms?")
    wait_for_reply(page, "thought number 1")
    page.get_by_role("button", name="The Navigator").click()
    say(page, "And now?")
    wait_for_reply(page, "entry 2")

    page.reload()

    wait_for_reply(page, "entry 2")
    assert shown(page) == ["Where are we?", LOG.format(1, "Where are we?"), "And now?", LOG.format(2, "And now?")]


def test_characters__another_device_has_the_same_conversation(
    example: Example, context: BrowserContext, shared_browser: Any, user: str, upstream: Upstream
) -> None:
    say(page := example.open(context, user), "Remember me")
    wait_for_reply(page, "entry 1")

    elsewhere = shared_browser.new_context()
    with contextlib.closing(elsewhere):
        other = example.open(elsewhere, user)
        wait_for_reply(other, "entry 1")
        say(other, "Still here?")
        wait_for_reply(other, "entry 2")
        wait_for_reply(page, "entry 2")


def test_characters__strangers_have_conversations_of_their_own(
    example: Example, context: BrowserContext, user: str, upstream: Upstream
) -> None:
    say(mine := example.open(context, user), "A secret")
    wait_for_reply(mine, "entry 1")

    theirs = example.open(context, example.person())

    theirs.get_by_text("Say something to The Navigator.").wait_for()


def test_characters__signing_out_leaves_nothing_on_the_device(
    example: Example, context: BrowserContext, user: str
) -> None:
    page, tab = example.open(context, user), example.open(context, user)
    say(page, "Between us")
    for one in (page, tab):
        wait_for_reply(one, "entry 1")

    page.get_by_role("button", name="Sign out").click()
    for one in (page, tab):
        one.get_by_text("nothing of yours is kept").wait_for()

    assert "Between us" not in page.evaluate(EVERYTHING_STORED)
    page.get_by_role("button", name="Sign in").click()
    wait_for_reply(page, "entry 1")


EVERYTHING_STORED = """async () => {
    const done = (request) => new Promise((ok, no) => { request.onsuccess = () => ok(request.result); request.onerror = no; });
    const all = [JSON.stringify(localStorage), JSON.stringify(sessionStorage)];
    for (const { name } of await indexedDB.databases()) {
        const db = await done(indexedDB.open(name));
        for (const store of db.objectStoreNames) all.push(JSON.stringify(await done(db.transaction(store).objectStore(store).getAll())));
        db.close();
    }
    return all.join();
}"""


def test_characters__are_for_everybody(example: Example, context: BrowserContext, user: str, upstream: Upstream) -> None:
    page = example.open(context, user)
    say(page, "How far is it from the harbour to the lighthouse, and which star do we follow?")
    wait_for_reply(page, "entry 1")
    check_looks(page, "characters")
    upstream.line.is_down = True
    say(page, "Hello?")
    page.get_by_role("alert").wait_for()
    check_looks(page, "characters-problem")


# -- the upstream ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "cannot be reached"),
        ((401, b"{}"), "do not let us in"),
        ((500, b"oops"), "Something broke"),
        ((429, b"{}"), "too much to do"),
    ],
)
def test_chat__upstream_that_fails__is_told__and_the_message_is_there_for_another_try(
    example: Example, context: BrowserContext, user: str, upstream: Upstream, answer: Any, told: str
) -> None:
    page = example.open(context, user)
    upstream.line.answer, upstream.line.is_down = answer, answer is None

    say(page, "Can you hear me?")
    page.get_by_role("alert").filter(has_text=told).wait_for()
    upstream.line.answer, upstream.line.is_down = None, False
    page.reload()
    page.get_by_role("button", name="Try again").click()

    wait_for_reply(page, "entry 1")
    assert contents(kept(example, user)) == ["Can you hear me?", LOG.format(1, "Can you hear me?")]


def test_characters__line_cut_while_two_messages_are_sent__both_are_answered_in_the_end(
    example: Example, context: BrowserContext, user: str, upstream: Upstream
) -> None:
    page = example.open(context, user)
    say(page, "One")
    wait_for_reply(page, "entry 1")
    example.line.is_down = True
    for text in ("Two", "Three"):
        say(page, text)
        page.get_by_role("alert").filter(has_text="We cannot be reached. Your message is kept.").wait_for()

    example.line.is_down = False
    page.get_by_role("button", name="Try again").click()

    # in whichever order: the last one may have been on its way when the line was mended
    wait_for_reply(page, "You said: Two")
    wait_for_reply(page, "You said: Three")
    page.get_by_role("alert").wait_for(state="detached")
    assert sorted(upstream.heard()) == ["One", "Three", "Two"]


def test_chat__upstream_that_takes_too_long__is_told(
    example: Example, context: BrowserContext, user: str, upstream: Upstream
) -> None:
    with example.set(upstream_seconds=0.5):
        page = example.open(context, user)
        upstream.line.delay = 5
        say(page, "Take your time")
        page.get_by_role("alert").filter(has_text="takes too long").wait_for()


def test_chat__upstream_that_forgot__is_told_the_story__and_the_message_is_not_lost(
    example: Example, context: BrowserContext, user: str, upstream: Upstream
) -> None:
    page = example.open(context, user)
    for number in (1, 2):
        say(page, f"Message {number}")
        wait_for_reply(page, f"entry {number}")
    before = kept(example, user)["upstream"]["session_id"]
    upstream.api.sessions.clear()

    say(page, "Do you still know me?")

    wait_for_reply(page, "entry 3")
    state = kept(example, user)
    assert contents(state)[-2:] == ["Do you still know me?", LOG.format(3, "Do you still know me?")]
    assert state["upstream"]["session_id"] != before


def test_chat__upstream_that_forgets_at_once__is_asked_for_one_more_session_and_no_more(
    example: Example, context: BrowserContext, user: str, upstream: Upstream
) -> None:
    page = example.open(context, user)
    say(page, "One")
    wait_for_reply(page, "entry 1")
    upstream.api.sessions.clear()
    upstream.api.is_forgetful, made = True, upstream.api.made

    say(page, "Two")
    page.get_by_role("alert").filter(has_text="forget at once").wait_for()

    assert upstream.api.made == made + 1
    upstream.api.is_forgetful = False
    page.get_by_role("button", name="Try again").click()
    wait_for_reply(page, "entry 2")


def test_chat__upstream_that_changes_the_id__is_followed(
    example: Example, context: BrowserContext, user: str, upstream: Upstream
) -> None:
    upstream.api.is_moving = True
    page = example.open(context, user)
    seen = set()
    for number in (1, 2, 3):
        say(page, f"Message {number}")
        wait_for_reply(page, f"entry {number}")
        seen.add(kept(example, user)["upstream"]["session_id"])

    assert len(seen) == 3
    assert seen & set(upstream.api.sessions) == {kept(example, user)["upstream"]["session_id"]}


# -- at once --------------------------------------------------------------------------------------------------


def asking(example: Example, user: str) -> Callable[..., httpx.Response]:
    """The proxy as a program calls it."""
    token = example.stack.token(user)

    def ask(path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        with httpx.Client(base_url=example.url, trust_env=False, timeout=120) as http:
            return http.post(path, json=body, headers={"Authorization": f"Bearer {token}", **headers})

    return ask


def test_sessions__asked_for_eight_times_at_once__are_one(example: Example, user: str, upstream: Upstream) -> None:
    ask, made = asking(example, user), upstream.api.made

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask("/api/sessions", {"config_id": "gardener"}), range(8)))

    assert [answer.status_code for answer in answers] == [200] * 8
    assert len({answer.json()["session_id"] for answer in answers}) == 1
    assert upstream.api.made == made + 1


def test_chat__asked_again_under_its_key__is_one_message(example: Example, user: str, upstream: Upstream) -> None:
    ask = asking(example, user)
    body = {"config_id": "librarian", "session_id": "made up", "input": "A book, please"}

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask("/api/chat", body, **{"Idempotency-Key": "one"}), range(4)))

    assert {answer.text for answer in answers} == {answers[0].text}
    assert upstream.heard() == ["A book, please"]
    assert contents(kept(example, user, "librarian")) == ["A book, please", "Shelved under 1: A book, please"]


def test_chat__two_tabs_at_once__are_answered_one_after_the_other(
    example: Example, context: BrowserContext, user: str, upstream: Upstream
) -> None:
    one, two = example.open(context, user), example.open(context, user)
    two.get_by_text("Say something").wait_for()
    upstream.line.delay = 1

    say(one, "From the first tab")
    say(two, "From the second tab")

    for page in (one, two):
        wait_for_reply(page, "From the first tab")
        wait_for_reply(page, "From the second tab")
    assert sorted(upstream.heard()) == ["From the first tab", "From the second tab"]
    assert len(kept(example, user)["messages"]) == 4


# -- the page's own troubles ----------------------------------------------------------------------------------


def test_chat__token_that_ran_out__is_renewed_on_the_way(
    example: Example, context: BrowserContext, user: str
) -> None:
    over = token_for(str(example.db.user(user)), exp=1_700_000_000)
    asked = []

    def sign_in(route: Route) -> None:
        asked.append(route)
        answer = route.fetch()
        told = answer.json()
        route.fulfill(response=answer, json={**told, "token": over} if len(asked) == 1 else told)

    context.route("**/sign-in", sign_in)
    page = example.open(context, user)

    say(page, "Is my ticket good?")

    wait_for_reply(page, "entry 1")
    assert len(asked) > 1


def test_chat__storage_that_is_blocked__works_on(example: Example, context: BrowserContext, user: str) -> None:
    context.add_init_script(
        "for (const name of ['indexedDB', 'localStorage', 'sessionStorage'])"
        "  Object.defineProperty(window, name, { get() { throw new DOMException('blocked', 'SecurityError'); } });"
    )
    page = example.open(context, user)
    say(page, "No cookies, please")
    wait_for_reply(page, "entry 1")

    page.reload()

    wait_for_reply(page, "entry 1")


def test_chat__line_that_is_cut__keeps_the_message_on_the_device(
    example: Example, context: BrowserContext, user: str
) -> None:
    page = example.open(context, user)
    page.get_by_text("Say something").wait_for()
    context.set_offline(True)
    say(page, "From the tunnel")
    page.get_by_role("button", name="Try again").wait_for()

    context.set_offline(False)
    page.reload()
    page.get_by_role("button", name="Try again").click()

    wait_for_reply(page, "entry 1")
    assert contents(kept(example, user)) == ["From the tunnel", LOG.format(1, "From the tunnel")]


def test_chat__proxy_that_is_deployed_anew_in_the_middle__answers(
    example: Example, context: BrowserContext, user: str, upstream: Upstream
) -> None:
    page = example.open(context, user)
    page.get_by_text("Say something").wait_for()
    upstream.line.delay = 1
    say(page, "Are you there?")
    until(lambda: bool(upstream.line.seen), "the upstream was not asked")

    example.stop()
    example.start()

    wait_for_reply(page, "entry 1")


# -- as it is deployed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"Authorization": ""}, {"config_id": "gardener"}, 401, "signed_out"),
        ({"Authorization": "Bearer nonsense"}, {"config_id": "gardener"}, 401, "signed_out"),
        ({}, {}, 422, "invalid_request"),
        ({}, {"config_id": "../gardener"}, 422, "invalid_request"),
        ({}, {"config_id": "nobody"}, 502, "upstream_failed"),
    ],
)
def test_sessions__asked_for_wrongly__say_so(
    example: Example, user: str, headers: dict[str, str], body: dict[str, Any], status: int, code: str
) -> None:
    answer = asking(example, user)("/api/sessions", body, **headers)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["detail"]


def test_function__as_it_is_deployed__answers(example: Example, user: str, upstream: Upstream) -> None:
    source = EXAMPLES / "characters" / "main.py"
    settings = {"FUNCTIONS_URL": example.stack.url, "UPSTREAM_URL": upstream.line.url, "UPSTREAM_KEY": KEY}
    headers = {"Authorization": f"Bearer {example.stack.token(user)}"}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        program = f"uvicorn.run(create_asgi_app('characters_api', {str(source)!r}), fd={number}, log_level='warning')"
        imports = "import uvicorn; from functions_framework.aio import create_asgi_app"
        process = subprocess.Popen(
            [sys.executable, "-c", f"{imports}; {program}"], env={**os.environ, **settings}, pass_fds=[number]
        )
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with httpx.Client(base_url=url, headers=headers, timeout=PATIENCE, trust_env=False) as http:
                session = http.post("/api/sessions", json={"config_id": "gardener"}).json()["session_id"]
                body = {"config_id": "gardener", "session_id": session, "input": "Roses?"}
                chat = http.post("/api/chat", json=body)
        finally:
            process.kill()
            process.wait()

    reply = "I planted thought number 1 beside the roses: Roses?"
    assert chat.json() == {"session_id": session, "reply": reply}
