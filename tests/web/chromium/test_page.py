"""The page of `asyouwere run`, used as people use it: by keyboard and mouse, in a real Chromium, until it breaks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asyouwere.local.page.building import build_page
from asyouwere.local.page.people import PAGE_USERS
from asyouwere.local.tokens import ISSUER, user_id
from tests.functions.api import serving, settings_for
from tests.support.database import Db
from tests.web.chromium.browser import Chromium
from tests.web.chromium.bundling import WEB

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.slow

END = "nothing was lost."  # how the long story ends
WAIT = 60_000


@pytest.fixture(scope="session")
def page_url(web_database: Db) -> Iterator[str]:
    """Where the page is, with its agent, over the database of these tests."""
    said: list[str] = []
    folder = build_page(said.append)
    if folder is None:
        pytest.skip(f"needs the npm packages of web/page ({said})")
    for name in PAGE_USERS:
        web_database.superuser.execute(
            "insert into auth.users (id) values (%s) on conflict do nothing", [user_id(name)]
        )
    with serving(settings_for(web_database.api_dsn, jwt_issuer=ISSUER), folder) as url:
        yield url


@pytest.fixture
def errors() -> list[str]:
    """What went wrong in the pages that were opened: exceptions, and what the policy refused."""
    return []


@pytest.fixture
def visit(page_url: str, errors: list[str]) -> Callable[..., Page]:
    """Opens the page in some windows, by default at the beginning."""

    def go(context: BrowserContext, path: str = "/home") -> Page:
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.set_viewport_size({"width": 1280, "height": 800})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.extend([said.text] if "Content Security Policy" in said.text else []))
        page.goto(page_url + path)
        page.get_by_text(re.compile("Guest|Ada|Ben")).first.wait_for()
        return page

    return go


@pytest.fixture
def page(context: BrowserContext, visit: Callable[..., Page], errors: list[str]) -> Iterator[Page]:
    """The page, in windows of this test alone; at the end nothing may have gone wrong in it."""
    yield visit(context)
    assert errors == []


def say(page: Page, text: str) -> None:
    """Write and send a message."""
    page.get_by_label("Message").fill(text)
    page.keyboard.press("Enter")


def messages(page: Page) -> list[str]:
    """What is in the conversation, oldest first."""
    return page.locator(".message").all_inner_texts()


def answered(page: Page, text: str) -> None:
    """Wait for the end of an answer."""
    page.locator(".message:not([aria-busy])", has_text=text).wait_for()


def sign_in(page: Page, name: str) -> None:
    page.get_by_label("Sign in as somebody else").click()
    page.get_by_role("menuitem", name=f"Sign in as {name}").click()
    page.locator(".person", has_text=name).wait_for()


def new_session(page: Page, text: str) -> str:
    """Begin with this message, wait for its answer, and tell the session's address."""
    say(page, text)
    page.wait_for_url("**/generate?session=*")
    page.locator(".message[data-role=assistant]:not([aria-busy])").first.wait_for()
    return page.url.split("?")[1]


# -- answers --------------------------------------------------------------------------------------------------


def test_page__the_first_message_makes_a_session_and_is_answered(page: Page) -> None:
    say(page, "what is 6 * 7?")

    page.wait_for_url("**/generate?session=*")
    page.locator(".tool", has_text="calculator").wait_for()
    page.locator(".message", has_text="6 * 7 is 42").wait_for()
    page.get_by_role("heading", name="what is 6 * 7?").wait_for()
    assert len(messages(page)) == 2


def test_page__reloaded_in_the_middle_of_an_answer_goes_on(page: Page) -> None:
    say(page, "tell me a long story")
    page.locator(".message", has_text="The night train from Osaka").wait_for()

    page.reload()
    page.locator(".message[aria-busy]", has_text="The night train from Osaka").wait_for()
    page.locator(".message", has_text=END).wait_for()
    page.locator(".message[aria-busy]").wait_for(state="detached")

    shown = messages(page)
    assert len(shown) == 2
    assert shown[1].count("The night train from Osaka") == shown[1].count(END) == 1


