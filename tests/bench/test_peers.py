"""The peers' protocol against a side that keeps everything in memory, and asyouwere's own side against a database.

Other people's libraries take part in `make bench` only: they are large, and their installation needs a network.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.bench.peers import environment
from tests.bench.peers.process import SideFailed, SideProcess
from tests.bench.peers.rounds import Measured, Rounds, Shape, Turn
from tests.bench.peers.sides.asyouwere_http import AsYouWereHttp
from tests.bench.peers.sides.base import MODULES
from tests.bench.peers.taking_part import ASYOUWERE, FLOORS, OURS, PEERS, Participant
from tests.support.database import Db

IN_MEMORY = "in memory"
SHAPE = Shape(messages=4, sessions=2, turns=3, rarely=2, reads=4)


def turn(number: int) -> Turn:
    user, assistant = (
        json.dumps({"role": role, "content": f"{role} {number}"}) for role in ("user", "assistant")
    )
    return user, assistant, number


@contextmanager
def running(name: str, folder: Path, dsn: str = "", **options: Any) -> Iterator[SideProcess]:
    process = SideProcess(name, sys.executable, folder / "side.log")
    try:
        process.ask("open", dsn=dsn, options=options, within=60)
        yield process
    finally:
        process.close()


def rounds_of(names: tuple[str, ...], db: Db, folder: Path) -> Measured:
    """Short rounds of these sides, all in one database, on connections as the bench has them."""
    claims = json.dumps(db.claims("ada"))
    with psycopg.connect(db.dsn, autocommit=True) as admin:
        sides = []
        for name in names:
            dsn = db.api_dsn if name == ASYOUWERE else db.dsn
            process = SideProcess(name, sys.executable, folder / "side.log")
            process.ask("open", dsn=dsn, options={"role": "authenticated", "claims": claims}, within=60)
            sides.append(Participant(name, process, admin, {}))
        try:
            return Rounds(sides, SHAPE, kind="text", compressible=True, seed=1).run(lambda: None)
        finally:
            for side in sides:
                side.process.close()


def test_side_process__saves_and_restores(tmp_path: Path) -> None:
    with running(IN_MEMORY, tmp_path) as side:
        side.ask("fill", session="s", turns=[turn(1)])
        saved = side.ask("save", session="s", turn=turn(2))
        restored = side.ask("restore", session="s")
        old = side.ask("restore_old", session="s", back=1)
    assert 0 <= saved["ms"] == saved["all_ms"]
    assert (restored["messages"], restored["last"]) == (4, "assistant 2")
    assert (old["messages"], old["last"]) == (2, "assistant 1")


def test_side_process__what_a_library_prints_is_no_answer(tmp_path: Path) -> None:
    with running(IN_MEMORY, tmp_path) as side:
        side.ask("fill", session="s", turns=[turn(1)])
        side.ask("save", session="s", turn=turn(2))
    assert "a library that prints" in (tmp_path / "side.log").read_text()


def test_side_process__says_what_failed_and_goes_on(tmp_path: Path) -> None:
    with running(IN_MEMORY, tmp_path, fail="no room") as side:
        side.ask("fill", session="s", turns=[turn(1)])
        with pytest.raises(SideFailed, match="in memory, save: RuntimeError: no room"):
            side.ask("save", session="s", turn=turn(2))
        assert side.ask("restore", session="s")["messages"] == 2


def test_side_process__one_that_is_gone_is_named(tmp_path: Path) -> None:
    with running(IN_MEMORY, tmp_path) as side:
        side._process.kill()
        with pytest.raises(SideFailed, match="in memory is gone"):
            side.ask("poll", session="s")


def test_side_process__a_store_without_polls_says_so(tmp_path: Path) -> None:
    with running(IN_MEMORY, tmp_path) as side:
        assert side.ask("poll", session="s")["able"] is False


def test_side_process__many_clients(tmp_path: Path) -> None:
    with running(IN_MEMORY, tmp_path) as side:
        for session in ("a", "b"):
            side.ask("fill", session=session, turns=[turn(1)])
        answer = side.ask("crowd", sessions=["a", "b"], turns=[turn(2)], seconds=0.01)
    assert answer["seconds"] >= 0.01
    assert len(answer["times"]) >= 2


def test_rounds__asyouwere_and_the_floors(db: Db, tmp_path: Path) -> None:
    names = (ASYOUWERE, *FLOORS)
    measured = rounds_of(names, db, tmp_path)
    laps = SHAPE.sessions * SHAPE.turns
    assert {name: len(measured.times["save"][name]) for name in names} == {
        ASYOUWERE: laps,
        FLOORS[0]: laps,
        FLOORS[1]: 4,
    }
    assert all(len(measured.times["restore"][name]) == SHAPE.reads for name in names)
    assert set(measured.times["restore_old"]) == {ASYOUWERE, FLOORS[1]}
    assert set(measured.times["poll"]) == set(names)
    assert len(measured.ratios("save", FLOORS[1], ASYOUWERE)) == 4
    # a new number for each turn, after the one that the session was filled with
    numbers = db.superuser.execute("select latest_number from free_agent_sessions").fetchall()
    assert [row["latest_number"] for row in numbers] == [1 + SHAPE.turns] * SHAPE.sessions


def test_rounds__a_store_that_forgets_is_found(db: Db, tmp_path: Path) -> None:
    with (
        psycopg.connect(db.dsn, autocommit=True) as admin,
        running(FLOORS[0], tmp_path, dsn=db.dsn) as process,
    ):
        db.superuser.execute(
            "create function forget() returns trigger language plpgsql as 'begin return null; end'"
        )
        db.superuser.execute(
            "create trigger forgets before insert on parts for each row when (new.number > 2) execute function forget()"
        )
        side = Participant(FLOORS[0], process, admin, {})
        with pytest.raises(RuntimeError, match="bare insert did not restore what it saved: 4 messages"):
            Rounds([side], SHAPE, kind="text", compressible=True, seed=1).run(lambda: None)


def test_sides__list_of_those_who_take_part_is_complete() -> None:
    assert {*OURS, *FLOORS, *PEERS} == set(MODULES) - {IN_MEMORY}


def test_sides__import_nothing_that_their_environment_lacks() -> None:
    """A side runs where neither asyouwere nor the bench's own libraries are installed."""
    program = (
        "import sys; sys.modules['asyouwere'] = None; import tests.bench.peers.sides.__main__; "
        "print(sorted(name for name in sys.modules if name.startswith('tests.')))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.strip() == str(
        ["tests.bench", "tests.bench.peers", "tests.bench.peers.sides"]
        + [f"tests.bench.peers.sides.{name}" for name in ("__main__", "base")]
    )


def test_peers_python__is_installed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "installed").write_text(hashlib.sha256(environment.REQUIREMENTS.read_bytes()).hexdigest())
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert environment.peers_python(tmp_path) == tmp_path / "bin" / "python"


def test_peers_python__another_list_is_installed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "installed").write_text("another")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(environment.NoPeers, match="could not be installed"):
        environment.peers_python(tmp_path)
    assert not (tmp_path / "installed").exists()


def test_peers_requirements__are_pinned() -> None:
    lines = [line for line in environment.REQUIREMENTS.read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert [line for line in lines if "==" not in line] == []


async def test_http_side__answer_that_is_sent_while_it_is_made() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            writer.write(b'a\r\n{"state":{\r\n13\r\n"messages":["tea"]}\r\n1\r\n}\r\n0\r\n\r\n')
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        side = AsYouWereHttp()
        await side.open("", port=server.sockets[0].getsockname()[1], token="")
        side._ids["s"] = "1"
        assert [await side.restore("s") for _ in range(2)] == [{"messages": ["tea"]}] * 2
        await side.close()
