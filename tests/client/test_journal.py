"""What was handed over and not answered: kept on disk, sent once, whatever happens to the network and the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from asyouwere.client.errors import Unreachable
from asyouwere.client.journal import Journal
from asyouwere.client.journal_file import default_folder, journal_file
from asyouwere.client.record import Record
from asyouwere.client.replica import Replica
from asyouwere.client.session import Session
from asyouwere.client.sync import tree_of_text
from asyouwere.client.transport import Saved
from asyouwere.errors import AsYouWereError, Invalid
from asyouwere.state.tree import render
from tests.client.conftest import Place, until

pytestmark = pytest.mark.anyio


class Network(httpx.AsyncHTTPTransport):
    """A network that can be cut before a request arrives, or before its answer does."""

    def __init__(self) -> None:
        super().__init__()
        self.cut: Callable[[httpx.Request], str | None] = lambda request: None
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        way = self.cut(request)
        if way == "before":
            raise httpx.ConnectError("cut")
        response = await super().handle_async_request(request)
        if way == "after":
            await response.aread()
            raise httpx.ReadError("cut")
        return response

    def saves(self) -> list[bytes]:
        return [request.content for request in self.requests if request.url.path.endswith("-save")]


@pytest.fixture
def network() -> Network:
    return Network()


def is_save(way: str) -> Callable[[httpx.Request], str | None]:
    return lambda request: way if request.url.path.endswith("-save") else None


async def test_save_now__lost_answers_are_asked_again_with_the_same_key(home: Place, network: Network) -> None:
    async with httpx.AsyncClient(transport=network) as http, home.open(http=http) as session:
        network.cut = is_save("after")
        session.append("one")
        with pytest.raises(Unreachable):
            await session.save_now()
        session.append("two")
        status = session.status
        assert status.offline
        assert status.error == "unreachable"
        assert status.waiting.changes == 3  # the list and two items
        assert status.waiting.bytes > 20
        async with home.open(journal=False) as other:
            other.append("theirs")
            await other.save_now()
        network.cut = lambda request: None
        await session.save_now()
        assert session.state["messages"] == ["one", "theirs", "two"]
        first, second, third = network.saves()
        assert first == second != third
        assert not session.status.offline
        assert session.statistics.reconnects == 1


async def test_background__goes_on_by_itself_when_the_network_is_back(home: Place, network: Network) -> None:
    heard: list[str] = []
    async with (
        httpx.AsyncClient(transport=network) as http,
        home.open(http=http, debounce=0.01, poll=0.05) as session,
    ):
        session.on("*", lambda event: heard.append(event.name))
        network.cut = lambda request: "before"
        session.state["step"] = 1
        await until(lambda: "reconnecting" in heard)
        network.cut = lambda request: None
        await until(lambda: "saved" in heard)
        async with home.open(journal=False) as other:
            other.state["theirs"] = 1
            await other.save_now()
        await until(lambda: "theirs" in session.state)
    assert heard.index("reconnecting") < heard.index("reconnected") <= heard.index("saved")


async def test_close__offline_leaves_it_to_the_next(home: Place, network: Network) -> None:
    async with httpx.AsyncClient(transport=network) as http:
        async with home.open(http=http) as session:
            session.append("saved")
            await session.save_now()
            network.cut = lambda request: "before"
            session.append("waiting")
            session.state["step"] = 1
        async with home.open(http=http) as session:  # still offline: from the journal
            assert session.state == {"messages": ["saved", "waiting"], "step": 1}
            assert session.status.offline
            assert not session.status.is_restored
            session.append("more")
        network.cut = lambda request: None
        async with home.open(http=http) as session:
            assert session.state == {"messages": ["saved", "waiting", "more"], "step": 1}
    async with home.open(journal=False) as session:
        assert session.state == {"messages": ["saved", "waiting", "more"], "step": 1}


async def test_open__offline_and_never_seen(home: Place, network: Network) -> None:
    network.cut = lambda request: "before"
    async with httpx.AsyncClient(transport=network) as http:
        with pytest.raises(Unreachable):
            async with home.open(http=http):
                pass


async def test_close__under_way_is_sent_once_by_the_next(home: Place, network: Network) -> None:
    async with httpx.AsyncClient(transport=network) as http:
        async with home.open(http=http) as session:
            network.cut = is_save("after")  # it arrives, and nobody hears of it
            session.append("one")
        network.cut = lambda request: None
        async with home.open(http=http) as session:
            session.append("two")
            await session.save_now()
            assert session.state["messages"] == ["one", "two"]
            assert session.number == 2


async def test_open__several_records_are_all_sent(home: Place, network: Network) -> None:
    async with httpx.AsyncClient(transport=network) as http:
        async with home.open(http=http) as one, home.open(http=http) as two:
            network.cut = lambda request: "before"
            one.append("one")
            two.append("two")
        network.cut = lambda request: None
        async with home.open(http=http) as session:
            with anyio.fail_after(20):
                while len(session.state.get("messages", ())) < 2:
                    await anyio.sleep(0.05)
                    await session.refresh()
            assert sorted(session.state["messages"]) == ["one", "two"]
    async with home.open(journal=False) as session:
        assert sorted(session.state["messages"]) == ["one", "two"]


async def test_refused__goes_back_and_is_told(home: Place) -> None:
    heard: list[Any] = []
    async with home.open(debounce=0.01) as session:
        session.on("error", lambda event: heard.append(event.data["code"]))
        session.state["k" * 3000] = 1
        with pytest.raises(Invalid) as refused:
            await session.save_now()
        assert refused.value.code == "address_too_long"
        await anyio.sleep(0.3)
        assert heard.count("address_too_long") <= 2  # not again and again
        assert session.status.error == "address_too_long"
        assert session.status.waiting.changes
        del session.state["k" * 3000]
        session.append("fine")
        await session.save_now()
        assert session.status.error is None


async def test_conflict__mine_stands_and_the_app_is_told(place: Place) -> None:
    heard: list[Any] = []
    async with place.open() as one, place.open() as two, place.open(resolve=lambda doubt: "theirs") as three:
        one.state["topic"] = "tea"
        await one.save_now()
        await two.refresh()
        await three.refresh()
        two.on("conflict", lambda event: heard.append(event.data["doubts"]))
        one.state["topic"] = "rain"
        two.state["topic"] = "snow"
        three.state["topic"] = "fog"
        await one.save_now()
        await two.save_now()
        assert two.state["topic"] == "snow"
        assert heard == [[{"address": "/topic", "base": "tea", "mine": "snow", "theirs": "rain"}]]
        await three.save_now()
        assert three.state["topic"] == "snow"


class Echoing(Network):
    """A line that brings a refused save once more; ``meanwhile``: what happens before that."""

    def __init__(self, meanwhile: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.meanwhile = meanwhile
        self.copies: list[httpx.Response] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        response = await super().handle_async_request(request)
        if response.status_code == 409 and not self.copies:
            await self.meanwhile()
            async with httpx.AsyncClient() as line:
                copy = httpx.Request("POST", request.url, headers=request.headers, content=content)
                self.copies.append(await line.send(copy))
        return response


async def test_conflict__a_late_copy_of_the_refused_save_counts_once(home: Place, network: Network) -> None:
    async with httpx.AsyncClient(transport=network) as http, home.open(http=http) as session:
        await in_conflict(home, session)
        await session.save_now()
        session.append("later")
        await session.save_now()
        refused = next(request for request in network.requests if b'"once"' in request.content)
        async with httpx.AsyncClient() as line:  # it would be in nobody's way by now
            copy = httpx.Request("POST", refused.url, headers=refused.headers, content=refused.content)
            assert (await line.send(copy)).status_code == 409
        await session.refresh()
        assert session.state == {"topic": "snow", "messages": ["once", "later"]}


async def test_conflict__a_copy_that_is_saved_before_it_is_made_anew_counts_once(home: Place) -> None:
    async def taken_back() -> None:
        async with home.open(journal=False) as other:
            other.state["topic"] = "tea"
            await other.save_now()

    network = Echoing(taken_back)
    async with httpx.AsyncClient(transport=network) as http, home.open(http=http) as session:
        await in_conflict(home, session)
        await session.save_now()
        assert [copy.status_code for copy in network.copies] == [200]
        await session.refresh()
        assert session.state == {"topic": "snow", "messages": ["once"]}


async def in_conflict(home: Place, session: Session) -> None:
    """The session's next save will be refused: it sets what somebody else has set, and appends."""
    session.state["topic"] = "tea"
    await session.save_now()
    async with home.open(journal=False) as other:
        other.state["topic"] = "rain"
        await other.save_now()
    session.state["topic"] = "snow"
    session.append("once")