def test_page__an_answer_that_is_over_is_asked_for_no_more(page: Page) -> None:
    new_session(page, "hello")
    asked: list[str] = []
    page.on("request", lambda request: asked.extend([request.url] if "/turns/" in request.url else []))
    page.wait_for_timeout(5_000)  # time for hundreds
    assert len(asked) < 10


def test_page__the_browser_killed_in_the_middle_of_an_answer(
    chromium: Chromium, visit: Callable[..., Page], page_url: str
) -> None:
    first = visit(chromium.context)
    say(first, "tell me a long story")
    first.locator(".message", has_text="The night train from Osaka").wait_for()
    address = first.url.removeprefix(page_url)

    chromium.kill()
    second = visit(chromium.start().context, address)

    second.locator(".message", has_text=END).wait_for()
    assert len(messages(second)) == 2


def test_page__stopped_from_another_tab(page: Page, context: BrowserContext, visit: Callable[..., Page]) -> None:
    say(page, "tell me a long story")
    page.locator(".message", has_text="The night train from Osaka").wait_for()
    other = visit(context, "/generate?" + page.url.split("?")[1])
    other.locator(".message", has_text="The night train from Osaka").wait_for()

    other.get_by_role("button", name="Stop").click()

    for tab in (page, other):
        tab.locator(".message", has_text="Stopped.").wait_for()
        assert END not in messages(tab)[1]


def test_page__said_in_one_tab_is_shown_in_the_other(
    page: Page, context: BrowserContext, visit: Callable[..., Page]
) -> None:
    session = new_session(page, "hello")
    other = visit(context, f"/generate?{session}")
    other.locator(".message", has_text="Hello!").wait_for()

    say(page, "count the words in: one two three")
    answered(other, "3 words")
    say(other, "a table of 9")

    answered(page, "108")
    assert len(messages(page)) == len(messages(other)) == 6


def test_page__offline_keeps_what_is_said_and_sends_it_later(page: Page, context: BrowserContext) -> None:
    new_session(page, "hello")
    context.set_offline(True)

    say(page, "are you there?")
    page.get_by_text(re.compile(r"Offline, \d+ changes? waiting")).wait_for()
    page.get_by_text("It is answered as soon as that can be.").wait_for()
    context.set_offline(False)

    page.get_by_text(re.compile("Saved|Up to date")).wait_for()
    page.locator(".message", has_text="Before this you said").wait_for()  # nobody has to ask again
    assert [text.strip().splitlines()[-1] for text in messages(page)][2] == "are you there?"


def test_page__killed_while_offline_has_what_was_said(
    chromium: Chromium, visit: Callable[..., Page], page_url: str
) -> None:
    first = visit(chromium.context)
    new_session(first, "hello")
    address = first.url.removeprefix(page_url)
    first.route("**/functions/v1/**", lambda route: route.abort())
    first.route("**/page/**", lambda route: route.abort())
    say(first, "said while nobody could hear it")
    first.get_by_text(re.compile("waiting")).wait_for()
    first.wait_for_timeout(1_000)  # what is on the screen is written down within moments

    chromium.kill()
    second = visit(chromium.start().context, address)

    second.locator(".message", has_text="said while nobody could hear it").wait_for()
    second.get_by_text(re.compile("Saved|Up to date")).wait_for()
    second.reload()
    second.locator(".message", has_text="said while nobody could hear it").wait_for()
    assert len(messages(second)) == 3


