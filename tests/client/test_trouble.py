"""What goes wrong around a client: disks, networks, tokens, threads, forks. Each word is there once, or is refused."""

from __future__ import annotations

import os
import sqlite3
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from asyouwere.client.errors import Closed, SchemaTooNew, Unreachable
from asyouwere.client.journal import Journal
from asyouwere.client.record import Record
from asyouwere.client.replica import Replica
from asyouwere.client.session import Session
from asyouwere.errors import AsYouWereError, Conflicting
from tests.client.conftest import Place, until
from tests.client.test_blocking import run
from tests.functions.api import token_for

pytestmark = pytest.mark.anyio


class Answers(httpx.AsyncHTTPTransport):
    """The network, in which somebody else may answer."""

    def __init__(self) -> None:
        super().__init__()
        self.instead: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
        self.requests = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        return self.instead(request) or await super().handle_async_request(request)


def hotel(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "text/html"}, text="<h1>Room number?</h1>", request=request)


def garbled(request: httpx.Request) -> httpx.Response:
    raise httpx.DecodingError("no gzip", request=request)


def down(request: httpx.Request) -> httpx.Response:
    return httpx.Response(503, headers={"content-type": "text/html"}, text="no upstream", request=request)


@pytest.mark.parametrize("instead", [hotel, garbled, down])
async def test_save__what_somebody_else_answers_is_no_answer(
    home: Place, instead: Callable[[httpx.Request], httpx.Response]
) -> None:
    network = Answers()
    async with httpx.AsyncClient(transport=network) as http:
        async with home.open(http=http, debounce=0.01, poll=0.05) as session:
            network.instead = instead
            session.append("one")
            await until(lambda: session.status.error)
            session.append("two")
            network.instead = lambda request: None
            await until(lambda: session.status.save_count and not session.status.waiting.changes)
            session.append("three")
            network.instead = instead
        async with home.open(http=http) as session:  # opens without the server all the same
            assert session.state == {"messages": ["one", "two", "three"]}
            assert not session.status.is_restored
            network.instead = lambda request: None
    assert home.saved() == {"messages": ["one", "two", "three"]}


