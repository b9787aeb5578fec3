"""The example `voice`, used as people use it, and broken as it breaks for them."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.examples.apps.running import PATIENCE, until
from tests.web.chromium.browser import Chromium

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page, Playwright

    from tests.examples.apps.running import Example

pytest.importorskip("aiortc", reason="needs the Python package aiortc, which has no wheel for this Python")
pytestmark = pytest.mark.slow

#: The agent speaks fast, but where a test wants to come in between.
OPTIONS: dict[str, Any] = {"word_seconds": 0.02, "thinking_seconds": 0.02, "debounce_seconds": 0.2}
PASSPHRASE = "correct horse battery"


@pytest.fixture(scope="module")
def shared_browser(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The browser of all tests, with a microphone that beeps without end and need not be allowed."""
    folder = tmp_path_factory.mktemp("browser") / "profile"
    folder.mkdir()
    fakes = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    browser = Chromium(playwright, folder, *fakes).start()
    yield browser
    browser.close()


@pytest.fixture(autouse=True)
def options(example: Example) -> Iterator[dict[str, Any]]:
    """The settings of the example, which a test may change: the next call and the next token follow them."""
    yield example.stack.options
    example.stack.options.clear()
    example.stack.options.update(OPTIONS)


def enter(page: Page, passphrase: str = PASSPHRASE) -> Page:
    """Give the passphrase."""
    page.get_by_label("Passphrase").fill(passphrase)
    page.get_by_role("button", name="Open").click()
    return page


def connected(page: Page) -> Page:
    """Wait until the agent is on the line."""
    page.get_by_label("Connection").get_by_text(re.compile("^connected$")).wait_for()
    return page


def entered(example: Example, context: BrowserContext, user: str) -> Page:
    """A tab of somebody who was never here before, or who was forgotten."""
    return connected(enter(example.open(context, user)))


def say(page: Page, words: str) -> None:
    page.get_by_label("What you say").fill(words)
    page.get_by_role("button", name="Say", exact=True).click()


def hears(page: Page, answer: str) -> None:
    """Wait until the agent has said this, all of it, and is silent."""
    page.get_by_text(answer, exact=True).wait_for()
    page.get_by_label("Conversation", exact=True).get_by_text("idle").wait_for()


def messages(page: Page) -> list[str]:
    return page.get_by_label("Messages").locator(".message").all_inner_texts()


def saved(page: Page) -> None:
    """Wait until all that was said is on the server, soon after the last word."""
    page.locator("main[data-waiting='0']").wait_for()


def events(page: Page, event: str) -> Locator:
    return page.get_by_label("Events").get_by_text(event)


def figure(page: Page, name: str) -> str:
    """One of the statistics."""
    return page.locator("dt", has_text=name).locator("+ dd").inner_text()


def test_voice__a_conversation_goes_on_after_a_reload(example: Example, context: BrowserContext) -> None:
    page = entered(example, context, example.person())
    say(page, "I want to drink tea in Kyoto")
    hears(page, "You said: I want to drink tea in Kyoto.")

    page.reload()

    # it is there before the agent is, without the passphrase, and the agent knows of it
    page.get_by_text("You said: I want to drink tea in Kyoto.").wait_for()
    events(page, "sessionRestored").first.wait_for()
    connected(page)
    say(page, "in autumn")
    hears(
        page,
        "You said: in autumn. Before that you said: I want to drink tea in Kyoto. "
        "I was given the last 3 messages of this conversation.",
    )
    assert figure(page, "Active") == "yes"
    assert figure(page, "Messages") == "4"
    assert re.fullmatch(r"\d+:\d\d", figure(page, "Duration"))
    assert re.fullmatch(r"59:\d\d|1:00:00", figure(page, "Token ends in"))


def test_voice__the_agent_is_told_the_last_ten_messages(example: Example, context: BrowserContext) -> None:
    page = entered(example, context, example.person())
    for number in range(6):
        say(page, f"thing {number}")
        page.locator(".message[data-status=whole]").nth(number).wait_for()
    hears(
        page,
        "You said: thing 5. Before that you said: thing 4. "
        "I was given the last 10 messages of this conversation.",
    )