def test_page__killed_before_the_server_has_heard_of_the_session(
    chromium: Chromium, visit: Callable[..., Page], page_url: str
) -> None:
    first = visit(chromium.context)
    first.route("**/functions/v1/**", lambda route: route.abort())
    say(first, "the first word of all")
    first.wait_for_url("**/generate?session=*")
    first.locator(".message", has_text="the first word of all").wait_for()
    address = first.url.removeprefix(page_url)
    first.wait_for_timeout(1_000)  # what is on the screen is written down within moments

    chromium.kill()
    second = visit(chromium.start().context, address)

    second.locator(".message", has_text="the first word of all").wait_for()
    second.get_by_text(re.compile("Saved|Up to date")).wait_for()
    second.get_by_role("button", name="Answer this").click()
    second.locator(".message[data-role=assistant]:not([aria-busy])").wait_for()
    second.reload()
    second.locator(".message[data-role=assistant]").wait_for()
    assert len(messages(second)) == 2


def test_page__a_message_while_an_answer_is_asked_for_waits(page: Page) -> None:
    new_session(page, "hello")
    page.route("**/page/answer", lambda route: None)  # asked, and not answered yet
    say(page, "what is 6 * 7?")
    page.locator(".message[aria-busy]").wait_for()  # at once

    say(page, "and 6 * 8?")

    assert page.get_by_label("Message").input_value() == "and 6 * 8?"
    assert len(messages(page)) == 4


def test_page__two_tabs_that_ask_at_once_are_both_answered(
    page: Page, context: BrowserContext, visit: Callable[..., Page]
) -> None:
    session = new_session(page, "hello")
    other = visit(context, f"/generate?{session}")
    other.locator(".message", has_text="Hello!").wait_for()
    other.route("**/turns/**", lambda route: route.abort())  # it does not see that an answer is being made

    say(page, "tell me a long story")
    page.locator(".message", has_text="The night train from Osaka").wait_for()
    say(other, "what is 6 * 7?")
    other.locator(".message", has_text="what is 6 * 7?").wait_for()
    other.unroute("**/turns/**")
    page.get_by_role("button", name="Stop").click()

    page.locator(".message", has_text="6 * 7 is 42").wait_for()
    other.locator(".message", has_text="6 * 7 is 42").wait_for()


def unsent(page: Page, text: str) -> None:
    """Wait for what is in the field."""
    page.wait_for_function("text => document.querySelector('textarea')?.value === text", arg=text)


KEPT = """async (text) => {
    const done = (request) => new Promise((ok) => (request.onsuccess = () => ok(request.result)));
    for (const { name } of await indexedDB.databases()) {
        const database = await done(indexedDB.open(name));
        const stores = [...database.objectStoreNames].filter((store) => store === "records");
        const rows = stores.length ? await done(database.transaction(stores).objectStore("records").getAll()) : [];
        database.close();
        if (rows.includes(text)) return true;
    }
    return false;
}"""


def typed(page: Page, text: str) -> None:
    """Type it, and wait until it would survive a crash: what is not written down yet is nobody's promise."""
    page.get_by_label("Message").fill(text)
    page.wait_for_function(KEPT, arg=text)


def test_page__an_unsent_text_is_there_after_a_reload(page: Page) -> None:
    new_session(page, "hello")
    typed(page, "half a thought")

    page.reload()

    unsent(page, "half a thought")


def test_page__each_tab_has_an_unsent_text_of_its_own(
    page: Page, context: BrowserContext, visit: Callable[..., Page]
) -> None:
    session = new_session(page, "hello")
    typed(page, "half a thought")
    other = visit(context, f"/generate?{session}")
    other.locator(".message").first.wait_for()
    typed(other, "another one")

    for tab in (page, other):
        tab.reload()
    unsent(page, "half a thought")
    unsent(other, "another one")

    other.close()
    unsent(visit(context, f"/generate?{session}"), "another one")  # what nobody has any more is found


def test_page__what_is_typed_at_once_goes_on_where_one_was(page: Page) -> None:
    typed(page, "half a")
    page.reload()
    page.get_by_label("Message").press_sequentially(" thought")
    unsent(page, "half a thought")


