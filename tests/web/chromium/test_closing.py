"""Pages that are closed, left and come back to: what was said before arrives, once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.functions.api import Person
from tests.web.chromium.app import App, journalled, said, say
from tests.web.chromium.browser import Chromium
from tests.web.chromium.line import Line

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page


@pytest.fixture
def app(pages: str, line: Line, ada: Person) -> App:
    """One session of Ada's."""
    return App(pages, line, ada)


def test_app__saves_by_itself_and_comes_back(context: BrowserContext, pages: str, line: Line, ada: Person) -> None:
    app = App(pages, line, ada, debounce=50)
    page = app.open(context)
    say(page, "one", "two")
    page.evaluate("session.set('/memory', { topic: 'tea' })")
    app.wait_until_stored(["one", "two"])
    page.reload()
    page.wait_for_function("session.status.isRestored")
    assert said(page) == ["one", "two"]
    assert page.evaluate("session.state.memory") == {"topic": "tea"}


def test_close__within_the_debounce(context: BrowserContext, app: App) -> None:
    page = app.open(context)
    say(page, "last words")
    page.close(run_before_unload=False)
    app.wait_until_stored(["last words"])


def test_close__navigated_away(context: BrowserContext, app: App, pages: str) -> None:
    page = app.open(context)
    say(page, "last words")
    page.goto(f"{pages}/away.html")
    app.wait_until_stored(["last words"])


def test_close__large_session_with_one_new_message(context: BrowserContext, app: App, ada: Person) -> None:
    messages = [{"role": "user", "content": f"{n} " + "x" * 4000} for n in range(500)]
    ada.saved(app.session, state={"messages": messages})
    page = app.open(context)
    say(page, "last words")
    page.close()
    app.wait_until_stored([message["content"] for message in messages] + ["last words"])


def test_close__more_than_fits_arrives_at_the_next_load(context: BrowserContext, app: App) -> None:
    page = app.open(context)
    words = ["x" * 100_000, "after"]
    say(page, *words)
    assert page.evaluate("session.status.waiting.bytes") > 65_536
    journalled(page)
    page.close()
    again = app.open(context)
    assert said(again) == words
    app.wait_until_stored(words)
    assert again.evaluate("most") == 2


def test_close__slow_server(context: BrowserContext, app: App, line: Line) -> None:
    page = app.open(context)
    line.delay = 1
    page.evaluate("void session.saveNow()")
    say(page, "last words")
    page.close()
    app.wait_until_stored(["last words"])


def test_close__while_a_save_is_under_way(context: BrowserContext, app: App, line: Line) -> None:
    page = app.open(context)
    line.delay = 1
    say(page, "first")
    page.evaluate("void session.saveNow()")
    page.wait_for_timeout(200)
    say(page, "second")
    journalled(page)
    page.close()
    line.delay = 0
    app.open(context)
    app.wait_until_stored(["first", "second"])


def test_close__while_it_looks_for_news(context: BrowserContext, pages: str, line: Line, ada: Person) -> None:
    app = App(pages, line, ada, poll=100)
    page = app.open(context)
    say(page, "one")
    page.evaluate("session.saveNow()")
    line.answer_delay = 2
    page.wait_for_timeout(500)  # a look is under way
    say(page, "last words")
    page.close()
    app.wait_until_stored(["one", "last words"])


def test_hidden__saves_at_once(context: BrowserContext, app: App) -> None:
    page = app.open(context)
    say(page, "last words")
    page.evaluate(
        """() => { Object.defineProperty(document, "visibilityState", { get: () => "hidden" });
            document.dispatchEvent(new Event("visibilitychange")); }"""
    )
    app.wait_until_stored(["last words"])


def test_page__needs_no_unload(context: BrowserContext, app: App) -> None:
    context.add_init_script(
        """const add = EventTarget.prototype.addEventListener; window.heard = [];
        EventTarget.prototype.addEventListener = function (name, ...rest) { window.heard.push(name); return add.call(this, name, ...rest); };"""
    )
    page = app.open(context)
    heard = page.evaluate("heard")
    assert "pagehide" in heard
    assert not {"unload", "beforeunload"} & set(heard)


def come_back(page: Page) -> bool:
    """Back to the app; whether it came out of the back/forward cache, which a browser may empty when it likes."""
    page.evaluate("() => { setTimeout(() => history.back(), 50); }")
    page.wait_for_function("window.session")
    reasons = page.evaluate("performance.getEntriesByType('navigation')[0].notRestoredReasons?.reasons ?? []")
    kept: bool = page.evaluate("performance.getEntriesByType('navigation')[0].notRestoredReasons == null")
    # "masked" is the browser's own, and nothing that a page does: all others are ours.
    assert kept or [reason["reason"] for reason in reasons] == ["masked"], reasons
    return kept


#: How often a page leaves before its browser must have kept it once. It is right each time, kept or loaded again.
VISITS = 5


def test_back__looks_again_and_goes_on(chromium: Chromium, app: App, ada: Person, pages: str) -> None:
    page = app.open(chromium.context)
    words: list[str] = []
    for n in range(VISITS):
        say(page, f"{n} here")
        page.goto(f"{pages}/away.html")
        app.wait_until_stored([*words, f"{n} here"])
        ada.saved(app.session, changes={"append": {"/messages": [{"role": "user", "content": f"{n} meanwhile"}]}})
        kept = come_back(page)
        words += [f"{n} here", f"{n} meanwhile"]
        page.wait_for_function(f"said().length === {len(words)}")
        assert said(page) == words
        if kept:
            break
    else:
        pytest.fail("it never came out of the back/forward cache")
    say(page, "at last")
    page.evaluate("session.saveNow()")
    app.wait_until_stored([*words, "at last"])


