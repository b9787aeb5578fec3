"""The journal of a browser, in Chromium: what was written is there after a crash, and nothing else is obeyed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.web.chromium.browser import Chromium, renderer_of, stopped

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

SESSION = "01900000-0000-7000-8000-000000000001"


def opened(context: BrowserContext, pages: str) -> Page:
    page = context.new_page()
    page.goto(f"{pages}/journal.html")
    page.wait_for_function("window.journal")
    return page


def run(page: Page, script: str, **arguments: Any) -> Any:
    return page.evaluate(
        f"async ({{ session, {', '.join(arguments)} }}) => {{ {script} }}", {"session": SESSION, **arguments}
    )


def test_load__nothing_written(context: BrowserContext, pages: str) -> None:
    page = opened(context, pages)
    assert run(page, "return journal.load(session)") is None
    assert run(page, "return journal.health()") == "ok"


def test_write__killed_browser_reads_it_again(chromium: Chromium, pages: str) -> None:
    page = opened(chromium.context, pages)
    state = {
        "messages": [{"n": n} for n in range(250)],
        "memory": {"list": list(range(101)), "short": [1]},
        "a": None,
    }
    pending = {"append": {"/messages": ["last words"]}}
    assert run(
        page,
        "return journal.write(record(session, state, { number: 7, pending, sending: { key: 'k', changes: { set: { '/a': 1 } } } }))",
        state=state,
        pending=pending,
    )
    chromium.kill()
    chromium.start()
    page = opened(chromium.context, pages)
    record = run(page, "return journal.load(session)")
    assert record["base"] == state
    assert (record["number"], record["pending"], record["next"]) == (7, pending, "next")
    assert record["sending"] == {"key": "k", "changes": {"set": {"/a": 1}}}


def test_write__only_pieces_that_changed(context: BrowserContext, pages: str) -> None:
    page = opened(context, pages)
    written = run(
        page,
        """
        const base = { messages: messages(1000), step: 1 };
        await journal.write(record(session, base));
        const puts = [];
        const put = IDBObjectStore.prototype.put;
        IDBObjectStore.prototype.put = function (value, key) { puts.push(key); return put.call(this, value, key); };
        const next = { ...base, messages: [...base.messages] };
        next.messages[555] = "changed";
        next.messages.push("new");
        await journal.write(record(session, next, { number: 2 }));
        IDBObjectStore.prototype.put = put;
        return { puts: puts.map((key) => key.slice(2)), same: JSON.stringify((await journal.load(session)).base) === JSON.stringify(next) };
        """,
    )
    assert written["same"]
    assert written["puts"] == [[], ["/messages", 500], ["/messages", 1000], ["", 0]]


@pytest.mark.parametrize(
    "then",
    [
        "base.messages.slice(0, 999)",
        "base.messages.slice(0, 900)",
        "base.messages.slice(0, 150)",
        "[]",
        "undefined",
        "{ '0': 1 }",
    ],
)
def test_write__shorter_list_leaves_nothing_behind(context: BrowserContext, pages: str, then: str) -> None:
    page = opened(context, pages)
    assert run(
        page,
        f"""
        const base = {{ messages: messages(1000) }};
        await journal.write(record(session, base));
        const next = JSON.parse(JSON.stringify({{ messages: {then} }}));
        await journal.write(record(session, next, {{ number: 2 }}));
        return JSON.stringify((await journal.load(session)).base) === JSON.stringify(next);
        """,
    )


def test_write__any_key(context: BrowserContext, pages: str) -> None:
    page = opened(context, pages)
    assert run(
        page,
        """
        const base = JSON.parse('{"__proto__": {"a/b~": []}, "": [], "a": {"constructor": []}}');
        for (const list of [base["__proto__"]["a/b~"], base[""], base.a.constructor]) list.push(...messages(150));
        await journal.write(record(session, base));
        const read = (await journal.load(session)).base;
        return Object.keys(read).length === 3 && JSON.stringify(read) === JSON.stringify(base);
        """,
    )


@pytest.mark.parametrize(
    "damage",
    [
        "parts.delete([session, client, '/messages', 100])",
        "parts.delete([session, client, '', 0])",
        "parts.put(['/messages', 'no list'], [session, client, '/messages', 0])",
        "parts.put(['/nowhere', [1]], [session, client, '/nowhere', 0])",
        "parts.put('junk', [session, client, '', 0])",
        "records.put('junk', [session, client])",
        "records.put({ ...record(session, {}), number: 'seven' }, [session, client])",
        "records.put({ ...record(session, {}), pending: 'junk' }, [session, client])",
        "records.put({ ...record(session, {}), sending: { key: 'k', changes: { set: 1 } } }, [session, client])",
    ],
)
def test_load__damaged_record_is_set_aside_and_said(context: BrowserContext, pages: str, damage: str) -> None:
    page = opened(context, pages)
    read = run(
        page,
        f"""
        await journal.write(record(session, {{ messages: messages(250) }}, {{ pending: {{ set: {{ "/a": "words" }} }} }}));
        const database = await new Promise((ok) => {{ const r = indexedDB.open("asyouwere test"); r.onsuccess = () => ok(r.result); }});
        const transaction = database.transaction(["records", "parts"], "readwrite");
        const [records, parts] = [transaction.objectStore("records"), transaction.objectStore("parts")];
        {damage};
        await new Promise((ok) => transaction.oncomplete = ok);
        const first = await journal.load(session);
        const second = await journal.load(session);
        const aside = await new Promise((ok) => {{
            const r = database.transaction("records").objectStore("records").getAll(IDBKeyRange.upperBound(Infinity)); r.onsuccess = () => ok(r.result); }});
        database.close();
        await journal.write(record(session, {{ a: 1 }}, {{ number: 8 }}));
        return {{ first, second, aside, told, after: await journal.load(session) }};
        """,
    )
    assert read["first"] is None
    assert read["second"] is None
    assert len(read["aside"]) == 1
    assert [one["code"] for one in read["told"]] == ["journal_damaged"]
    assert (read["after"]["number"], read["after"]["base"]) == (8, {"a": 1})


def test_write__database_deleted_under_the_page(context: BrowserContext, pages: str) -> None:
    page = opened(context, pages)
    read = run(
        page,
        """
        const base = { messages: messages(250) };
        await journal.write(record(session, base));
        await new Promise((ok, no) => { const r = indexedDB.deleteDatabase("asyouwere test"); r.onsuccess = ok; r.onerror = r.onblocked = no; });
        const kept = await journal.write(record(session, base, { number: 2, pending: { set: { "/a": 1 } } }));
        return { kept, record: await journal.load(session), health: journal.health(), told };
        """,
    )
    assert read["kept"]
    assert (read["record"]["number"], read["record"]["pending"]) == (2, {"set": {"/a": 1}})
    assert len(read["record"]["base"]["messages"]) == 250
    assert (read["health"], read["told"]) == ("ok", [])


def test_write__stores_missing_are_made_anew(context: BrowserContext, pages: str) -> None:
    page = opened(context, pages)
    page.evaluate(
        """() => new Promise((ok) => { const r = indexedDB.open("asyouwere test", 3);
            r.onupgradeneeded = () => r.result.createObjectStore("records"); r.onsuccess = () => { r.result.close(); ok(); }; })"""
    )
    assert run(page, "await journal.write(record(session, { a: 1 })); return (await journal.load(session)).base") == {
        "a": 1
    }


def quota(context: BrowserContext, page: Page, size: int | None) -> None:
    """What the origin may store; to be set before it stores anything, since Chromium looks now and then only."""
    changes = {"origin": page.evaluate("origin"), **({"quotaSize": size} if size else {})}
    context.new_cdp_session(page).send("Storage.overrideQuotaForOrigin", changes)


def test_write__full_store_is_said_and_well_again(context: BrowserContext, pages: str) -> None:
    page = opened(context, pages)
    quota(context, page, 500_000)
    run(page, "await journal.write(record(session, { a: 1 }))")
    run(page, "await journal.write(record(session, { a: noise(3e6) }, { number: 2 }))")
    assert run(page, "return journal.health()") == "full"
    assert run(page, "return (await journal.load(session)).number") == 1
    run(page, "await journal.write(record(session, { a: 2 }, { number: 3 }))")
    assert run(page, "return [journal.health(), (await journal.load(session)).base]") == ["ok", {"a": 2}]
    assert run(page, "return told.map((one) => one.health)") == ["full", "ok"]


def test_write__full_store_gives_up_copies_but_no_words(context: BrowserContext, pages: str) -> None:
    page = opened(context, pages)
    quota(context, page, 5_000_000)
    kept = run(
        page,
        """
        await journal.write(record("copy", { a: noise(3e6) }, { client: "another" }));
        await journal.write(record("words", { a: 1 }, { pending: { set: { "/a": 2 } } }));
        const before = !!await journal.load("copy");
        // when there is room again is Chromium's affair: what was deleted counts until it has tidied up
        await journal.write(record(session, { a: noise(3e6) }));
        return [before, !!await journal.load("copy"), (await journal.load("words")).pending];
        """,
    )
    assert kept == [True, False, {"set": {"/a": 2}}]


def test_adopt__closed_tab(context: BrowserContext, pages: str) -> None:
    here, there = opened(context, pages), opened(context, pages)
    run(there, "await journal.write(record(session, { a: 1 }, { pending: { set: { '/a': 'theirs' } } }))")
    assert run(here, "return adopt(session)") == []
    there.close()
    here.wait_for_function("later.length")
    taken = run(here, "return later")
    assert [one["pending"] for one in taken] == [{"set": {"/a": "theirs"}}]
    assert run(here, "return journal.write(record(session, { a: 1 }, { pending: later[0].pending }), [later[0]])")
    assert run(here, "return (await journal.load(session)).client === client")


def test_adopt__tab_that_begins_to_write_later(context: BrowserContext, pages: str) -> None:
    here, there = opened(context, pages), opened(context, pages)
    assert run(here, "return adopt(session)") == []
    run(there, "await journal.write(record(session, { a: 1 }, { pending: { set: { '/a': 'theirs' } } }))")
    there.close()
    here.wait_for_function("later.length")


def test_adopt__after_a_kill_once_only(chromium: Chromium, pages: str) -> None:
    page = opened(chromium.context, pages)
    run(page, "await journal.write(record(session, { a: 1 }, { pending: { set: { '/a': 'theirs' } } }))")
    chromium.kill()
    chromium.start()
    first, second = opened(chromium.context, pages), opened(chromium.context, pages)
    assert len(run(first, "return adopt(session)")) == 1
    assert run(second, "return adopt(session)") == []
    # it goes without having written it: the next one has it
    first.close()
    second.wait_for_function("later.length")


def test_adopt__nothing_waiting(context: BrowserContext, pages: str) -> None:
    here, there = opened(context, pages), opened(context, pages)
    run(there, "await journal.write(record(session, { a: 1 }))")
    there.close()
    assert run(here, "return adopt(session)") == []
    assert run(here, "return (await journal.load(session)).base") == {"a": 1}


def test_adopt__frozen_tab_is_robbed_and_told(chromium: Chromium, pages: str) -> None:
    here, there = opened(chromium.context, pages), opened(chromium.context, pages)
    run(there, "await journal.write(record(session, { a: 1 }, { pending: { set: { '/a': 'theirs' } } }))")
    assert run(here, "return adopt(session)") == []
    process = renderer_of(chromium, there)
    here.bring_to_front()
    with stopped(process):
        here.wait_for_function("later.length", timeout=40_000)
    # awake before the other has written a word of it: it is the other's all the same
    again = "return journal.write(record(session, { a: 1 }, { pending: { set: { '/a': 'again' } } }))"
    assert not run(there, again)
    assert run(here, "return journal.write(record(session, { a: 1 }, { pending: later[0].pending }), [later[0]])")
    assert not run(there, again)
    # as another client it goes on
    assert run(
        there, "return journal.write(record(session, { a: 1 }, { client: 'new', pending: { set: { '/a': 'new' } } }))"
    )
    there.close()
    here.wait_for_function("later.length === 2")
    assert run(here, "return later.map((one) => one.pending.set['/a'])") == ["theirs", "new"]


def test_adopt__finished_in_the_name_of_the_one_that_is_gone(chromium: Chromium, pages: str) -> None:
    here, there = opened(chromium.context, pages), opened(chromium.context, pages)
    run(there, "await journal.write(record(session, { a: 1 }, { pending: { set: { '/a': 'theirs' } } }))")
    there.close()
    (orphan,) = run(here, "return adopt(session)")
    assert run(
        here,
        "return journal.write({ ...orphan, number: 2, sending: { key: 'k', changes: {} }, pending: null })",
        orphan=orphan,
    )
    assert run(here, "return (await journal.load(session)).sending.key") == "k"
    assert run(here, "return journal.write({ ...orphan, number: 3, pending: null })", orphan=orphan)
    assert run(here, "return journal.load(session)") is None
    # it holds nothing of it any more
    locks = here.evaluate("async () => (await navigator.locks.query()).held.map((lock) => lock.name)")
    assert not [name for name in locks if orphan["client"] in name]


def test_write__two_tabs_at_once_keep_their_own(context: BrowserContext, pages: str) -> None:
    here, there = opened(context, pages), opened(context, pages)
    for page, words in ((here, "here"), (there, "there")):
        run(
            page,
            "window.end = (async () => { for (let n = 1; n <= 50; n++) await journal.write(record(session, { n }, { number: n, pending: { set: { '/w': words + n } } })) })()",
            words=words,
        )
    for page in (here, there):
        page.evaluate("() => window.end")
    read = page.evaluate(
        """() => new Promise((ok) => { const r = indexedDB.open("asyouwere test"); r.onsuccess = () => {
            const all = r.result.transaction("records").objectStore("records").getAll(); all.onsuccess = () => { r.result.close(); ok(all.result); } } })"""
    )
    assert sorted(row["pending"]["set"]["/w"] for row in read) == ["here50", "there50"]


def test_get__two_tabs_at_once_where_there_is_none(context: BrowserContext, pages: str) -> None:
    here, other = opened(context, pages), opened(context, pages)
    script = "window.got = Promise.all(Array.from({ length: 50 }, (_, n) => journal.get(`key ${n}`, mine)))"
    for tab, mine in ((here, "a"), (other, "b")):
        tab.evaluate(f"(mine) => {{ {script} }}", mine)
    assert here.evaluate("got") == other.evaluate("got")


def test_get_and_put__small_values(context: BrowserContext, pages: str) -> None:
    page = opened(context, pages)
    assert run(page, "return await journal.get('draft') === undefined")
    run(page, "await journal.put('draft', { text: 'words' })")
    assert run(page, "return journal.get('draft')") == {"text": "words"}
    run(page, "await journal.put('draft', undefined)")
    assert run(page, "return await journal.get('draft') === undefined")


def test_clear__nothing_is_left(context: BrowserContext, pages: str) -> None:
    page = opened(context, pages)
    run(page, "await journal.write(record(session, { a: 1 })); await journal.put('draft', 1); await journal.clear()")
    assert run(page, "return [await journal.load(session), await journal.get('draft') ?? null]") == [None, None]


def test_journal__no_answer_from_the_store(context: BrowserContext, pages: str) -> None:
    page = opened(context, pages)
    read = run(
        page,
        """
        const open = IDBFactory.prototype.open;
        IDBFactory.prototype.open = () => ({});
        const loaded = await journal.load(session);
        IDBFactory.prototype.open = open;
        return { loaded, health: journal.health() };
        """,
    )
    assert read == {"loaded": None, "health": "off"}


@pytest.mark.parametrize("damage", ["cut", "junk"])
def test_journal__store_damaged_on_disk(chromium: Chromium, pages: str, damage: str) -> None:
    page = opened(chromium.context, pages)
    run(page, "await journal.write(record(session, { messages: messages(1000) }))")
    chromium.kill()
    files = [path for path in (chromium.folder / "Default" / "IndexedDB").rglob("*") if path.is_file()]
    assert files
    for path in files:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else bytes(len(data)))
    chromium.start()
    page = opened(chromium.context, pages)
    run(page, "await journal.load(session); await journal.write(record(session, { a: 1 }, { number: 9 }))")
    assert run(page, "return [journal.health(), (await journal.load(session)).base]") == ["ok", {"a": 1}]