async def test_offline__is_told_once_and_asks_seldom(home: Place) -> None:
    network, heard = Answers(), []
    async with (
        httpx.AsyncClient(transport=network) as http,
        home.open(http=http, debounce=0.01, poll=0.01) as session,
    ):
        for name in ("reconnecting", "reconnected"):
            session.on(name, lambda event: heard.append(event.name))

        def cut(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("cut", request=request)

        network.instead, before = cut, network.requests
        session.append("one")
        await until(lambda: session._sync.failures >= 3)
        assert heard == ["reconnecting"]
        assert network.requests - before <= 5  # each later than the one before, whatever the poll
        assert session.status.offline
        with pytest.raises(Unreachable):
            await session.refresh()
        network.instead = lambda request: None
        await session.refresh()
        assert heard == ["reconnecting", "reconnected"]
        assert not session.status.waiting.changes


async def test_open__by_id_and_offline_only_what_was_open_here_before(home: Place) -> None:
    network = Answers()
    async with home.open() as session:
        session.append("one")
    async with httpx.AsyncClient(transport=network) as http:
        network.instead = down
        async with home.open(http=http, key=None, session=session.id) as again:
            assert again.state == {"messages": ["one"]}
        with pytest.raises(AsYouWereError) as refused:
            async with home.open(http=http, key=None, session=session.id, journal=home.options["journal"] / "new"):
                pass
        assert refused.value.code == "database_unavailable"


async def test_token__a_callback_that_fails_is_asked_again(home: Place) -> None:
    trouble: list[Exception] = []

    async def token() -> str:
        if trouble:
            raise trouble[0]
        return token_for(home.user_id, exp=1)  # another one for each request

    good = home.options["token"]

    def renewed() -> str:
        if trouble:
            raise trouble[0]
        return str(good)

    async with home.open(token=renewed, debounce=0.01) as session:
        session._tokens._ends = 0.0  # type: ignore[union-attr]
        trouble.append(KeyError("refresh_token"))
        session.append("one")
        await until(lambda: session.status.error == "unreachable")
        with pytest.raises(Unreachable, match="callback raised KeyError"):
            await session.save_now()
        trouble.clear()
        await until(lambda: session.status.save_count)
    trouble.append(OSError("away"))
    with pytest.raises(Unreachable, match="callback raised OSError"):
        async with home.open(token=token):
            pass
    assert home.saved() == {"messages": ["one"]}


# -- the journal ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_under_way", [False, True])
@pytest.mark.parametrize("more", [(), ("three",)])
@pytest.mark.parametrize("is_online", [True, False])
async def test_journal__that_is_behind_doubles_and_loses_nothing(
    home: Place, is_under_way: bool, more: tuple[str, ...], is_online: bool
) -> None:
    """The disk is full from here on, or the power cut takes the last moments: what was pending then has arrived."""
    network = Answers()
    async with httpx.AsyncClient(transport=network) as http:
        async with home.open(http=http) as session:
            session.append("one")
            session.state["step"] = 1
            if is_under_way:
                network.instead = down
                with pytest.raises(AsYouWereError):
                    await session.save_now()
                network.instead = lambda request: None
            else:
                await session.save_now()
            session.append("two")  # the last that is written
            session.state["step"] = 2
            session._sync.look()
            record = session._sync.record
            record.journal.safely = lambda work: False  # type: ignore[method-assign]
            for message in more:
                session.append(message)
            await session.save_now()
            session.append("four")
            session.state["step"] = 4
            await session.save_now()
            killed(session)
        heard: list[str] = []
        network.instead = (lambda request: None) if is_online else down
        async with home.open(http=http) as session:
            session.on("conflict", lambda event: heard.append(event.name))
            session.append("later")
            network.instead = lambda request: None
            await session.save_now()
            assert session.state == {"messages": ["one", "two", *more, "four", "later"], "step": 4}
            assert heard == []
    assert home.saved() == session.state


def killed(session: Session) -> None:
    """As by SIGKILL, as far as the journal is concerned."""
    record = session._sync.record
    assert record.journal.path is not None
    with sqlite3.connect(record.journal.path) as db:
        db.execute("update record set process = null where client = ?", (record.client,))
    db.close()
    record.close = lambda: None  # type: ignore[method-assign]


async def test_journal__of_the_format_before_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite3"
    record = Record(Journal(path), "s", Replica())
    record.replica.local = {"a": "1"}
    record.edited([("/a/", -1, "1")])
    with sqlite3.connect(path) as db:
        db.execute("update record set process = null")
        db.execute("alter table record drop column next_key")
        db.execute("pragma user_version = 1")
    db.close()
    record.journal.close()
    (found,) = Journal(path).adopt("s")
    assert found.replica.local == {"a": "1"}
    again = Record(Journal(path), "s", found.replica, found.client)
    again.edited([("/b/", -1, "2")])
    assert again.journal.health == "ok"


async def test_journal__of_a_folder_with_two_names_is_one(
    home: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is open in this process is not taken for a dead one's, however the folder is spelled."""
    (tmp_path / "journal").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "journal")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    async with home.open() as session:
        session.append("one")
        for name in ("journal", "./link", "~/journal"):
            async with home.open(journal=name) as other:
                assert other.state == {}
        os.link(session._sync.record.journal.path, tmp_path / "hard.sqlite3")  # type: ignore[arg-type]
        assert Journal(session._sync.record.journal.path).adopt(session.id) == []
    assert home.saved() == {"messages": ["one"]}
    assert not (tmp_path / "~").exists()


async def test_close__what_is_changed_during_the_last_save_is_for_the_next(home: Place) -> None:
    session: Session

    def late(request: httpx.Request) -> None:
        if request.url.path.endswith("-save") and "late" not in session.state:
            session.state["late"] = 1

    network = Answers()
    network.instead = late
    async with httpx.AsyncClient(transport=network) as http, home.open(http=http) as session:
        session.append("one")
    assert "late" not in home.saved()
    async with home.open() as session:
        assert session.state == {"messages": ["one"], "late": 1}


# -- changes that nobody would save --------------------------------------------------------------------------------


async def test_state__of_a_closed_session_takes_nothing_more(home: Place) -> None:
    async with home.open() as session:
        messages = session.state.setdefault("messages", [])
        messages.append("one")
    changes: list[Callable[[], Any]] = [
        lambda: messages.append("two"),
        lambda: session.state.update(x=1),
        lambda: session.state.pop("messages"),
        lambda: session.append("two"),
    ]
    for change in changes:
        with pytest.raises(Closed):
            change()
    assert session.state == {"messages": ["one"]} == home.saved()


async def test_state__of_a_newer_version_takes_nothing(home: Place) -> None:
    async with home.open(version=3) as session:
        session.append("one")
    async with home.open(version=2) as session:
        with pytest.raises(SchemaTooNew):
            session.state["messages"].append("two")
        async with home.open(version=3) as newer:
            newer.append("three")
            await newer.save_now()
        await session.refresh()
        assert session.state["messages"] == ["one", "three"]
    async with home.open(version=3) as session:
        assert session.state["messages"] == ["one", "three"]


async def test_turn__is_written_to_in_its_block_alone(home: Place) -> None:
    async with home.open() as session:
        turn = session.turn()
        with pytest.raises(RuntimeError, match="in its block"):
            await turn.write("too early")
        async with turn:
            await turn.write("in time")
        with pytest.raises(Conflicting) as refused:
            await turn.write("too late")
        assert refused.value.code == "turn_over"
        assert session.context() == [{"role": "assistant", "content": "in time"}]


async def test_turn__that_nobody_answers_for_is_not_said_to_be_saved(
    home: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyouwere.client.turns._PATIENCE_SECONDS", 0.5)
    network = Answers()
    async with httpx.AsyncClient(transport=network) as http, home.open(http=http) as session:
        slow = anyio.Event()

        async def never(*_: Any) -> Any:
            await slow.wait()

        turn = await session.turn().__aenter__()
        await turn.write("Hello")
        monkeypatch.setattr(session._transport, "finish_turn", never)
        with pytest.raises(Unreachable, match="not saved"):
            await turn.__aexit__(None, None, None)
        monkeypatch.undo()
    async with home.open() as session:
        await until(lambda: session.state.get("messages"))
        assert session.context() == [{"role": "assistant", "content": "Hello", "status": "failed"}]


# -- threads and forks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["folded", "caught_up"])
def test_thread__what_it_changes_while_an_answer_is_folded_in_stays(
    home: Place, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The app's thread changes the state between what is looked at and what is shown."""
    original = getattr(Replica, what)
    threads: list[threading.Thread] = []

    def fold(self: Replica, number: int, theirs: Any) -> Any:
        if not threads:
            threads.append(threading.Thread(target=session.state["messages"].append, args=("mine",)))
            threads[0].start()
            threads[0].join(0.2)  # it has to wait, or is done
        return original(self, number, theirs)

    with home.open() as session, home.open(journal=False) as other:
        session.append("first")
        session.save_now()
        other.refresh()
        other.append("theirs")
        other.save_now()
        monkeypatch.setattr(Replica, what, fold)
        if what == "folded":
            session.state["step"] = 1
            session.save_now()
        else:
            session.refresh()
        threads[0].join()
        assert session.state["messages"] == ["first", "theirs", "mine"]
        session.save_now()
    assert home.saved()["messages"] == ["first", "theirs", "mine"]


FORKED = """
session = asyouwere.open(**options).start()
session.append("before")
turn = session.turn().__enter__()
child = os.fork()
if child == 0:
    told = []
    for change in (
        lambda: session.append("lost"),
        lambda: session.state["messages"].append("lost"),
        lambda: session.save_now(),
        lambda: turn.write("lost"),
        lambda: session.status,
    ):
        try:
            change()
        except asyouwere.AsYouWereError as exc:
            told.append(exc.code)
    print(told, flush=True)
    with asyouwere.open(**options) as again:
        again.append("from the child")
        print(again.state["messages"], again.status.journal, flush=True)
    sys.exit()
print(os.waitpid(child, 0)[1], flush=True)
turn.write("Hello")
turn.__exit__(None, None, None)
session.append("after")
session.close()
"""


def test_fork__the_child_is_told_and_opens_it_again(home: Place) -> None:
    process = run(home, FORKED)
    out, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors, errors  # Python itself warns of forks where there are threads
    assert out.splitlines() == [str(["closed"] * 5), "['before', 'from the child'] ok", "0"]
    assert home.saved()["messages"] == [
        "before",
        "from the child",
        {"role": "assistant", "content": "Hello"},
        "after",
    ]


# -- answers -------------------------------------------------------------------------------------------------------


async def test_turn__while_nobody_answers_what_is_written_waits(home: Place) -> None:
    """However fast it is written: the app's loop over a model's stream goes on."""
    network = Answers()

    def cut(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/chunks"):
            raise httpx.ConnectError("cut", request=request)
        return None

    pieces = [f"{number} ".ljust(3_000, ".") for number in range(20)] + ["\x01" * 100_000, "é" * 300_000]
    async with httpx.AsyncClient(transport=network) as http, home.open(http=http) as session:
        async with session.turn(flush=0.01) as turn:
            network.instead = cut
            for piece in pieces:
                assert await turn.write(piece)
            before = network.requests
            await until(lambda: network.requests > before)
            network.instead = lambda request: None
            await until(lambda: not turn._buffer)
        (message,) = session.context()
        assert message == {"role": "assistant", "content": "".join(pieces)}
        with pytest.raises(AsYouWereError) as refused:
            async with session.turn() as turn:
                await turn.write({"image": "x" * 250_000})
        assert refused.value.code == "too_large"


async def test_turn__kept_in_the_journal_alone_is_ended_whatever_its_size(home: Place) -> None:
    process = run(
        home,
        """
session = asyouwere.open(**options).start()
turn = session.turn(flush=1000).__enter__()
turn._turn._failures = 1  # as if nobody had answered: it is written to the journal alone
turn.write("é" * 300_000)
turn.write(" and more")
print("ready", flush=True)
time.sleep(60)
""",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate(timeout=30)
    async with home.open() as session:
        await until(lambda: session.state.get("messages"))
        (message,) = session.context()
    assert message == {"role": "assistant", "content": "é" * 300_000 + " and more", "status": "failed"}


async def test_turn__of_an_id_that_is_there_is_somebody_elses(place: Place) -> None:
    """A queue brings a job twice: one makes its answer, whoever comes second is told, before and after its end."""
    job = str(uuid.uuid4())
    async with place.open() as one, place.open(journal=False) as two:
        async with one.turn(job) as turn:
            await turn.write("once")
            with pytest.raises(Conflicting) as refused:
                await two.turn(job).__aenter__()
            assert (refused.value.code, refused.value.data) == ("turn_running", f'{{"turn":"{job}"}}')
        with pytest.raises(Conflicting) as refused:
            await two.turn(job, wait=1).__aenter__()
        assert refused.value.code == "turn_over"
        await two.refresh()
        assert two.context() == [{"role": "assistant", "content": "once"}]


async def test_turn__begun_by_a_request_whose_answer_was_lost_is_ours(home: Place) -> None:
    network, lost = Answers(), []

    async def lose(request: httpx.Request) -> httpx.Response:
        response = await original(request)
        if request.url.path.endswith("/turns") and not lost:
            await response.aread()
            lost.append(response)
            raise httpx.ReadError("cut", request=request)
        return response

    original = network.handle_async_request
    network.handle_async_request = lose  # type: ignore[method-assign]
    async with httpx.AsyncClient(transport=network) as http, home.open(http=http) as session:
        async with session.turn(str(uuid.uuid4())) as turn:
            await turn.write("mine")
        assert lost
        assert session.context() == [{"role": "assistant", "content": "mine"}]


@pytest.mark.parametrize("name", ["../sessions", "x?y=1", 'x","lease_seconds":1,"y":"', "é/ü", "00"])
async def test_ids__from_users_reach_nothing_else(place: Place, name: str) -> None:
    with pytest.raises(AsYouWereError) as refused:
        async with place.open(key=None, session=name):
            pass
    assert refused.value.status in (0, 404, 422), refused.value.code  # 0: session_expired
    async with place.open() as session:
        for ask in (session.turn(name).__aenter__(), session.stop(name), session.follow(name).__anext__()):  # type: ignore[attr-defined]
            with pytest.raises(AsYouWereError) as refused:
                await ask
            assert refused.value.status in (404, 422), refused.value.code


# -- several at once -----------------------------------------------------------------------------------------------


def test_start__again_in_the_same_process_sees_what_was_changed_before(home: Place) -> None:
    """As a notebook's first cell that is run again does."""
    session = home.open().start()
    session.append("one")
    again = home.open().start()
    assert again.state == {"messages": ["one"]}
    again.append("two")
    session.refresh()
    session.append("three")
    session.close()
    again.close()
    assert home.saved() == {"messages": ["one", "three", "two"]}


@pytest.mark.parametrize("is_online", [True, False])
async def test_open__what_several_that_are_gone_have_left_is_there_from_the_start(
    home: Place, is_online: bool
) -> None:
    network = Answers()
    async with httpx.AsyncClient(transport=network) as http:
        async with home.open() as one, home.open() as two, home.open() as three:
            network.instead = down
            one.append("one")
            if is_online:
                two.append("two")
            await anyio.sleep(0.05)
            three.state["newest"] = 1  # and nothing of it waits
            await three.save_now()
            if not is_online:
                three._sync.record.flush()
            for session in (one, two, three):
                killed(session)
                session._sync.record.journal.safely = lambda work: False  # type: ignore[method-assign]
                session._sync.save = never  # type: ignore[method-assign]
        if is_online:
            network.instead = lambda request: None
        async with home.open(http=http) as session:
            assert sorted(session.state["messages"]) == (["one", "two"] if is_online else ["one"])
            network.instead = lambda request: None
    assert home.saved()["newest"] == 1


async def never(*_: Any) -> int:
    """Does not save."""
    return 0