async def test_autosave__debounce_and_max_wait(home: Place) -> None:
    async with home.open(debounce=0.3, max_wait=1.0) as session:
        started = anyio.current_time()
        while session.status.save_count == 0:
            session.state["n"] = session.state.get("n", 0) + 1
            await anyio.sleep(0.05)
            assert anyio.current_time() - started < 20
        assert session.state["n"] > 3  # not before max_wait, although it never was quiet
        session.state["n"] = -1
        while session.status.waiting.changes:
            await anyio.sleep(0.05)
            assert anyio.current_time() - started < 40


# -- tokens --------------------------------------------------------------------------------------------------------


async def test_token__from_a_callback_once_more_after_a_401(home: Place, network: Network) -> None:
    good, asked = str(home.options["token"]), []

    async def token() -> str:
        asked.append(1)
        return good if len(asked) != 1 else good[:-8] + "AAAAAAAA"

    async with httpx.AsyncClient(transport=network) as http, home.open(http=http, token=token) as session:
        assert len(asked) == 2
        session.append("x")
        await session.save_now()
        assert len(asked) == 2
        assert 3000 < session.statistics.token_seconds < 3700
        assert session.statistics.messages == 1


async def test_token__that_ends_is_renewed_before(home: Place) -> None:
    from tests.functions.api import token_for

    asked: list[int] = []

    def token() -> str:
        import time

        asked.append(1)
        return token_for(home.user_id, exp=int(time.time()) + (30 if len(asked) == 1 else 3600))

    async with home.open(token=token):
        assert len(asked) >= 2