def test_voice__nothing_that_was_said_can_be_read_on_the_server(
    example: Example, context: BrowserContext
) -> None:
    user = example.person()
    example.line.seen.clear()
    page = entered(example, context, user)
    say(page, "my secret is a bicycle")
    hears(page, "You said: my secret is a bicycle.")
    saved(page)

    stored = example.db.sql(
        "select p.path, p.body from asyouwere.parts p join public.free_agent_sessions s on s.internal_id = p.session"
        " where s.user_id = %s",
        (example.db.user(user),),
    )
    sealed = [row["body"] for row in stored if row["path"] == "/messages/" and row["body"] != "[]"]
    assert len(sealed) == 2
    assert all(list(json.loads(body)) == ["encrypted"] for body in sealed)
    everything = str(example.db.sql("select * from asyouwere.parts")) + str([one.body for one in example.line.seen])
    assert "bicycle" not in everything
    assert "idle" not in everything  # how the conversation is, neither


def test_voice__what_is_spoken_is_heard(example: Example, context: BrowserContext) -> None:
    page = entered(example, context, example.person())

    page.get_by_role("button", name="Microphone").click()
    page.get_by_label("Conversation", exact=True).get_by_text("listening").wait_for()
    page.get_by_role("button", name="Microphone").click()

    page.get_by_text(re.compile(r"^\[\d+\.\d seconds of sound\]$")).wait_for()
    page.get_by_text(re.compile(r"^You said: \[\d+\.\d seconds of sound\]\.$")).wait_for()


def test_voice__the_agent_is_to_be_heard(
    example: Example, context: BrowserContext, options: dict[str, Any]
) -> None:
    page = entered(example, context, example.person())
    options["word_seconds"] = 0.5
    page.get_by_role("button", name="Hang up").click()
    page.get_by_role("button", name="Call").click()
    connected(page)
    say(page, "one two three four five six seven eight")
    page.evaluate(
        """async () => {
            const context = new AudioContext(), ear = context.createAnalyser();
            context.createMediaStreamSource(document.querySelector("audio").srcObject).connect(ear);
            const samples = new Float32Array(ear.fftSize);
            while (Math.max(...samples) < 0.02) {
                await new Promise((next) => setTimeout(next, 20));
                ear.getFloatTimeDomainData(samples);
            }
        }"""
    )


def test_voice__agent_killed_in_a_sentence_is_replaced_by_one_that_ends_it(
    example: Example, context: BrowserContext, options: dict[str, Any]
) -> None:
    options["word_seconds"] = 0.5
    page = entered(example, context, example.person())
    say(page, "one two three four five six")
    page.get_by_text(re.compile("^You said: one two")).wait_for()

    options["word_seconds"] = 0.02
    os.kill(example.app.state.agent.process.pid, signal.SIGKILL)

    events(page, "reconnecting").wait_for()
    events(page, "reconnected").wait_for()
    hears(page, "You said: one two three four five six.")
    assert messages(page) == ["one two three four five six", "You said: one two three four five six."]
    assert figure(page, "Reconnects") == "1"


def test_voice__somebody_interrupts_the_agent(
    example: Example, context: BrowserContext, options: dict[str, Any]
) -> None:
    options["word_seconds"] = 0.5
    page = entered(example, context, example.person())
    say(page, "a long story about a bear")
    page.get_by_text(re.compile("^You said: a")).wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("interrupted").wait_for()
    page.get_by_label("Conversation", exact=True).get_by_text("idle").wait_for()


def test_voice__who_has_hung_up_is_not_called_by_a_reload(example: Example, context: BrowserContext) -> None:
    page = entered(example, context, example.person())
    page.get_by_role("button", name="Hang up").click()
    page.get_by_label("Connection").get_by_text("disconnected").wait_for()

    page.reload()

    events(page, "from the server").wait_for()
    page.get_by_label("Connection").get_by_text("disconnected").wait_for()
    say(page, "are you there?")
    page.get_by_role("button", name="Call").click()
    hears(page, "You said: are you there.")


def test_voice__token_over_in_between(
    example: Example, context: BrowserContext, options: dict[str, Any]
) -> None:
    options["token_seconds"] = 4
    user = example.person()
    page = entered(example, context, user)
    with page.expect_response("**/sign-in"):  # by itself, a second before the token is over
        pass
    say(page, "still me")
    hears(page, "You said: still me.")
    saved(page)
    page.reload()
    connected(page)
    assert "still me" in messages(page)