# -- history --------------------------------------------------------------------------------------------------


def test_timeline__goes_back_and_loses_nothing(page: Page) -> None:
    new_session(page, "hello")
    say(page, "remember that the train is at 9:40")
    answered(page, "Noted")

    page.get_by_role("button", name="Timeline").click()
    slider = page.get_by_role("slider", name="Version")
    slider.wait_for()
    page.get_by_text("/messages/3").wait_for()
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.get_by_text("/memory/blackboard/train").wait_for()  # what is learnt is saved before it is said
    page.keyboard.press("Home")
    page.locator(".message", has_text="Noted").wait_for(state="detached")
    page.locator(".message").nth(0).wait_for(state="detached")
    while "2 messages" not in page.locator(".timeline").inner_text():
        page.keyboard.press("ArrowRight")
    page.locator(".message", has_text="Hello!").wait_for()
    page.get_by_role("button", name="Restore").click()

    page.get_by_text("is in front again.").wait_for()
    page.locator(".message", has_text="Noted").wait_for(state="detached")
    assert len(messages(page)) == 2
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.locator(".message", has_text="Noted").wait_for()  # what was last is one step back


def test_timeline__a_label_and_a_branch(page: Page) -> None:
    session = new_session(page, "hello")
    page.get_by_role("button", name="Timeline").click()
    page.get_by_role("button", name="Label").click()
    page.get_by_role("textbox", name="Label").fill("the beginning")
    page.keyboard.press("Enter")
    page.locator(".timeline", has_text="“the beginning”").wait_for()

    page.get_by_role("button", name="Branch off").click()

    page.wait_for_url(lambda url: session not in url)
    page.get_by_role("heading", name=re.compile("hello, branch at")).wait_for()
    assert "Hello!" in messages(page)[1]


# -- sessions and people --------------------------------------------------------------------------------------


def test_sessions__found_renamed_archived_deleted(page: Page) -> None:
    new_session(page, "about tortoises")
    page.get_by_role("button", name="New session").click()
    new_session(page, "about trains")
    listed = page.locator(".session")

    page.get_by_label("Search sessions by name").fill("tortoise")
    listed.filter(has_text="trains").wait_for(state="detached")
    page.get_by_label("More for about tortoises").click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_role("textbox", name="Name").fill("about old tortoises")
    page.keyboard.press("Enter")
    listed.filter(has_text="about old tortoises").wait_for()
    page.get_by_label("Search sessions by name").fill("")
    listed.filter(has_text="trains").wait_for()

    page.get_by_label("More for about old tortoises").click()
    page.get_by_role("menuitem", name="Archive").click()
    listed.filter(has_text="tortoises").wait_for(state="detached")
    page.get_by_label("Archived").check()
    page.get_by_label("More for about old tortoises").click()
    page.get_by_role("menuitem", name="Take out of the archive").click()
    page.get_by_label("Archived").uncheck()
    listed.filter(has_text="tortoises").wait_for()

    page.get_by_label("More for about trains").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    listed.filter(has_text="trains").wait_for(state="detached")
    page.wait_for_url("**/home")


def test_people__a_guest_takes_the_sessions_along(page: Page) -> None:
    session = new_session(page, "said as a guest")

    sign_in(page, "Ben")

    page.locator(".session", has_text="said as a guest").click()
    page.wait_for_url(f"**/generate?{session}")
    page.locator(".message", has_text="Hello!").wait_for()


def test_people__a_guest_who_signs_in_during_an_answer_has_all_of_it(page: Page) -> None:
    say(page, "tell me a long story")
    page.locator(".message", has_text="The night train from Osaka").wait_for()
    page.get_by_label("Message").fill("and not sent yet")

    sign_in(page, "Ben")

    page.locator(".message[aria-busy]", has_text="The night train from Osaka").wait_for()
    unsent(page, "and not sent yet")
    answered(page, END)
    assert len(messages(page)) == 2
    assert "interrupted" not in messages(page)[1]


