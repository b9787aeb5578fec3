"""Several tabs and devices on one session: everybody's words are there once, whoever is closed, frozen or killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.functions.api import Person
from tests.web.chromium.app import PATIENCE, App, journalled, said, say
from tests.web.chromium.browser import Chromium, renderer_of, stopped
from tests.web.chromium.line import Line

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import BrowserContext, Page


@pytest.fixture
def app(pages: str, line: Line, ada: Person) -> App:
    """One session of Ada's that saves soon."""
    return App(pages, line, ada, debounce=100, poll=500)


def settled(*tabs: Page) -> None:
    """Waits until each tab has saved what it has."""
    for tab in tabs:
        tab.wait_for_function("!session.status.waiting.changes", timeout=60_000)


def test_tabs__see_each_others_words_before_they_are_saved(
    context: BrowserContext, pages: str, line: Line, ada: Person
) -> None:
    app = App(pages, line, ada)
    here, there = app.open(context), app.open(context)
    line.is_down = True
    say(here, "one")
    there.wait_for_function("said().length === 1", timeout=5_000)
    say(there, "two")
    here.wait_for_function("said().length === 2", timeout=5_000)
    line.is_down = False
    assert sorted(said(here)) == sorted(said(there)) == ["one", "two"]


def test_tabs__many_edits_at_once_from_the_first_message_on(context: BrowserContext, app: App, rounds: int) -> None:
    """The session is empty when both begin: each makes the list of messages."""
    tabs = [app.open(context), app.open(context)]
    count = 20 * rounds
    for n, tab in enumerate(tabs):
        tab.evaluate(
            """([name, count]) => { window.end = (async () => { for (let n = 0; n < count; n++) {
                say(`${name} ${n}`); await new Promise((ok) => setTimeout(ok, 10)); } })(); }""",
            ["ab"[n], count],
        )
    for tab in tabs:
        tab.evaluate("() => window.end")
    settled(*tabs)
    stored = app.stored()
    assert sorted(stored) == sorted(f"{name} {n}" for name in "ab" for n in range(count))
    for name in "ab":
        assert [words for words in stored if words.startswith(name)] == [f"{name} {n}" for n in range(count)]
    for tab in tabs:
        tab.wait_for_function("(wanted) => JSON.stringify(said()) === JSON.stringify(wanted)", arg=stored)


def test_tabs__one_is_closed_and_the_other_finishes_it(
    context: BrowserContext, pages: str, line: Line, ada: Person
) -> None:
    app = App(pages, line, ada)
    here, there = app.open(context), app.open(context)
    line.is_down = True
    say(there, "last words")
    journalled(there)
    there.close()
    line.is_down = False
    app.wait_until_stored(["last words"])
    here.wait_for_function("said().length === 1")
    assert said(here) == ["last words"]


def test_tabs__frozen_one_is_finished_and_wakes_up(chromium: Chromium, pages: str, line: Line, ada: Person) -> None:
    app = App(pages, line, ada, debounce=600_000, maxWait=600_000)
    here, there = app.open(chromium.context), app.open(chromium.context)
    say(there, "of the frozen one")
    journalled(there)
    process = renderer_of(chromium, there)
    here.bring_to_front()
    with stopped(process):
        app.wait_until_stored(["of the frozen one"])
        say(here, "meanwhile")
        here.evaluate("session.saveNow()")
    say(there, "awake")
    there.evaluate("session.saveNow()")
    app.wait_until_stored(["of the frozen one", "meanwhile", "awake"])
    there.wait_for_function("said().length === 3")
    here.wait_for_function("said().length === 3")


def test_tabs__duplicated_one_is_a_client_of_its_own(
    context: BrowserContext, pages: str, line: Line, ada: Person
) -> None:
    app = App(pages, line, ada)
    page = app.open(context)
    line.is_down = True
    say(page, "one")
    journalled(page)
    with context.expect_page() as opened:  # it gets a copy of sessionStorage, as a duplicated tab does
        page.evaluate("() => { window.open(location.href); }")
    copy = opened.value
    copy.wait_for_function("window.session && said().length === 1")
    say(copy, "two")
    journalled(copy, 1)
    line.is_down = False
    page.evaluate("session.saveNow()")
    copy.evaluate("session.saveNow()")
    settled(page, copy)
    assert sorted(app.stored()) == ["one", "two"]