def test_call__is_for_whoever_is_signed_in_and_bad_offers_harm_nobody(
    example: Example, context: BrowserContext
) -> None:
    user = example.person()
    page = entered(example, context, user)
    agent = example.app.state.agent.process.pid
    assert os.getsid(agent) == agent  # Ctrl-C at the server's terminal is not for it
    mine = {"Authorization": f"Bearer {example.stack.token(user)}"}
    with httpx.Client(base_url=example.url, trust_env=False, timeout=PATIENCE) as http:
        assert http.post("/call", json={"sdp": "", "type": "offer"}).status_code == 401
        assert http.post("/call", content="{", headers=mine).status_code == 422
        assert http.post("/call", json={}, headers=mine).status_code == 422
        assert http.post("/call", json={"sdp": "x" * 40_000, "type": "offer"}, headers=mine).status_code == 422
        assert http.post("/call", json={"sdp": "v=7", "type": "offer"}, headers=mine).status_code == 503
    say(page, "still here")
    hears(page, "You said: still here.")
    assert example.app.state.agent.process.pid == agent


def test_voice__server_away_in_between(example: Example, context: BrowserContext) -> None:
    page = entered(example, context, example.person())
    example.line.is_down = True
    say(page, "nobody writes this down yet")
    hears(page, "You said: nobody writes this down yet.")
    page.get_by_text("The server can't be reached.").wait_for()

    example.line.is_down = False

    events(page, "the server is there again").wait_for()
    saved(page)


def test_voice__without_storage_it_works_and_says_so(
    example: Example, playwright: Playwright, tmp_path: Path
) -> None:
    profile = tmp_path / "profile"
    (profile / "Default").mkdir(parents=True)
    blocked = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (profile / "Default" / "Preferences").write_text(json.dumps(blocked))
    browser = Chromium(playwright, profile).start()
    try:
        page = enter(example.open(browser.context, example.person()))
        page.get_by_text("This browser keeps nothing for this page.").wait_for()
        connected(page)
        say(page, "no traces")
        hears(page, "You said: no traces.")
        saved(page)

        enter(page.reload() and page)  # nothing was kept, so it is asked for again
        page.get_by_role("link", name="2 messages").click()
        enter(page)
        page.get_by_text("You said: no traces.").wait_for()
    finally:
        browser.close()


def test_voice__with_full_storage_it_works_and_says_so(example: Example, context: BrowserContext) -> None:
    user = example.person()
    page = context.new_page()
    page.goto(example.url + "assets/none")
    page.evaluate("for (let size = 5e6; size >= 1; size /= 2) try { for (;;) sessionStorage[Math.random()] = 'x'.repeat(size) } catch {}")
    context.new_cdp_session(page).send(
        "Storage.overrideQuotaForOrigin", {"origin": page.evaluate("origin"), "quotaSize": 1}
    )
    page.set_default_timeout(PATIENCE * 1000)
    page.goto(f"{example.url}?user={user}")
    connected(enter(page))
    say(page, "x" * 1000)
    page.get_by_text("This browser's storage is full.").wait_for()
    hears(page, f"You said: {'x' * 1000}.")
    saved(page)


def test_voice__keys_that_another_page_keeps_shut_are_not_waited_for(
    example: Example, context: BrowserContext
) -> None:
    other = context.new_page()
    other.goto(example.url + "assets/none")
    other.evaluate(  # as a page does that is frozen while it makes the database
        """() => new Promise((made) => {
            const opening = indexedDB.open("asyouwere keys");
            opening.onupgradeneeded = () => {
                const keys = opening.result.createObjectStore("keys");
                const on = () => void (keys.get("none").onsuccess = on); // its transaction never ends
                on();
                made();
            };
        })"""
    )
    page = entered(example, context, example.person())
    say(page, "all the same")
    hears(page, "You said: all the same.")


def test_voice__each_tab_has_a_conversation_of_its_own(example: Example, context: BrowserContext) -> None:
    user = example.person()
    first = entered(example, context, user)
    say(first, "in the first tab")
    hears(first, "You said: in the first tab.")
    second = connected(example.open(context, user))
    assert messages(second) == []
    say(second, "in the second tab")
    hears(second, "You said: in the second tab.")
    first.reload()
    connected(first)
    assert messages(first) == ["in the first tab", "You said: in the first tab."]


def test_voice__tab_closed_and_found_again(example: Example, context: BrowserContext) -> None:
    user = example.person()
    first = entered(example, context, user)
    say(first, "remember the milk")
    hears(first, "You said: remember the milk.")
    first.close()

    page = connected(example.open(context, user))
    page.get_by_role("link", name="2 messages").click()
    page.get_by_text("You said: remember the milk.").wait_for()
    connected(page)
    say(page, "and bread")
    page.get_by_text(re.compile("Before that you said: remember the milk. I was given the last 3 mess")).wait_for()
    page.reload()
    page.get_by_text("and bread", exact=True).wait_for()