def test_people__nobody_signs_in_over_what_is_not_saved(
    page: Page, context: BrowserContext, visit: Callable[..., Page]
) -> None:
    session = new_session(page, "hello")
    other = visit(context, f"/generate?{session}")
    other.locator(".message", has_text="Hello!").wait_for()
    other.route("**/session-snapshot-save", lambda route: route.abort())
    say(other, "only here")
    other.get_by_text(re.compile("waiting")).wait_for()

    page.get_by_label("Sign in as somebody else").click()
    page.get_by_role("menuitem", name="Sign in as Ada").click()
    page.get_by_text("Something is not saved yet").wait_for()
    page.locator(".person", has_text="Guest").wait_for()
    other.unroute("**/session-snapshot-save")
    other.get_by_text(re.compile("Saved|Up to date")).wait_for()
    sign_in(page, "Ada")

    page.locator(".message", has_text="only here").wait_for()


def test_people__a_guests_sessions_are_not_left_unasked(page: Page) -> None:
    new_session(page, "hello")
    page.get_by_label("Sign in as somebody else").click()
    page.get_by_role("menuitem", name="Be a new guest").click()
    page.get_by_role("button", name="Cancel").click()
    page.locator(".session", has_text="hello").wait_for()

    page.get_by_label("Sign in as somebody else").click()
    page.get_by_role("menuitem", name="Be a new guest").click()
    page.get_by_role("button", name="Be a new guest").click()

    page.get_by_text("Nothing here yet.").wait_for()


def test_people__what_is_shared_is_accepted_first(
    page: Page, shared_browser: Chromium, visit: Callable[..., Page]
) -> None:
    sign_in(page, "Ada")
    session = new_session(page, "for both of us, says Ada")
    windows = shared_browser.new_context()
    bens = visit(windows)
    sign_in(bens, "Ben")
    bens.goto(bens.url.removesuffix("/home") + f"/generate?{session}")
    bens.get_by_text("No such session").wait_for()

    page.get_by_role("button", name="Share").click()
    page.get_by_label("as", exact=True).select_option("viewer")
    page.get_by_role("button", name="Invite Ben").click()
    page.get_by_text("viewer, invited").wait_for()

    bens.locator(".invitation", has_text="for both of us").get_by_role("button", name="Accept").click()
    bens.locator(".message", has_text="Hello!").wait_for()
    assert bens.get_by_label("Message").is_disabled()
    bens.get_by_label("Search sessions by name").fill("zzz")
    bens.get_by_text("No session is called that.").wait_for()
    assert bens.get_by_label("Message").is_disabled()
    bens.get_by_role("heading", name="for both of us").wait_for()
    windows.close()


# -- safe and for everybody -----------------------------------------------------------------------------------

HOSTILE = """<script>window.hurt = 1</script><img src=x onerror="window.hurt = 1">
[press](javascript:window.hurt=1) ![](https://elsewhere.example/pixel.png) <a href="data:text/html,x">y</a>
<svg onload="window.hurt=1"></svg> `<b>` [ok](https://example.org)"""


