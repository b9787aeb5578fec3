"""The example `sidebar`, used as people use it, and broken as its world breaks."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.examples.apps.running import Example, check_looks, until
from tests.functions.api import token_for

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Route

pytestmark = pytest.mark.slow

OPTIONS = {"cleanup_seconds": 1, "rate": 1000}


@pytest.fixture
def user(example: Example) -> str:
    return example.person()


@pytest.fixture
def device(shared_browser: Any) -> Iterator[BrowserContext]:
    """Another device: a browser that has nothing of the first one."""
    made = shared_browser.new_context()
    with contextlib.closing(made):
        yield made


class Program:
    """The server as a program calls it."""

    def __init__(self, example: Example, user: str) -> None:
        self.url = example.url
        self.headers = {"Authorization": f"Bearer {example.stack.token(user)}"}

    def post(self, body: Any, **headers: str) -> httpx.Response:
        with httpx.Client(base_url=self.url, trust_env=False, timeout=120) as http:
            return http.post("/api/chat", json=body, headers=self.headers | headers)

    def say(self, text: str, session: str | None = None, id: str | None = None) -> dict[str, Any]:
        message = {"role": "user", "content": text, "id": id or uuid.uuid4().hex}
        answer = self.post({"messages": [message], "sessionId": session})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def say(page: Page, text: str) -> None:
    page.get_by_role("textbox").fill(text)
    page.locator("button.accent:enabled").wait_for()  # the answer before is seen a moment before it has arrived
    page.keyboard.press("Enter")


def wait_for_reply(page: Page, text: str) -> None:
    page.locator("[data-role=assistant]", has_text=text).last.wait_for()


def sessions(example: Example, user: str) -> list[dict[str, Any]]:
    """The person's conversations, last active first."""
    return list(example.api(user).get("")["sessions"])


def idle_for_half_an_hour(example: Example, session: str) -> None:
    """Nothing happens for 31 minutes, and then the clean-up has run."""
    example.db.superuser.execute(
        "update public.free_agent_sessions set last_activity_at = now() - interval '31 minutes' where id = %s", [session]
    )
    query = "select expired_at is not null as ended from public.free_agent_sessions where id = %s"
    until(lambda: example.db.superuser.execute(query, [session]).fetchone()["ended"], "the clean-up did not end it")


DRAFT = "Some thoughts on rain, over the first coffee of the day."
SECOND = "rain: what nobody told me, and what I would do again."
THIRD = "Three small things about rain that made a difference."


# -- how it is meant ------------------------------------------------------------------------------------------


def test_sidebar__a_post_is_drafted__regenerated__posted__and_regenerated_again(
    example: Example, context: BrowserContext, user: str
) -> None:
    page = example.open(context, user)
    say(page, "Write a post about rain.")
    page.get_by_role("article", name="Draft").get_by_text(DRAFT).wait_for()
    say(page, "Regenerate the previous post")
    page.get_by_role("article", name="Draft").get_by_text(SECOND).wait_for()
    say(page, "Post it")
    page.get_by_role("article", name="Posted").get_by_text(SECOND).wait_for()

    page.reload()
    page.get_by_role("article", name="Posted").wait_for()
    say(page, "Regenerate the previous post")

    page.get_by_role("article", name="Draft").get_by_text(THIRD).wait_for()
    assert page.get_by_role("article", name="Posted").get_by_text(SECOND).is_visible()
    assert len(sessions(example, user)) == 1


def test_sidebar__the_same_conversation_on_a_second_device(
    example: Example, context: BrowserContext, device: BrowserContext, user: str
) -> None:
    say(desk := example.open(context, user), "Write a post about rain.")
    wait_for_reply(desk, DRAFT)

    phone = example.open(device, user)
    wait_for_reply(phone, DRAFT)
    say(phone, "Regenerate the previous post")

    wait_for_reply(phone, SECOND)
    wait_for_reply(desk, SECOND)
    assert len(sessions(example, user)) == 1


def test_sidebar__conversations_are_counted__one_is_cleared__then_those_that_ended(
    example: Example, context: BrowserContext, user: str
) -> None:
    program = Program(example, user)
    ids = [program.say(f"Write a post about {topic}")["sessionId"] for topic in ("tea", "rain", "snow")]
    idle_for_half_an_hour(example, ids[0])
    page = example.open(context, user)
    page.get_by_text("2 active, 1 ended").click()

    page.get_by_role("button", name="Clear Here is a draft. Some thoughts on rain").click()
    page.get_by_text("1 active, 1 ended").wait_for()
    page.get_by_role("button", name="Clear ended ones").click()

    page.get_by_text("1 active, 0 ended").wait_for()
    assert [one["id"] for one in sessions(example, user)] == [ids[2]]