def test_voice__one_conversation_in_two_tabs_is_held_by_one(example: Example, context: BrowserContext) -> None:
    user = example.person()
    first = entered(example, context, user)
    say(first, "one of us")
    hears(first, "You said: one of us.")
    saved(first)
    other = connected(example.open(context, user))
    other.get_by_role("link", name="2 messages").click()
    other.get_by_text("Another tab holds this conversation.").wait_for()
    say(first, "is enough")
    other.get_by_text(re.compile("^You said: is enough. ")).wait_for()
    saved(first)

    first.close()

    connected(other)
    say(other, "now here")
    other.get_by_text(re.compile("^You said: now here. Before that you said: is enough. ")).wait_for()


def test_voice__wrong_passphrase_on_another_device(
    example: Example, context: BrowserContext, shared_browser: Chromium
) -> None:
    user = example.person()
    page = entered(example, context, user)
    say(page, "only for me")
    hears(page, "You said: only for me.")
    saved(page)

    elsewhere = shared_browser.new_context()
    device = enter(example.open(elsewhere, user), "incorrect horse")
    device.get_by_text("sealed with another passphrase").wait_for()
    enter(device)
    device.get_by_role("link", name="2 messages").click()

    device.get_by_text("You said: only for me.").wait_for()
    elsewhere.close()


def test_voice__a_passphrase_waits_for_the_server_that_knows_the_others(
    example: Example, context: BrowserContext
) -> None:
    example.line.is_down = True
    page = example.open(context, example.person())
    page.get_by_text("The server can't be reached.").wait_for()
    assert page.get_by_role("button", name="Open").is_disabled()
    example.line.is_down = False
    page.evaluate("dispatchEvent(new Event('online'))")
    connected(enter(page))


#: How much there is in this browser, in all databases.
_KEPT = """async () => {
    const done = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
    let count = 0;
    for (const { name } of await indexedDB.databases()) {
        const database = await done(indexedDB.open(name));
        for (const store of database.objectStoreNames)
            count += await done(database.transaction(store).objectStore(store).count());
        database.close();
    }
    return count;
}"""


def test_voice__locked_in_one_tab_it_is_locked_in_all_and_nothing_is_left(
    example: Example, context: BrowserContext
) -> None:
    user = example.person()
    first = entered(example, context, user)
    say(first, "nobody else shall read this")
    hears(first, "You said: nobody else shall read this.")
    second = connected(example.open(context, user))
    assert second.evaluate(_KEPT) > 0

    first.get_by_role("button", name="Lock").click()

    first.get_by_label("Passphrase").wait_for()
    second.get_by_label("Passphrase").wait_for()
    until(lambda: second.evaluate(_KEPT) == 0, "something is left")


def test_voice__what_does_not_open_is_not_shown_and_not_changed(
    example: Example, context: BrowserContext
) -> None:
    user = example.person()
    api = example.api(user)
    state = {"messages": [{"role": "user", "content": "slipped in"}]}
    session = api.session(state=state)  # as whoever can write into the database would
    page = example.open(context, user)
    page.get_by_label("Passphrase").wait_for()
    page.goto(f"{example.url}?user={user}&session={session}")
    enter(page)
    page.get_by_text("This conversation does not open with your passphrase.").wait_for()
    assert messages(page) == []
    assert api.state(session) == state


def test_voice__a_week_later_it_is_cleaned_up_and_goes_on(example: Example, context: BrowserContext) -> None:
    user = example.person()
    page = entered(example, context, user)
    say(page, "see you")
    hears(page, "You said: see you.")
    saved(page)
    before = figure(page, "Session")
    service = example.api(user)
    service.http.headers["Authorization"] = f"Bearer {example.stack.service_token()}"
    mine = "update public.free_agent_sessions set {} where user_id = %s"
    for change in ("last_activity_at = now() - interval '7 days 1 minute'", "expired_at = now() - interval '8 days'"):
        example.db.sql(mine.format(change), (example.db.user(user),))
        assert service.post("cleanup-old-snapshots", {}).status_code == 200

    events(page, "sessionExpired").wait_for()
    say(page, "a week later")
    page.get_by_text(re.compile("^You said: a week later. Before that you said: see you.")).wait_for()
    saved(page)
    assert figure(page, "Session") != before
