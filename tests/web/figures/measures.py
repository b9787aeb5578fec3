"""Each figure of the browser package, measured."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from asyouwere.local.node import find_node
from tests.bench.measurements import Figure, Target, percentile
from tests.web.chromium.bundling import WEB
from tests.web.figures.place import Place

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession, Page

PEERS = Path(__file__).parent / "peers"
LIMITS = {"core": 10_240, "react": 12_288}
ROUNDS = 11


def _spread(group: str, name: str, times: list[float], target: Target | None, detail: str = "") -> Figure:
    """A median in ms with its spread."""
    low, high = percentile(times, 10), percentile(times, 90)
    return Figure(group, name, statistics.median(times), "ms", target, low, high, len(times), detail)


def sizes(_: Place) -> Iterator[Figure]:
    """What an app's page grows by."""
    for script in (WEB / "measure" / "size.mjs", PEERS / "sizes.mjs"):
        told = subprocess.run([find_node().program, str(script)], check=True, capture_output=True, text=True).stdout
        for name, size in json.loads(told).items():
            limit = LIMITS.get(name) if script.parent != PEERS else None
            yield Figure("bytes, gzip", name, size, "B", Target(limit) if limit else None)


def reading(place: Place) -> Iterator[Figure]:
    """The same messages out of IndexedDB, in a page just loaded: we and others in turn."""
    peers = ["asyouwere", "TinyBase", "Dexie", "Yjs"]
    for count, limit in ((100, 10), (1_000, None), (10_000, 100)):
        with place.windows() as context:
            page = context.new_page()
            page.goto(f"{place.pages}/peers/peers.html")
            for name in peers:
                page.evaluate("([name, count]) => write(name, count)", [name, count])
            times: dict[str, list[float]] = {name: [] for name in peers}
            for _ in range(ROUNDS):
                for name in peers:
                    page.reload()
                    times[name].append(page.evaluate("([name, count]) => read(name, count)", [name, count]))
        for name in peers:
            target = Target(limit) if limit and name == "asyouwere" else None
            yield _spread("read from IndexedDB", f"{count:,} messages, {name}", times[name], target)


def painting(place: Place) -> Iterator[Figure]:
    """A session of 1 MB that was open before: what is seen when, and what is asked when."""
    session = place.session(1_000, 200)
    with place.windows() as context:
        place.restored(context, session).close()
        opened, painted, earlier, after = [], [], [], []
        for _ in range(ROUNDS):
            page = place.open(context, session)
            page.wait_for_function("window.times?.().request && times().painted")
            times = page.evaluate("times()")
            opened.append(times["copy"] - times["opened"])
            painted.append(times["painted"])
            earlier.append(times["request"] - times["copy"])
            after.append(times["painted"] - times["copy"])
            page.close()
    yield _spread("open a session of 1 MB again", "from open() to the state", opened, None)
    yield _spread(
        "open a session of 1 MB again",
        "the first request begins after the state is there by",
        earlier,
        Target(0, at_least=True),
    )
    yield _spread("open a session of 1 MB again", "from the state to its first paint", after, None)
    yield _spread("open a session of 1 MB again", "from navigation to the first paint", painted, None)


def comparing(place: Place) -> Iterator[Figure]:
    """1 MB in which one message changed."""
    with place.windows() as context:
        page = context.new_page()
        page.goto(f"{place.pages}/peers/peers.html")
        shared, copied = page.evaluate("compare(200)")
    yield Figure("compare 1 MB, one message changed", "with shared references", shared, "ms", Target(0.5))
    yield Figure("compare 1 MB, one message changed", "without any", copied, "ms", Target(15))


