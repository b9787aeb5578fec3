"""The example `studio`, used as people use it, while the agent's site and the browser that drives it break."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from asyouwere.local.errors import LocalError
from examples.studio.server import create
from tests.examples.apps.running import PATIENCE, check_looks, until

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

    from examples.studio.standin import StandIn
    from tests.examples.apps.running import Example

pytestmark = pytest.mark.slow

OPTIONS: dict[str, Any] = {"poll_seconds": 0.2, "frame_seconds": 0.2, "box_seconds": 2, "linger_seconds": 5}


@pytest.fixture
def site(example: Example) -> StandIn:
    """The agent's site, whole."""
    return whole(example)


def whole(example: Example) -> StandIn:
    """The site of the server that runs now, as it should be."""
    standin: StandIn = example.app.state.standin
    standin.is_changed = standin.is_down = standin.is_deaf = standin.asks_login = False
    standin.answer_seconds, standin.lag_seconds = 0.2, 0
    standin.agents.clear()
    standin.prompts.clear()
    standin.lost.clear()
    return standin


def begin(
    example: Example, context: BrowserContext, prompt: str, user: str | None = None, *, device: bool = False
) -> Page:
    """A person's first prompt at /home, which leads to /generate."""
    page = example.open(context, user or example.person(), "home")
    page.get_by_role("button", name="Begin", exact=True).wait_for()
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_label("Remember on this device").set_checked(device)
    # not by mouse: on a busy machine a click was seen to fall between two layouts
    page.locator("form.home").evaluate("form => form.requestSubmit()")
    page.wait_for_url("**/generate?**")
    return page


def send(page: Page, text: str) -> None:
    """Says something more."""
    page.get_by_label("Message").fill(text)
    page.get_by_role("button", name="Send").click()


def answered(page: Page, *texts: str) -> None:
    """Waits for the agent's answers to these."""
    for text in texts:
        page.locator("[data-role=assistant]", has_text=re.compile(f": {text}$")).first.wait_for()


def said(page: Page) -> list[str]:
    """All messages that the page shows."""
    return page.locator(".message").all_inner_texts()


def processes_of(parent: psutil.Process) -> Iterator[tuple[psutil.Process, list[str]]]:
    """What it has started, with how; some may end while one looks."""
    for process in parent.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            yield process, process.cmdline()


def kill_driven(*, tabs: bool = False) -> None:
    """SIGKILL to the Chromium that the proxy drives, or to its tabs; not to the one that is the person's."""
    (driven,) = (
        process
        for process, command in processes_of(psutil.Process())
        if "--remote-debugging-pipe" in command and not any("--type=" in one for one in command)
    )
    if not tabs:
        driven.kill()
        return
    renderers = [process for process, command in processes_of(driven) if "--type=renderer" in command]
    assert renderers
    for one in renderers:
        one.kill()


def row(example: Example, user: str) -> dict[str, Any]:
    """The person's only session, as the server lists it."""
    (session,) = example.api(user).http.get("/functions/v1/sessions").json()["sessions"]
    return dict(session)


def test_studio__from_the_first_prompt_to_the_answer_and_on(
    example: Example, context: BrowserContext, site: StandIn
) -> None:
    ada = example.person()
    page = begin(example, context, "a tea house", ada)
    answered(page, "a tea house")
    page.get_by_text("Ready", exact=True).wait_for()

    # the session says where its agent is
    (agent,) = site.agents
    upstream = row(example, ada)["upstream"]
    assert (upstream["external_id"], upstream["path"]) == (agent, f"/agent/{agent}")
    assert upstream["url"].endswith(upstream["path"])

    # found again after a reload, and after going elsewhere and back without a word of it in the address
    page.reload()
    answered(page, "a tea house")
    page.goto(f"{example.url}home?user={ada}")
    page.get_by_text("Draft 1 is ready: a tea house").wait_for()
    page.get_by_label("Prompt").fill("with cups")
    page.get_by_role("button", name="Go on with this").click()
    answered(page, "with cups")
    send(page, "blue ones")
    answered(page, "blue ones")
    assert said(page)[::2] == ["a tea house", "with cups", "blue ones"]
    assert (list(site.agents), site.prompts) == ([agent], ["a tea house", "with cups", "blue ones"])

    # another one is begun when the person says so, and in another tab
    page.get_by_role("link", name="Studio").click()
    page.get_by_role("button", name="Begin another").click()
    page.get_by_role("button", name="Begin", exact=True).wait_for()
    begin(example, context, "a boat", ada)
    until(lambda: len(site.agents) == 2, "no second agent")