@pytest.mark.parametrize("format", ["json", "pdf"])
def test_export__is_a_file_with_the_conversation(
    example: Example, context: BrowserContext, user: str, format: str, tmp_path: Path
) -> None:
    page = example.open(context, user)
    say(page, "Write a post about rain.")
    wait_for_reply(page, DRAFT)

    with page.expect_download() as download:
        page.get_by_role("button", name=format.upper()).click()
    download.value.save_as(file := tmp_path / "file")

    assert download.value.suggested_filename == f"conversation.{format}"
    if format == "json":
        assert DRAFT in json.dumps(json.loads(file.read_text()), ensure_ascii=False)
    else:
        import pypdf

        text = " ".join(sheet.extract_text() for sheet in pypdf.PdfReader(file).pages)
        assert "Some thoughts on rain" in " ".join(text.split())


def test_sidebar__is_for_everybody(example: Example, context: BrowserContext, user: str) -> None:
    page = example.open(context, user)
    say(page, "Write a post about the first snow in the mountains.")
    wait_for_reply(page, "Some thoughts")
    page.get_by_text("1 active").click()
    page.locator("article img").wait_for()
    check_looks(page, "sidebar")


# -- ended ----------------------------------------------------------------------------------------------------


def test_sidebar__after_half_an_hour__begins_anew_with_what_was_said_last(
    example: Example, context: BrowserContext, user: str
) -> None:
    page = example.open(context, user)
    say(page, "Write a post about rain.")
    wait_for_reply(page, DRAFT)
    (before,) = sessions(example, user)
    idle_for_half_an_hour(example, before["id"])
    page.get_by_text("This conversation has ended").wait_for()

    say(page, "Regenerate the previous post")

    wait_for_reply(page, SECOND)
    wait_for_reply(page, DRAFT)
    now, ended = sessions(example, user)
    assert (ended["id"], now["message_count"], now["expired_at"]) == (before["id"], 4, None)
    assert ended["message_count"] == 2


def test_sidebar__after_half_an_hour__is_revived_where_that_is_the_setting(
    example: Example, context: BrowserContext, user: str
) -> None:
    with example.set(on_ended="revive"):
        page = example.open(context, user)
        say(page, "Write a post about rain.")
        wait_for_reply(page, DRAFT)
        idle_for_half_an_hour(example, sessions(example, user)[0]["id"])

        say(page, "Regenerate the previous post")

        wait_for_reply(page, SECOND)
        (only,) = sessions(example, user)
        assert (only["message_count"], only["expired_at"]) == (4, None)


def test_chat__ended__from_two_devices_at_once__goes_on_in_one_session(example: Example, user: str) -> None:
    program = Program(example, user)
    old = program.say("Write a post about rain")["sessionId"]
    idle_for_half_an_hour(example, old)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: program.say("Regenerate it", old), range(4)))

    (new,) = {answer["sessionId"] for answer in answers}
    assert new != old
    assert len(example.api(user).state(new)["messages"]) == 2 + 8
    assert len(sessions(example, user)) == 2


def test_chat__ended_twice__an_old_device_finds_the_latest(example: Example, user: str) -> None:
    program = Program(example, user)
    first = program.say("Write a post about rain")["sessionId"]
    idle_for_half_an_hour(example, first)
    second = program.say("Regenerate it", first)["sessionId"]
    idle_for_half_an_hour(example, second)
    third = program.say("Regenerate it", second)["sessionId"]

    assert program.say("Regenerate it", first)["sessionId"] == third


def test_chat__session_that_was_cleared__begins_an_empty_one(example: Example, user: str) -> None:
    program = Program(example, user)
    old = program.say("Write a post about rain")["sessionId"]
    example.api(user).request("DELETE", "sessions", f"/{old}")

    answer = program.say("Regenerate it", old)

    assert answer["reply"].startswith("There is no post yet")
    assert answer["sessionId"] != old


def test_chat__somebody_elses_session__tells_nothing(example: Example, user: str) -> None:
    theirs = Program(example, example.person()).say("Write a post about my secret")["sessionId"]

    answer = Program(example, user).say("Regenerate it", theirs)

    assert answer["reply"].startswith("There is no post yet")
    assert answer["sessionId"] != theirs


# -- at once --------------------------------------------------------------------------------------------------


def test_chat__first_message_four_times_at_once__is_one_session_and_one_message(example: Example, user: str) -> None:
    program = Program(example, user)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: program.say("Write a post about rain", id="one"), range(4)))

    assert [answer == answers[0] for answer in answers] == [True] * 4
    assert answers[0]["imageUrl"].startswith("/images/")
    (session,) = sessions(example, user)
    assert session["message_count"] == 2


def test_sidebar__two_tabs_at_once__are_both_answered(example: Example, context: BrowserContext, user: str) -> None:
    Program(example, user).say("Write a post about rain")
    tabs = [example.open(context, user) for _ in range(2)]
    for tab in tabs:
        wait_for_reply(tab, DRAFT)

    for topic, tab in zip(("tea", "snow"), tabs, strict=True):
        say(tab, f"Write a post about {topic}")

    for tab in tabs:
        wait_for_reply(tab, "thoughts on tea")
        wait_for_reply(tab, "thoughts on snow")


# -- what breaks ----------------------------------------------------------------------------------------------