def wire(place: Place) -> Iterator[Figure]:
    """One message into a session of 1 MB."""
    session = place.session(1_000, 200)
    with place.windows() as context:
        page = place.restored(context, session, poll=0)
        protocol = context.new_cdp_session(page)
        received: list[float] = []
        protocol.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
        protocol.send("Network.enable")
        place.line.seen.clear()
        page.evaluate("async () => { say('word '.repeat(30)); await session.saveNow(); }")
        page.wait_for_timeout(500)
        sent = sum(len(seen.body) for seen in place.line.seen)
        requests = sum(seen.method != "OPTIONS" for seen in place.line.seen)
    yield Figure("one message of 150 bytes into 1 MB", "requests, without the preflight", requests, "", None)
    yield Figure("one message of 150 bytes into 1 MB", "sent, bodies", sent, "B", None)
    yield Figure("one message of 150 bytes into 1 MB", "received, with headers", sum(received), "B", None)
    yield Figure("one message of 150 bytes into 1 MB", "both", sent + sum(received), "B", Target(2_048))


def typing(place: Place) -> Iterator[Figure]:
    """Each keystroke is an edit of a session of 10,000 messages, written down as it is made."""
    session = place.session(10_000)
    with place.windows() as context:
        page = place.restored(context, session)
        page.wait_for_timeout(2_000)
        page.evaluate("long.length = 0")
        page.locator("input").focus()
        page.keyboard.type("what is typed while everything is kept " * 3, delay=30)
        page.wait_for_timeout(7_000)  # the save after the last one is in it
        long = page.evaluate("long")
        assert page.evaluate("session.state.draft.length") > 100
        # the observer sees long tasks at all
        page.evaluate("setTimeout(() => { for (const end = performance.now() + 80; performance.now() < end; ); })")
        page.wait_for_function("count => long.length > count", arg=len(long))
    yield Figure("117 keystrokes at 10,000 messages", "tasks over 50 ms", len(long), "", Target(0))
    yield Figure("117 keystrokes at 10,000 messages", "the longest", max(long, default=0), "ms", None)


def _until_shown(page: Page, count: int) -> float:
    page.wait_for_function("count => session.state.messages.length >= count", arg=count, polling=10)
    return float(page.evaluate("arrivals.at(-1)"))


def following(place: Place) -> Iterator[Figure]:
    """How soon a message is seen elsewhere."""
    session = place.session(1_000)
    with place.windows() as context, place.windows() as elsewhere:
        one, other = place.restored(context, session), place.restored(context, session)
        far = place.restored(elsewhere, session)
        count = 1_000
        tabs = []
        for _ in range(30):
            count += 1
            said = one.evaluate("say('across')")
            tabs.append(_until_shown(other, count) - said)
        one.evaluate("session.saveNow()")
        _until_shown(far, count)
        browsers = []
        for _ in range(5):
            count += 1
            one.evaluate("async () => { say('far'); await session.saveNow(); }")
            saved = one.evaluate("performance.timeOrigin + performance.now()")
            browsers.append(_until_shown(far, count) - saved)
    yield _spread("seen elsewhere", "in another tab", tabs, Target(20))
    yield Figure(
        "seen elsewhere",
        "in another browser, after the save, the longest of 5",
        max(browsers) / 1_000,
        "s",
        Target(3.5),
    )


def memory(place: Place, saves: int = 10_000) -> Iterator[Figure]:
    """What a tab holds after many saves."""
    session = place.session(100)

    def held(protocol: CDPSession) -> float:
        for _ in range(3):
            protocol.send("HeapProfiler.collectGarbage")
            time.sleep(0.2)
        return float(protocol.send("Runtime.getHeapUsage")["usedSize"]) / 1e6

    with place.windows() as context:
        page = place.restored(context, session, url=place.functions, poll=0)
        protocol = context.new_cdp_session(page)
        protocol.send("HeapProfiler.enable")
        page.evaluate("save(100)")
        before = held(protocol)
        for _ in range(saves // 100 - 1):
            page.evaluate("save(100)")
        after = held(protocol)
        assert page.evaluate("session.status.saveCount") >= saves
    yield Figure("a tab's memory", "after 100 saves", before, "MB", None)
    yield Figure("a tab's memory", f"after {saves:,} saves", after, "MB", None)
    yield Figure("a tab's memory", "ratio", after / before, "×", Target(1.1))


MEASURES: dict[str, Callable[[Place], Iterator[Figure]]] = {
    "sizes": sizes,
    "reading": reading,
    "painting": painting,
    "comparing": comparing,
    "wire": wire,
    "typing": typing,
    "following": following,
    "memory": memory,
}
