"""The main stories in the engines of Firefox and Safari, whose closing pages, IndexedDB and locks are not Chromium's."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from functools import partial

import pytest

from tests.functions.api import Person
from tests.web.chromium.app import PATIENCE, App
from tests.web.chromium.line import Line
from tests.web.engines.conftest import Engine
from tests.web.engines.firefox import FirefoxTab
from tests.web.engines.webkit import WebKitTab

Tab = FirefoxTab | WebKitTab


@pytest.fixture
def app(pages: str, line: Line, ada: Person) -> App:
    """One session of Ada's; it saves when it has to."""
    return App(pages, line, ada, debounce=600_000, maxWait=600_000, poll=500)


def until(condition: Callable[[], object]) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def shows(tab: Tab, expression: str, wanted: object = True) -> None:
    """Waits until an expression has a value in a tab."""
    until(lambda: tab.run(expression) == wanted)


def opened(engine: Engine, app: App) -> Tab:
    """A tab with the app, restored."""
    tab = engine.open(app.url)
    shows(tab, "!!window.session?.status.isRestored")
    return tab


def say(tab: Tab, *words: str, are_journalled: bool = True) -> None:
    """Appends messages, as a person would."""
    tab.run(f"{json.dumps(words)}.forEach(say)")
    if are_journalled:
        tab.run("journalled(said().length)")


def reported(line: Line, words: list[str]) -> bool:
    """Whether a page that nobody drives has told that it shows this."""
    return any(one.method == "POST" and one.path == "/report" and json.loads(one.body) == words for one in line.seen)


def test_save__all_there_after_a_reload(driven: Engine, app: App) -> None:
    tab = opened(driven, app)
    say(tab, "one", "two")
    tab.run("session.set('/memory', { topic: 'tea' })")
    tab.run("session.saveNow()")
    app.wait_until_stored(["one", "two"])
    tab.reload()
    shows(tab, "!!window.session?.status.isRestored")
    assert tab.run("[said(), session.state.memory]") == [["one", "two"], {"topic": "tea"}]
    tab.close()


def test_close__within_the_debounce(driven: Engine, app: App) -> None:
    tab = opened(driven, app)
    say(tab, "last words", are_journalled=False)
    tab.close()
    app.wait_until_stored(["last words"])


def test_leave__within_the_debounce_and_back(driven: Engine, app: App, pages: str) -> None:
    tab = opened(driven, app)
    say(tab, "last words", are_journalled=False)
    tab.go(f"{pages}/away.html")
    app.wait_until_stored(["last words"])
    tab.run("void setTimeout(() => history.back(), 50)")
    shows(tab, "!!window.session?.status.isRestored")
    say(tab, "and more")
    tab.run("session.saveNow()")
    app.wait_until_stored(["last words", "and more"])
    assert tab.run("said()") == ["last words", "and more"]
    tab.close()


def test_tabs__both_are_merged(driven: Engine, app: App) -> None:
    """The session is empty when both begin: each makes the list of messages."""
    here, there = opened(driven, app), opened(driven, app)
    for name, tab in (("a", here), ("b", there)):
        tab.run(
            f"void (window.end = (async () => {{ for (let n = 0; n < 20; n++)"
            f" {{ say('{name}' + n); if (n % 5 === 4) await session.saveNow(); }} }})())"
        )
    for tab in (here, there):
        tab.run("window.end")
    stored = app.stored()
    assert sorted(stored) == sorted(f"{name}{n}" for name in "ab" for n in range(20))
    for tab in (here, there):
        shows(tab, "said()", stored)
        tab.close()


def test_tabs__dead_ones_words_are_sent_by_the_other(driven: Engine, app: App) -> None:
    here, there = opened(driven, app), opened(driven, app)
    there.run("void (window.fetch = () => new Promise(() => {}))")  # nothing leaves it any more, but for its journal
    say(there, "last words")
    there.close()
    app.wait_until_stored(["last words"])
    shows(here, "said()", ["last words"])
    here.close()


def test_turn__goes_on_after_a_reload(driven: Engine, app: App, ada: Person) -> None:
    tab = opened(driven, app)
    turn = str(uuid.uuid4())
    path = f"/{app.session}/turns"
    follow = """void (async () => { window.shown = []; for await (const { text, status } of turns.follow())
        window.shown = [text, status]; })()"""
    assert ada.post("sessions", {"turn_id": turn}, path).is_success
    assert ada.post("sessions", {"from_seq": 1, "chunks": ["Green"]}, f"{path}/{turn}/chunks").is_success
    tab.run(follow)
    shows(tab, "window.shown", ["Green", "running"])
    tab.reload()
    shows(tab, "!!window.session?.status.isRestored")
    tab.run(follow)
    assert ada.post("sessions", {"from_seq": 2, "chunks": [" or black?"]}, f"{path}/{turn}/chunks").is_success
    shows(tab, "window.shown", ["Green or black?", "running"])
    assert ada.post("sessions", {}, f"{path}/{turn}/finish").is_success
    shows(tab, "window.shown", ["Green or black?", "done"])
    shows(tab, "said()", ["Green or black?"])
    tab.close()


def test_kill__nothing_lost_nothing_twice(left_alone: Engine, pages: str, line: Line, ada: Person) -> None:
    """Nobody drives it: while somebody does, WebKit keeps nothing on disk."""
    report = f"{line.url}/report"
    session = None
    words: list[str] = []
    for n in range(2):
        new = [f"{n} a", f"{n} b"]
        app = App(pages, line, ada, session, debounce=600_000, maxWait=600_000, says=new, report=report)
        session = app.session
        words += new
        left_alone.begin(app.url)
        until(partial(reported, line, words))
        left_alone.kill()
        assert n or not app.stored()  # it was in the journal only
    app = App(pages, line, ada, session)
    left_alone.begin(app.url)
    app.wait_until_stored(words)
