"""A primary with a synchronous standby: the standby takes over, and the standby is away.

The functions know both servers (`host1,host2` with `target_session_attrs=read-write`), so they find whichever takes
writes. Each answered save is on both, because a commit waits for the standby.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from asyouwere.local.account import choose_account
from asyouwere.local.ports import free_port
from asyouwere.local.postgres import EmbeddedPostgres
from tests.trust.faults.contention import HURRY
from tests.trust.faults.probe import Probe
from tests.trust.faults.restarts import report, writing
from tests.trust.place import Place
from tests.trust.report import Outcome

WAIT_SECONDS = 60.0


def standby_promoted(outcome: Outcome, folder: Path, long: bool) -> None:
    """The primary is killed under writers, and the standby promoted."""
    with Place(folder) as place, _standby(place) as standby:
        counted = Outcome("failover")
        with writing(place, counted) as writers:
            time.sleep(3.0 if long else 1.5)
            place.postgres.kill()
            time.sleep(0.5)
            begin, before = time.monotonic(), writers.shifts.answered
            with psycopg.connect(standby.dsn, autocommit=True) as admin:
                admin.execute("select pg_promote()")
            _until(lambda: writers.shifts.answered > before + 10, "no saves after the promotion")
            outcome.figures["failover: seconds from promotion to saves"] = round(time.monotonic() - begin, 1)
            time.sleep(1.0)
            writers.dsn = standby.dsn
        report(outcome, counted, "failover")


def standby_away(outcome: Outcome, folder: Path, long: bool) -> None:
    """Commits must wait for a standby that is not there. Nothing is answered that it would not have."""
    with Place(folder, environment=HURRY) as place, _standby(place) as standby:
        probe = Probe(outcome, place, "standby")
        standby.stop()
        for number in range(3):
            probe.is_told(probe.save(name=f"alone {number}"), "a save without the standby")
            probe.goes_on(probe.read(), "a read")
        standby.start()
        probe.recovers()
        for number in range(3):
            probe.goes_on(probe.save(name=f"alone {number}"), "the save, sent again")
        probe.recovers()


@contextlib.contextmanager
def _standby(place: Place) -> Iterator[EmbeddedPostgres]:
    """A synchronous standby of the place's Postgres; the functions are told of both."""
    primary = place.postgres
    folder = place.folder / "standby"
    folder.mkdir(mode=0o711)
    data = folder / "data"
    account = choose_account(data, primary.binaries.program("postgres"))
    fresh = place.folder / "fresh"
    fresh.mkdir(mode=0o700)
    account.give(fresh)
    command = [
        str(primary.binaries.program("pg_basebackup")),
        f"--dbname={primary.dsn}",
        f"--pgdata={fresh / 'data'}",
        *("--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
    ]
    copied = account.popen(command, subprocess.PIPE, {"PATH": "/usr/bin:/bin"})
    said = copied.communicate(timeout=120)[0].decode(errors="replace")
    assert copied.returncode == 0, said
    (fresh / "data").rename(data)
    shutil.copy(primary.folder / "password", folder / "password")
    standby = EmbeddedPostgres(folder, binaries=primary.binaries, port=free_port())
    standby.start()
    try:
        with psycopg.connect(primary.dsn, autocommit=True) as admin:
            admin.execute("alter system set synchronous_standby_names = '*'")
            admin.execute("select pg_reload_conf()")
            in_step = "select 1 from pg_stat_replication where sync_state = 'sync' and state = 'streaming'"
            _until(lambda: admin.execute(in_step).fetchone() is not None, "the standby does not follow")
        url = place.environment["ASYOUWERE_DATABASE_URL"]
        both = url.replace(f":{primary.port}/", f":{primary.port},127.0.0.1:{standby.port}/")
        place.restart_functions(ASYOUWERE_DATABASE_URL=f"{both}?target_session_attrs=read-write")
        yield standby
    finally:
        # or the primary would wait for it when it stops
        if primary.running:
            with psycopg.connect(primary.dsn, autocommit=True) as admin:
                admin.execute("alter system reset synchronous_standby_names")
                admin.execute("select pg_reload_conf()")
        standby.stop()


def _until(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)