def test_chat__too_many_in_a_minute__are_told_to_wait(example: Example, context: BrowserContext, user: str) -> None:
    with example.set(rate=2, rate_seconds=3600):
        page = example.open(context, user)
        for topic in ("tea", "rain"):
            say(page, f"Write a post about {topic}")
            wait_for_reply(page, f"thoughts on {topic}")
        say(page, "Write a post about snow")
        page.get_by_role("alert").filter(has_text="Try again in").wait_for()

        answer = Program(example, user).post({"messages": [{"role": "user", "content": "More"}]})
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
        assert 0 < int(answer.headers["retry-after"]) <= 3601
        Program(example, example.person()).say("Somebody else is not held up")

    page.get_by_role("button", name="Try again").click()
    wait_for_reply(page, "thoughts on snow")


def test_chat__store_that_is_away__keeps_the_message_through_a_reload(
    example: Example, context: BrowserContext, user: str
) -> None:
    page = example.open(context, user)
    page.get_by_text("Ask for a post").wait_for()
    example.line.is_down = True
    say(page, "Write a post about rain.")
    page.get_by_role("alert").wait_for()

    example.line.is_down = False
    page.reload()
    page.get_by_role("button", name="Try again").click()

    wait_for_reply(page, DRAFT)
    assert sessions(example, user)[0]["message_count"] == 2


def test_chat__page_reloaded_while_it_is_answered__has_the_answer_and_goes_on(
    example: Example, context: BrowserContext, user: str
) -> None:
    page = example.open(context, user)
    page.get_by_text("Ask for a post").wait_for()
    example.line.delay = 0.5  # each of the server's own requests, so that the answer takes a while
    say(page, "Write a post about rain.")
    until(lambda: bool(sessions(example, user)), "no session was made")

    page.reload()
    wait_for_reply(page, DRAFT)
    page.get_by_role("alert").wait_for(state="hidden")
    say(page, "Regenerate the previous post")

    wait_for_reply(page, SECOND)
    assert sessions(example, user)[0]["message_count"] == 4


def test_chat__message_that_cannot_be_sent__can_be_discarded(
    example: Example, context: BrowserContext, user: str
) -> None:
    page = example.open(context, user)
    page.get_by_text("Ask for a post").wait_for()
    context.set_offline(True)
    say(page, "Never mind")
    page.get_by_role("button", name="Discard").click()

    context.set_offline(False)
    page.reload()
    say(page, "Write a post about rain.")

    wait_for_reply(page, DRAFT)
    assert sessions(example, user)[0]["message_count"] == 2


def test_chat__server_that_is_away__keeps_the_message(example: Example, context: BrowserContext, user: str) -> None:
    page = example.open(context, user)
    page.get_by_text("Ask for a post").wait_for()
    context.set_offline(True)
    say(page, "Write a post about rain.")
    page.get_by_role("alert").filter(has_text="We cannot be reached").wait_for()

    context.set_offline(False)
    page.get_by_role("button", name="Try again").click()

    wait_for_reply(page, DRAFT)


def test_chat__token_that_ran_out__is_renewed_on_the_way(example: Example, context: BrowserContext, user: str) -> None:
    over = token_for(str(example.db.user(user)), exp=1_700_000_000)
    asked: list[Route] = []

    def sign_in(route: Route) -> None:
        asked.append(route)
        answer = route.fetch()
        told = answer.json()
        route.fulfill(response=answer, json={**told, "token": over} if len(asked) == 1 else told)

    context.route("**/sign-in", sign_in)
    page = example.open(context, user)

    say(page, "Write a post about rain.")

    wait_for_reply(page, DRAFT)
    assert len(asked) > 1


def test_chat__storage_that_is_blocked__works_on(example: Example, context: BrowserContext, user: str) -> None:
    context.add_init_script(
        "for (const name of ['indexedDB', 'localStorage', 'sessionStorage'])"
        "  Object.defineProperty(window, name, { get() { throw new DOMException('blocked', 'SecurityError'); } });"
    )
    page = example.open(context, user)
    say(page, "Write a post about rain.")
    wait_for_reply(page, DRAFT)

    page.reload()

    wait_for_reply(page, DRAFT)


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"Authorization": ""}, {"messages": [{"role": "user", "content": "x"}]}, 401, "signed_out"),
        ({"Authorization": "Bearer nonsense"}, {"messages": [{"role": "user", "content": "x"}]}, 401, "invalid_token"),
        ({}, {"messages": []}, 422, "invalid_request"),
        ({}, {"messages": [{"role": "user", "content": ""}]}, 422, "invalid_request"),
        ({}, {"messages": [{"role": "user", "content": "x"}], "sessionId": "../x"}, 422, "invalid_request"),
        ({}, {"messages": [{"role": "user", "content": "x" * 2_100_000}]}, 413, "body_too_large"),
    ],
)
def test_chat__asked_wrongly__says_so(
    example: Example, user: str, headers: dict[str, str], body: Any, status: int, code: str
) -> None:
    answer = Program(example, user).post(body, **headers)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["detail"]