async def test_token__that_is_refused(home: Place) -> None:
    with pytest.raises(AsYouWereError) as refused:
        async with home.open(token=home.options["token"][:-8] + "AAAAAAAA"):
            pass
    assert refused.value.code == "invalid_token"


# -- the file ------------------------------------------------------------------------------------------------------


def replica_of(base: str, local: str | None = None) -> Replica:
    tree = tree_of_text(base)
    return Replica(1, tree, tree if local is None else tree_of_text(local))


def reopened(path: Path) -> list[Any]:
    return Journal(path).adopt("s")


def close(record: Record) -> None:
    record.journal._file.db.execute("update record set process = null")  # type: ignore[union-attr]


async def test_record__is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite3"
    journal = Journal(path)
    replica = replica_of('{"messages":["a","b"],"step":1.50,"o":{"x":1}}')
    record = Record(journal, "s", replica)
    record.answered(1, {}, replica.base, [])
    record.flush()
    assert reopened(path) == []  # its process is there
    replica.local = tree_of_text('{"messages":["a","c","d"],"o":{"y":{}},"l":[]}')
    record.edited([])
    close(record)
    replica.sending = None
    (found,) = reopened(path)
    assert found.replica.base == replica.base
    record._is_written = False
    record.edited([])
    close(record)
    (found,) = reopened(path)
    assert found.replica.local == replica.local
    sending = replica.compose()
    assert sending is not None
    record.sending(sending)
    replica.local = tree_of_text('{"messages":["a"],"new":"x"}')
    record.edited([("/new/", -1, '"x"')])
    record._is_written = False
    record.edited([])
    close(record)
    (found,) = reopened(path)
    assert found.replica.sending == sending
    assert found.replica.local == replica.local
    replica.folded(2, tree_of_text('{"messages":["z"],"n":1}'))
    record.answered(2, found.replica.base, replica.base, [("/n/", -1, "2")])
    close(record)
    (found,) = reopened(path)  # the save would be asked for again, and is answered again
    assert found.replica.sending == sending
    record.flush()
    close(record)
    (found,) = reopened(path)
    assert (found.replica.number, found.replica.base) == (2, replica.base)
    assert render(found.replica.local) == '{"messages":["z"],"n":2}'