def test_devices__both_stream_into_one_session(browsers: Callable[..., Chromium], app: App) -> None:
    """Two browsers write answers that grow, at the same time."""
    tabs = [app.open(browsers().context), app.open(browsers().context)]
    for n, tab in enumerate(tabs):
        tab.evaluate(
            """(name) => { window.end = (async () => {
                say(name); const grown = (text) => session.update((state) => ({ ...state,
                    messages: state.messages.map((one) => one.content.startsWith(name) ? { ...one, content: text } : one) }));
                for (let n = 1; n <= 60; n++) { grown(name + ".".repeat(n)); await new Promise((ok) => setTimeout(ok, 20)); } })(); }""",
            "ab"[n],
        )
    for tab in tabs:
        tab.evaluate("() => window.end")
    settled(*tabs)
    assert sorted(app.stored()) == ["a" + "." * 60, "b" + "." * 60]
    for tab in tabs:
        tab.wait_for_function("(wanted) => JSON.stringify(said()) === JSON.stringify(wanted)", arg=app.stored())


FOLLOW = """() => { window.shown = ""; (async () => {
    for await (const progress of turns.follow()) { window.shown = progress.text; window.how = progress.status; } })(); }"""
ANSWER = """(count) => { window.stopped = false; (async () => {
    const turn = await turns.start({ lease: 3 }); window.turn = turn.id; turn.signal.addEventListener("abort", () => window.stopped = true);
    for (let n = 0; n < count && !turn.signal.aborted; n++) { turn.write(`word${n} `); await new Promise((ok) => setTimeout(ok, 50)); }
    await turn.finish(); window.finished = true; })(); }"""


def test_turn__reader_reloads_in_the_middle(context: BrowserContext, app: App) -> None:
    writer, reader = app.open(context), app.open(context)
    writer.evaluate(ANSWER, 60)
    writer.wait_for_function("window.turn")
    reader.evaluate(FOLLOW)
    reader.wait_for_function("shown.includes('word1 ')")
    reader.reload()
    reader.wait_for_function("window.session?.status.isRestored")
    reader.evaluate(FOLLOW)
    reader.wait_for_function("window.how === 'done'")
    whole = "".join(f"word{n} " for n in range(60))
    assert reader.evaluate("shown") == whole
    app.wait_until_stored([whole])
    reader.wait_for_function("said().length === 1")


def test_turn__stopped_from_the_other_tab(context: BrowserContext, app: App) -> None:
    writer, reader = app.open(context), app.open(context)
    writer.evaluate(ANSWER, 1000)
    writer.wait_for_function("window.turn")
    reader.evaluate("(turn) => turns.stop(turn)", writer.evaluate("turn"))
    writer.wait_for_function("window.finished", timeout=20_000)
    (text,) = app.stored()
    assert text.startswith("word0 ")
    reader.wait_for_function("said().length === 1")


def test_turn__runner_is_killed(browsers: Callable[..., Chromium], app: App) -> None:
    runner, other = browsers(), browsers()
    writer, reader = app.open(runner.context), app.open(other.context)
    writer.evaluate(ANSWER, 1000)
    writer.wait_for_function("window.turn")
    reader.evaluate(FOLLOW)
    reader.wait_for_function("shown.includes('word1 ')")
    runner.kill()
    reader.wait_for_function("window.how === 'interrupted'", timeout=30_000)
    reader.wait_for_function("said().length === 1")
    (text,) = app.stored()
    assert text == reader.evaluate("shown")
    # and the next answer goes on
    reader.evaluate(ANSWER, 5)
    reader.wait_for_function("window.finished", timeout=20_000)
    assert app.stored()[1] == "".join(f"word{n} " for n in range(5))


def test_page__opened_it_twice_and_closed_one__finishes_what_another_tab_leaves(
    context: BrowserContext, pages: str, line: Line, ada: Person
) -> None:
    """As React's strict mode does it, and a page that is shown before the one before it is gone."""
    app = App(pages, line, ada)
    here, there = app.open(context), app.open(context)
    here.evaluate("() => { window.first = session; window.session = reopen(); }")
    here.wait_for_function("session.status.isRestored", timeout=PATIENCE * 1000)
    here.evaluate("() => first.close()")
    line.is_down = True
    say(there, "last words")
    journalled(there)
    there.close()
    line.is_down = False
    app.wait_until_stored(["last words"])


def test_page__closed_it_while_it_waits__shows_and_saves_it_where_it_is_open(
    context: BrowserContext, pages: str, line: Line, ada: Person
) -> None:
    app = App(pages, line, ada)
    here = app.open(context)
    line.is_down = True
    say(here, "words")
    journalled(here)
    here.evaluate("() => { window.second = reopen(); }")
    shown = "second.state.messages?.map(({ content }) => content).join()"
    here.wait_for_function(f"{shown} === 'words'", timeout=PATIENCE * 1000)
    here.evaluate("() => session.close()")
    assert here.evaluate(shown) == "words"
    line.is_down = False
    app.wait_until_stored(["words"])
    here.wait_for_function(
        f"second.number && !second.status.waiting.changes && {shown} === 'words'", timeout=PATIENCE * 1000
    )