def test_studio__remembered_on_the_device__and_where_nothing_can_be_kept(
    example: Example, context: BrowserContext, site: StandIn
) -> None:
    ada = example.person()
    begin(example, context, "a tea house", ada, device=True).close()
    page = example.open(context, ada, "generate")
    answered(page, "a tea house")
    page.close()

    # what a tab alone remembers is not in another one
    ben = example.person()
    begin(example, context, "a boat", ben).close()
    page = example.open(context, ben, "generate")
    page.get_by_role("button", name="Begin", exact=True).wait_for()

    context.add_init_script(
        "for (const name of ['localStorage', 'sessionStorage', 'indexedDB'])"
        "  Object.defineProperty(window, name, { get() { throw new DOMException('refused', 'SecurityError') } })"
    )
    page = begin(example, context, "a boat")
    answered(page, "a boat")
    page.reload()
    send(page, "with sails")
    answered(page, "a boat", "with sails")


def test_studio__the_driven_browser_is_killed(example: Example, context: BrowserContext, site: StandIn) -> None:
    # just after the first prompt was submitted, and before the site said what it had made of it
    site.lag_seconds = PATIENCE
    page = begin(example, context, "a tea house")
    until(lambda: site.prompts == ["a tea house"], "nothing was submitted")
    site.lag_seconds = 0
    kill_driven()
    answered(page, "a tea house")

    # while nothing happens
    kill_driven()
    send(page, "with cups")
    answered(page, "with cups")

    # its tab alone, just after another message was submitted
    site.lag_seconds = PATIENCE
    send(page, "blue ones")
    until(lambda: site.prompts[2:] == ["blue ones"], "nothing was submitted")
    site.lag_seconds = 0
    kill_driven(tabs=True)
    send(page, "blue ones")
    answered(page, "blue ones")
    until(lambda: len(said(page)) == 8, "an answer is missing")

    assert len(site.agents) == 1
    assert site.prompts == ["a tea house", "with cups", "blue ones", "blue ones"]
    assert [text for text in said(page) if text.startswith("Draft")] == [
        f"Draft {number} is ready: {text}" for number, text in enumerate(site.prompts, 1)
    ]


def test_studio__the_server_is_deployed_anew_while_the_agent_answers(
    example: Example, context: BrowserContext, site: StandIn
) -> None:
    site.answer_seconds = 3
    page = begin(example, context, "a tea house")
    until(lambda: site.prompts == ["a tea house"], "nothing was submitted")
    example.stop()
    send(page, "with cups")
    example.start()
    answered(page, "a tea house", "with cups")
    after: StandIn = example.app.state.standin
    assert len(after.agents) == 1
    assert [one["text"] for agent in after.agents.values() for one in agent["said"]] == ["a tea house", "with cups"]


def test_studio__the_agent_is_lost(example: Example, context: BrowserContext, site: StandIn) -> None:
    ada = example.person()
    page = begin(example, context, "a tea house", ada)
    answered(page, "a tea house")
    before = row(example, ada)["upstream"]["external_id"]

    site.agents.clear()
    send(page, "with cups")
    answered(page, "with cups")

    page.get_by_text("The agent had lost this conversation").wait_for()
    (agent,) = site.agents
    assert row(example, ada)["upstream"]["external_id"] == agent != before
    assert site.prompts == ["a tea house", "with cups"]
    assert [one["text"] for one in site.agents[agent]["said"]] == ["with cups"]

    # gone while nobody looks: told, and replaced by the next message, not before
    site.agents.clear()
    kill_driven()
    page.get_by_text("Your next message begins a new one").wait_for()
    assert not site.agents
    send(page, "blue ones")
    answered(page, "blue ones")
    assert len(site.agents) == 1


def test_studio__the_site_changes__and_is_down(example: Example, context: BrowserContext, site: StandIn) -> None:
    site.is_changed = True
    page = begin(example, context, "a tea house")
    page.get_by_text("shows no text box (div[role=textbox][contenteditable]) within 2 s").wait_for()
    page.reload()  # the message is kept, and so is the reason
    page.get_by_text("shows no text box").wait_for()
    page.get_by_text("not with the agent yet").wait_for()
    assert (said(page), site.prompts) == (["a tea house"], [])

    site.is_changed = False  # it is tried again by itself, or at once
    page.evaluate("document.querySelector('.trouble button')?.click()")
    answered(page, "a tea house")

    site.is_down = True
    kill_driven()
    send(page, "with cups")
    page.get_by_text("The agent's site answered with 503").wait_for()
    site.is_down = False
    answered(page, "with cups")
    assert (len(site.agents), site.prompts) == (1, ["a tea house", "with cups"])