def test_page__what_people_and_models_write_runs_nothing(page: Page, errors: list[str], web_database: Db) -> None:
    new_session(page, "hello")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    session = page.url.split("session=")[1]
    hostile = [{"role": "assistant", "content": HOSTILE}, {"role": "assistant", "content": None}, 7]
    claims = "select set_config('request.jwt.claims', json_build_object('role', 'authenticated', 'sub', user_id)::text, false)"
    web_database.superuser.execute(f"{claims} from free_agent_sessions where id = %s", [session])
    web_database.superuser.execute("select append_session_messages(%s, %s)", [session, json.dumps(hostile)])

    written = page.locator(".message", has_text="press")
    written.wait_for()
    written.get_by_text("press").click(no_wait_after=True)

    assert page.evaluate("window.hurt") is None
    assert written.locator("script, svg, img, [onerror]").count() == 0
    assert [
        link.get_attribute("href") or "" for link in written.locator("a").all() if "javascript" in str(link)
    ] == []
    assert not [url for url in asked if "elsewhere" in url]
    assert errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_page__is_for_everybody(page: Page, scheme: Any, width: int, tmp_path: Path) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    axe = (WEB / "node_modules" / "axe-core" / "axe.min.js").read_text()

    def problems() -> list[str]:
        page.evaluate(axe)
        found = page.evaluate("async () => (await axe.run(document)).violations")
        return [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]]

    assert problems() == []
    new_session(page, "primes in Python")
    page.get_by_role("button", name="Timeline").click()
    page.get_by_role("slider", name="Version").wait_for()
    assert problems() == []
    page.get_by_role("button", name="What happens").click()
    page.get_by_text("requests ·").wait_for()
    assert problems() == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_page__tells_aloud_what_goes_wrong_and_not_the_seconds(page: Page, context: BrowserContext) -> None:
    new_session(page, "hello")
    page.get_by_text(re.compile("^Saved")).wait_for()
    aloud = page.locator("header [role=status]")
    assert aloud.inner_text() == ""
    assert page.title() == "hello · asyouwere"

    context.set_offline(True)
    say(page, "are you there?")

    aloud.get_by_text("What you write is kept on this device.").wait_for(state="attached")


def test_page__menus_on_a_phone_can_be_touched(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    new_session(page, "hello")

    page.get_by_role("button", name="Sessions").click()
    page.get_by_label("More for hello").click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_role("textbox", name="Name").fill("renamed")
    page.keyboard.press("Enter")
    page.locator(".session", has_text="renamed").wait_for()
    page.get_by_label("Sign in as somebody else").click()
    page.get_by_role("menuitem", name="Sign in as Ada").click()
    page.get_by_text("1 session came along.").wait_for()


def test_people__signing_in_is_seen_in_the_other_tab(
    page: Page, context: BrowserContext, visit: Callable[..., Page]
) -> None:
    session = new_session(page, "hello")
    other = visit(context, f"/generate?{session}")

    sign_in(page, "Ada")

    other.locator(".person", has_text="Ada").wait_for()
    other.locator(".message", has_text="Hello!").wait_for()
    assert session in page.url  # where one was, now with what came along
    page.locator(f".session a[href$='{session}']").wait_for()


def test_page__by_keyboard_alone(page: Page) -> None:
    page.keyboard.type("hello")
    page.keyboard.press("Enter")
    page.locator(".message", has_text="Hello!").wait_for()
    page.keyboard.type("a")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("b")

    assert page.get_by_label("Message").input_value() == "a\nb"


# -- what it cost -------------------------------------------------------------------------------------------------


def test_cost__is_shown_with_a_bar_to_its_budget_and_a_warning(page: Page) -> None:
    say(page, "What can you do?")
    cost = page.get_by_role("button", name=re.compile(r"Cost: \$"))
    page.wait_for_function("() => /[1-9]/.test(document.querySelector('.cost')?.textContent ?? '')")
    page.get_by_role("button", name="Stop").wait_for(state="hidden")
    spent = float(cost.inner_text().split("$")[1])
    assert cost.get_attribute("data-level") == "fine"
    cost.click()
    page.get_by_label("Budget in dollars").fill(f"{spent / 0.85:.2f}")
    page.get_by_role("button", name="Set budget").click()
    page.locator(".cost[data-level=warning] meter").wait_for()
    page.get_by_text(re.compile(r"8\d % of this session's budget of \$")).wait_for()
    page.reload()  # the bar is the server's, not this page's
    page.locator(".cost[data-level=warning] meter").wait_for()
    say(page, "Primes in Python")
    page.locator(".cost[data-level=over]").wait_for()
    page.get_by_text(re.compile("All of this session's budget")).wait_for()