async def test_record__that_can_not_be_read_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite3"
    journal = Journal(path)
    record = Record(journal, "s", replica_of('{"l":["a"]}'))
    record.edited([])
    assert journal._file is not None
    journal._file.db.execute("insert into base values (?, '/nowhere/x/', -1, '1')", (record.client,))
    close(record)
    again = Journal(path)
    assert again.adopt("s") == []
    assert [row["session"] for row in again.set_aside_records()] == ["s"]
    assert again.adopt("s") == []


async def test_record__refused_for_ever_is_set_aside(home: Place, network: Network) -> None:
    heard: list[Any] = []
    async with httpx.AsyncClient(transport=network) as http:
        async with home.open(http=http) as one, home.open(http=http) as two:
            network.cut = lambda request: "before"
            one.state["k" * 3000] = 1
            two.append("two")
        network.cut = lambda request: None
        async with home.open(http=http) as session:
            session.on("error", lambda event: heard.append(event.data["code"]))
            await until(lambda: heard)
            assert heard == ["journal_record"]
    async with home.open(journal=False) as session:
        assert session.state == {"messages": ["two"]}


@pytest.mark.parametrize("trouble", ["a folder", "no database", "another version"])
async def test_journal__that_is_broken_keeps_nobody_from_working(home: Place, trouble: str) -> None:
    async with home.open() as session:
        session.append("x")
    (path,) = home.options["journal"].glob("*.sqlite3")
    for other in home.options["journal"].iterdir():
        if other != path:
            other.unlink()
    if trouble == "another version":
        with sqlite3.connect(path) as db:
            db.execute("pragma user_version = 99")
        db.close()
    else:
        path.unlink()
        if trouble == "a folder":
            path.mkdir()
        else:
            path.write_bytes(b"this is no database" * 1000)
    async with home.open() as session:
        assert session.status.journal == "off"
        session.append("y")
        await session.save_now()
        assert session.state["messages"] == ["x", "y"]


async def test_journal__full_and_then_not(home: Place) -> None:
    async with home.open() as session:
        session.append("x")
        await session.save_now()
        file = session._sync.record.journal._file
        pages = file.db.execute("pragma page_count").fetchone()[0]
        file.db.execute(f"pragma max_page_count = {pages}")
        session.append("y" * 200_000)
        assert session.status.journal == "full"
        await session.save_now()
        assert session.status.journal == "full"
        file.db.execute("pragma max_page_count = 1000000")
        session._sync.record._next_try = 0.0
        session.append("z")
        assert session.status.journal == "ok"
        replica = session._sync.replica
        close(session._sync.record)
        (found,) = Journal(session._sync.record.journal.path).adopt(session.id)
        assert found.replica.base == replica.base
        assert found.replica.local == replica.local


def test_files__are_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = journal_file(default_folder(), "https://example.org", "ada")
    assert path.is_relative_to(tmp_path)
    assert "ada" not in path.name
    assert path != journal_file(default_folder(), "https://example.org", "bob")
    Record(Journal(path), "s", replica_of("{}")).edited([])
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_answer__of_an_old_key_is_looked_up() -> None:
    replica = replica_of('{"l":["a"]}', '{"l":["a","b"]}')
    replica.compose()
    assert replica.accepted(Saved(9, True, True, None)) is None
    assert replica.sending is not None