def test_studio__what_the_site_does_not_show_is_sent_again_when_the_person_says_so(
    example: Example, context: BrowserContext, site: StandIn
) -> None:
    page = begin(example, context, "a tea house")
    answered(page, "a tea house")
    site.is_deaf = True
    send(page, "with cups")
    page.get_by_text("does not show your message").wait_for()
    visits = site.visits
    until(lambda: site.visits > visits + 2, "it was not looked for again")
    assert site.lost == ["with cups"]

    site.is_deaf = False
    page.get_by_role("button", name="Send again").click()
    answered(page, "with cups")
    assert (len(site.agents), site.prompts) == (1, ["a tea house", "with cups"])


def test_studio__two_tabs_at_once(example: Example, context: BrowserContext, site: StandIn) -> None:
    ada = example.person()
    tabs = [example.open(context, ada, "home"), example.open(context, ada, "home")]
    for tab in tabs:  # of one conversation, which neither has begun
        tab.goto(f"{example.url}home?user={ada}&chat=tea")
    for tab, prompt in zip(tabs, ("one", "two"), strict=True):
        tab.get_by_label("Prompt").fill(prompt)
    for tab in tabs:
        tab.get_by_role("button", name="Go on with this").click(no_wait_after=True)
    for tab in tabs:
        tab.wait_for_url("**/generate?**")
        answered(tab, "one", "two")

    more = [f"{tab} {number}" for number in range(3) for tab in "ab"]
    for tab, text in zip(tabs * 3, more, strict=True):
        send(tab, text)
    for tab in tabs:
        answered(tab, *more)

    (session,) = example.api(ada).http.get("/functions/v1/sessions").json()["sessions"]
    messages = example.api(ada).state(session["id"])["messages"]
    asked = [one["content"] for one in messages if one["role"] == "user"]
    assert sorted(asked) == sorted(["one", "two", *more])
    assert (len(site.agents), site.prompts) == (1, asked)
    assert [one["content"].partition(": ")[2] for one in messages if one["role"] == "assistant"] == asked
    until(lambda: said(tabs[0]) == said(tabs[1]) == [one["content"] for one in messages], "the tabs differ")