def test_back__another_tab_has_finished_what_it_left(chromium: Chromium, app: App, line: Line, pages: str) -> None:
    # A page that is frozen in the middle of a transaction, as writing its journal on leaving may be, is thrown out of
    # the cache as soon as another tab wants the store. So this is seen both ways: kept, and loaded again.
    page = app.open(chromium.context)
    words: list[str] = []
    for n in range(VISITS):
        line.is_down = True
        say(page, f"{n} left")
        journalled(page)
        page.goto(f"{pages}/away.html")
        line.is_down = False
        words.append(f"{n} left")
        other = app.open(chromium.context)
        app.wait_until_stored(words)
        other.close()
        if come_back(page):
            break
        page.wait_for_function(f"said().length === {len(words)}")
        assert said(page) == words
    say(page, "at last")
    page.evaluate("session.saveNow()")
    app.wait_until_stored([*words, "at last"])
    assert said(page) == [*words, "at last"]


@pytest.mark.parametrize("when", ["edits", "sending"])
def test_kill__nothing_lost_nothing_twice(chromium: Chromium, app: App, line: Line, when: str, rounds: int) -> None:
    words: list[str] = []
    for n in range(rounds):
        page = app.open(chromium.context)
        if when == "sending":
            line.answer_delay = 0.3
        new = [f"{n} a", f"{n} b"]
        say(page, new[0])
        if when == "sending":
            page.evaluate("void session.saveNow()")
        say(page, new[1])
        journalled(page)
        chromium.kill()
        line.answer_delay = 0
        words += new
        chromium.start()
    page = app.open(chromium.context)
    page.wait_for_function("!session.status.waiting.changes")
    app.wait_until_stored(words)
    assert said(page) == words


def test_offline__two_hundred_edits_and_a_kill(chromium: Chromium, app: App, line: Line) -> None:
    page = app.open(chromium.context)
    chromium.context.set_offline(True)
    line.is_down = True
    words = [str(n) for n in range(200)]
    for word in words:
        say(page, word)
    journalled(page)
    chromium.kill()
    chromium.start()
    page = app.open(chromium.context, ready=False)
    page.wait_for_function("said().length === 200")
    assert page.evaluate("session.status.waiting.changes") > 0
    line.is_down = False
    app.wait_until_stored(words)


def test_quota__full_store_saves_all_the_same(context: BrowserContext, app: App) -> None:
    page = context.new_page()
    page.goto(app.pages + "/away.html")
    context.new_cdp_session(page).send(
        "Storage.overrideQuotaForOrigin", {"origin": page.evaluate("origin"), "quotaSize": 100_000}
    )
    page = app.open(context)
    noise = "crypto.getRandomValues(new Uint8Array(60000)).join('')"
    page.evaluate(f"session.set('/noise', {noise})")
    page.wait_for_function("session.status.journal === 'full'")
    say(page, "words")
    page.evaluate("session.saveNow()")
    app.wait_until_stored(["words"])


def test_database__deleted_under_the_page(context: BrowserContext, app: App, line: Line) -> None:
    page = app.open(context)
    say(page, "one")
    journalled(page)
    names = "(await indexedDB.databases()).map((one) => one.name)"
    page.evaluate(
        f"""async () => {{ for (const name of {names}) await new Promise((ok, no) => {{
            const r = indexedDB.deleteDatabase(name); r.onsuccess = ok; r.onerror = r.onblocked = no; }}); }}"""
    )
    line.is_down = True
    say(page, "two")
    journalled(page)
    page.close()
    line.is_down = False
    app.open(context)
    app.wait_until_stored(["one", "two"])


def test_token__refused_until_it_can_be_refreshed(
    context: BrowserContext, pages: str, line: Line, ada: Person
) -> None:
    app = App(pages, line, ada, debounce=50)
    page = app.open(context)
    line.answer = (401, json.dumps({"title": "No", "code": "invalid_token", "status": 401}).encode())
    say(page, "words")
    page.wait_for_function("session.status.error")
    page.wait_for_timeout(1000)
    assert app.stored() == []
    line.answer = None
    app.wait_until_stored(["words"])
    page.wait_for_function("!session.status.error && !session.status.waiting.changes")


def test_server__down_for_a_while(context: BrowserContext, pages: str, line: Line, ada: Person) -> None:
    app = App(pages, line, ada, debounce=50)
    page = app.open(context)
    line.is_down = True
    words = [str(n) for n in range(20)]
    for word in words:
        say(page, word)
        page.wait_for_timeout(60)
    page.wait_for_function("session.status.offline")
    line.is_down = False
    app.wait_until_stored(words)
    page.wait_for_function("!session.status.offline")


def test_answer__lost(context: BrowserContext, pages: str, line: Line, ada: Person) -> None:
    app = App(pages, line, ada, debounce=50)
    page = app.open(context)
    line.loses_answers = 2
    say(page, "words")
    app.wait_until_stored(["words"])
    page.wait_for_function("!session.status.waiting.changes")
    say(page, "more")
    app.wait_until_stored(["words", "more"])
    assert said(page) == ["words", "more"]