def test_studio__a_login_is_asked_for_once_and_kept_sealed(
    example: Example, context: BrowserContext, site: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    site.asks_login = True
    ada = example.person()
    page = begin(example, context, "a tea house", ada)
    page.get_by_text("The agent's site asks who you are").wait_for()
    page.get_by_label("Name at the agent’s site").fill("ada.lovelace")
    page.get_by_label("Password there").fill("a wrong secret")
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("did not take this name and password").wait_for()
    page.get_by_label("Name at the agent’s site").fill("ada.lovelace")
    page.get_by_label("Password there").fill("studio")
    page.get_by_role("button", name="Log in").click()
    answered(page, "a tea house")
    assert site.logins == ["ada.lovelace"]

    # killed or deployed anew, the browser has the login still
    kill_driven()
    send(page, "with cups")
    answered(page, "with cups")
    (cookie,) = {agent["visitor"] for agent in site.agents.values()}
    example.stop()
    example.start()
    site = example.app.state.standin
    site.asks_login, site.answer_seconds = True, 0.2
    send(page, "blue ones")
    answered(page, "blue ones")
    assert (len(site.agents), site.logins) == (1, [])

    # on disk it is sealed, for its owner alone to read, and in no log, and neither is the password
    folder = example.stack.folder / "logins"
    kept = {file.name: file.read_text() for file in folder.iterdir()}
    assert kept
    assert all(text.startswith("ayw1.") and cookie not in text for text in kept.values())
    assert {file.stat().st_mode & 0o777 for file in [*folder.iterdir(), folder.parent / "login.key"]} == {0o600}
    files = [file for file in example.stack.folder.rglob("*") if file.is_file() and file.name != "stand-in.json"]
    for secret in (cookie, "a wrong secret"):
        assert secret not in caplog.text
        assert [file for file in files if secret.encode() in file.read_bytes()] == []

    # with another key the site asks again, and the agent is the same
    key = base64.urlsafe_b64encode(bytes(32)).decode()
    with example.set(login_key=key):
        whole(example).asks_login = True
        page.get_by_text("The agent's site asks who you are").wait_for()


def test_studio__the_agents_page_can_be_watched(example: Example, context: BrowserContext, site: StandIn) -> None:
    page = begin(example, context, "a tea house")
    answered(page, "a tea house")
    frames: list[bytes] = []
    page.on(
        "websocket",
        lambda line: line.on("framereceived", lambda data: frames.append(data) if isinstance(data, bytes) else None),
    )
    page.reload()
    answered(page, "a tea house")
    page.get_by_role("button", name="Watch").click()
    page.get_by_alt_text("The agent’s page").wait_for()
    page.wait_for_function("document.querySelector('.watched img').naturalWidth === 1024")
    seen = len(frames)
    send(page, "with cups")
    until(lambda: page.evaluate("1") and len(frames) > seen, "no new picture")
    assert all(frame.startswith(b"\xff\xd8") and len(frame) <= 200_000 for frame in frames)
    assert all(one != another for one, another in pairwise(frames))

    answered(page, "with cups")
    check_looks(page, "studio")
    page.get_by_role("link", name="Studio").click()
    page.get_by_role("button", name="Begin another").wait_for()
    check_looks(page, "studio-home")


def hello(example: Example, token: str, session: str) -> tuple[Any, int | None]:
    """What the proxy says to who comes with this token: the trouble, and the code it closes with; None: it does not."""
    with connect(example.url.replace("http", "ws") + "live", proxy=None) as line:
        line.send(json.dumps({"action": "hello", "token": token, "session": session}))
        told = json.loads(line.recv(PATIENCE))
        if told["trouble"] is None:
            return None, None
        with pytest.raises(ConnectionClosed) as closed:
            line.recv(PATIENCE)
        assert closed.value.rcvd is not None
        return told["trouble"], closed.value.rcvd.code


def test_proxy__drives_for_the_owner_alone(example: Example, context: BrowserContext, site: StandIn) -> None:
    ada, ben = example.person(), example.person()
    page = begin(example, context, "a tea house", ada)
    answered(page, "a tea house")
    session = row(example, ada)["id"]
    owner, stranger = example.api(ada), example.api(ben)
    assert hello(example, owner.token, session) == (None, None)
    trouble, code = hello(example, stranger.token, session)
    assert (trouble["code"], code) == ("session_expired", 1008)
    assert hello(example, owner.token, str(uuid.uuid4())) == (trouble, code)
    trouble, code = hello(example, "nobody", session)
    assert (trouble["code"], code) == ("invalid_token", 1013)  # the page comes again, with another
    trouble, code = hello(example, owner.token, "../sessions")
    assert (trouble["code"], code) == ("session_not_found", 1008)
    owner.http.patch(f"/functions/v1/sessions/{session}", json={"visibility": "public"}).raise_for_status()
    trouble, code = hello(example, stranger.token, session)
    assert (trouble["code"], code) == ("forbidden", 1008)


def test_proxy__an_agents_address_leads_nowhere_but_to_the_site(
    example: Example, context: BrowserContext, site: StandIn
) -> None:
    ada = example.person()
    page = begin(example, context, "a tea house", ada)
    answered(page, "a tea house")
    forged = {"provider": "stand-in", "path": f"{example.url}agent/x"}  # in our own network, say
    session = row(example, ada)["id"]
    example.stop()
    example.api(ada).http.patch(f"/functions/v1/sessions/{session}", json={"upstream": forged}).raise_for_status()
    example.start()
    site = example.app.state.standin
    send(page, "with cups")
    answered(page, "with cups")
    (agent,) = [id for id, one in site.agents.items() if one["said"][0]["text"] == "with cups"]
    assert row(example, ada)["upstream"]["path"] == f"/agent/{agent}"


def test_studio__without_the_server__and_with_a_token_that_ends(
    example: Example, context: BrowserContext, site: StandIn
) -> None:
    example.line.is_down = True
    page = begin(example, context, "a tea house")
    page.get_by_text("Saved on this device").wait_for()
    assert said(page) == ["a tea house"]
    example.line.is_down = False
    answered(page, "a tea house")
    assert len(site.agents) == 1

    with example.set(token_seconds=-24):  # with the 30 that clocks may differ: good for six
        page = begin(example, context, "a boat")
        answered(page, "a boat")
        page.wait_for_timeout(7_000)
        send(page, "with sails")
        answered(page, "with sails")


def test_create__says_what_is_missing(example: Example) -> None:
    with pytest.raises(LocalError, match="apt-get install chromium"):
        create(replace(example.stack, options={"chromium": "/nowhere/chromium"}))
    with pytest.raises(LocalError, match=r"(?s)settings are .*poll_seconds.*pol_seconds"):
        create(replace(example.stack, options={"pol_seconds": 1}))
    with pytest.raises(LocalError, match="login_key is 32 bytes"):
        create(replace(example.stack, options={"login_key": "short"}))
    with pytest.raises(LocalError, match="is in use by process"):
        create(example.stack)
