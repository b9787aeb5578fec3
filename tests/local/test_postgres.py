"""The embedded Postgres: made, started, killed, found again, and refused in one line when it cannot be."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from asyouwere.local import ports
from asyouwere.local.binaries import from_wheel
from asyouwere.local.errors import FolderInUse, FolderUnusable, LocalError, PostgresFailed, PostgresMissing
from asyouwere.local.postgres import EmbeddedPostgres
from asyouwere.local.processes import end_postgres, postgres_processes
from tests.support.cluster import debian_binaries


def value(dsn: str, query: str) -> object:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None


def run(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement.encode())


def one_line(error: LocalError) -> str:
    text = str(error)
    assert "\n" not in text
    return text


# -- what it is like -----------------------------------------------------------------------------------------


def test_start__utf8_c_locale_checksums_loopback_only(made_once: Path) -> None:
    with EmbeddedPostgres(made_once) as postgres:
        settings = {
            name: value(postgres.dsn, f"show {name}")
            for name in ("server_encoding", "data_checksums", "listen_addresses", "fsync", "timezone")
        }
        locale = value(
            postgres.dsn, "select datcollate || ' ' || datctype from pg_database where datname = 'postgres'"
        )
    assert settings == {
        "server_encoding": "UTF8",
        "data_checksums": "on",
        "listen_addresses": "127.0.0.1",
        "fsync": "on",
        "timezone": "UTC",
    }
    assert locale == "C C"


def test_start__other_users_of_the_machine_need_the_password(made_once: Path) -> None:
    with EmbeddedPostgres(made_once) as postgres:
        for dsn in filter(None, (postgres.dsn, postgres.socket_dsn)):
            assert value(dsn, "select 1") == 1
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(make_conninfo(dsn, password="guessed"))
            # not even with none at all, and whatever the person's own environment offers
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(re.sub(r":[^:@/]+@", "@", dsn), passfile="/nonexistent")
    assert stat.S_IMODE((made_once / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE((made_once / "data").stat().st_mode) == 0o700


def test_start__debians_oldest_supported_version_works_the_same(folder: Path) -> None:
    with EmbeddedPostgres(folder / "pg", binaries=debian_binaries(15), durable=False) as postgres:
        assert str(value(postgres.dsn, "show server_version")).startswith("15.")


def test_start__wheel_brings_16_too(folder: Path) -> None:
    with EmbeddedPostgres(folder / "pg", binaries=from_wheel(16), durable=False) as postgres:
        assert str(value(postgres.dsn, "show server_version")).startswith("16.")


def test_start__path_too_long_for_a_socket_still_serves_tcp(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    with EmbeddedPostgres(deep / "pg", durable=False) as postgres:
        assert postgres.socket_dsn is None
        assert value(postgres.dsn, "select 1") == 1


def test_from_wheel__unknown_version_says_which_there_are() -> None:
    with pytest.raises(PostgresMissing, match="18 or 16"):
        from_wheel(17)


# -- ends and beginnings -------------------------------------------------------------------------------------


def test_stop__data_are_found_again_and_no_process_is_left(folder: Path) -> None:
    postgres = EmbeddedPostgres(folder / "pg", durable=False)
    with postgres:
        run(postgres.dsn, "create table kept (x int)")
        assert postgres_processes(postgres.data)
    assert not postgres.running
    assert postgres_processes(postgres.data) == []
    with postgres:
        assert value(postgres.dsn, "select count(*) from kept") == 0


def test_kill__everything_committed_is_there_after_the_next_start(folder: Path) -> None:
    postgres = EmbeddedPostgres(folder / "pg")  # durable: this is what must hold for people's data
    postgres.start()
    run(postgres.dsn, "create table kept (x int)")
    with psycopg.connect(postgres.dsn) as open_connection:
        open_connection.execute("insert into kept values (1)")
        open_connection.commit()
        open_connection.execute("insert into kept values (2)")  # never committed
        victims = postgres_processes(postgres.data)
        assert len(victims) > 3
        postgres.kill()
        assert postgres_processes(postgres.data) == []
        # nothing but a number that init has not yet collected
        assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in victims)
        with pytest.raises(psycopg.OperationalError):
            open_connection.execute("select 1")
    postgres.start()
    assert value(postgres.dsn, "select array_agg(x) from kept") == [1]
    assert "was not properly shut down" in postgres.log.read_text()
    postgres.stop()


def test_start__after_the_server_has_ended_by_itself(folder: Path) -> None:
    with EmbeddedPostgres(folder / "pg", durable=False) as postgres:
        first = postgres.pid
        psutil.Process(first).kill()
        psutil.wait_procs([psutil.Process(first)], timeout=10)
        assert not postgres.running
        postgres.start()
        assert postgres.pid != first
        assert value(postgres.dsn, "select 1") == 1


def test_start__server_of_a_killed_parent_is_replaced(folder: Path) -> None:
    parent = subprocess.run(
        [sys.executable, "-c", PARENT_THAT_DIES, str(folder / "pg")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    orphan = int(parent.stdout)
    assert psutil.pid_exists(orphan)
    said: list[str] = []
    with EmbeddedPostgres(folder / "pg", say=said.append) as postgres:
        assert not psutil.pid_exists(orphan)
        assert value(postgres.dsn, "select count(*) from kept") == 1
    assert said == ["stopped the Postgres that an earlier run left behind"]


PARENT_THAT_DIES = textwrap.dedent(
    """
    import os, signal, sys, psycopg
    from pathlib import Path
    from asyouwere.local.postgres import EmbeddedPostgres
    postgres = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
    postgres.start()
    with psycopg.connect(postgres.dsn) as connection:
        connection.execute("create table kept as select 1")
    print(postgres.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    """
)


def test_start__note_of_a_dead_server_whose_number_now_belongs_to_another(folder: Path) -> None:
    postgres = EmbeddedPostgres(folder / "pg", durable=False)
    postgres.start()
    note = (postgres.data / "postmaster.pid").read_text()
    owner = (postgres.data / "postmaster.pid").stat()
    postgres.kill()
    # As after a restart in a container, where numbers are few: it is now that of a process of the same user.
    with subprocess.Popen(["/bin/sleep", "60"], user=owner.st_uid, group=owner.st_gid) as bystander:
        lines = note.splitlines(keepends=True)
        (postgres.data / "postmaster.pid").write_text("".join([f"{bystander.pid}\n", *lines[1:]]))
        os.chown(postgres.data / "postmaster.pid", owner.st_uid, owner.st_gid)
        postgres.start()
        assert value(postgres.dsn, "select 1") == 1
        assert bystander.poll() is None
        bystander.kill()
    postgres.stop()


def test_start__half_made_data_are_made_anew(folder: Path) -> None:
    half = folder / "pg" / "data.new" / "data"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(folder / "pg", durable=False) as postgres:
        assert value(postgres.dsn, "select 1") == 1
    assert not (folder / "pg" / "data.new").exists()


def test_start__two_at_once_one_wins_the_other_is_told_who(made_once: Path) -> None:
    with EmbeddedPostgres(made_once) as first:
        second = EmbeddedPostgres(made_once)
        with pytest.raises(FolderInUse) as refused:
            second.start()
        assert f"in use by process {os.getpid()}" in one_line(refused.value)
        assert value(first.dsn, "select 1") == 1
        second.stop()  # must not touch what it does not own
        assert value(first.dsn, "select 1") == 1


# -- ports ---------------------------------------------------------------------------------------------------


def test_start__port_taken_another_is_chosen_and_said(made_once: Path) -> None:
    wanted = ports.free_port()
    said: list[str] = []
    with (
        socket.create_server((ports.LOOPBACK, wanted)),
        EmbeddedPostgres(made_once, port=wanted, say=said.append) as postgres,
    ):
        assert postgres.port > wanted
        assert value(postgres.dsn, "select 1") == 1
    assert said == [f"port {wanted} is taken, so Postgres listens on {postgres.port}"]
    with EmbeddedPostgres(made_once, port=wanted, say=said.append) as postgres:
        assert postgres.port == wanted
    assert len(said) == 1


def test_start__port_taken_between_looking_and_binding(
    made_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as rival:
        taken = rival.getsockname()[1]
        answers = iter([taken])
        monkeypatch.setattr(
            "asyouwere.local.postgres.free_port", lambda wanted: next(answers, ports.free_port(0))
        )
        with EmbeddedPostgres(made_once, port=taken) as postgres:
            assert postgres.port != taken
            assert value(postgres.dsn, "select 1") == 1


def test_free_port__prefers_the_named_one() -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as busy:
        taken = busy.getsockname()[1]
        assert not ports.is_free(taken)
        assert ports.free_port(taken) != taken
    assert ports.free_port(taken) == taken


# -- folders that will not do --------------------------------------------------------------------------------


def test_start__data_of_another_version_are_left_alone(folder: Path) -> None:
    with EmbeddedPostgres(folder / "pg", binaries=from_wheel(16), durable=False) as old:
        run(old.dsn, "create table kept (x int)")
    with pytest.raises(FolderUnusable) as refused:
        EmbeddedPostgres(folder / "pg").start()
    assert "made by Postgres 16 and this is 18: move it away" in one_line(refused.value)
    with EmbeddedPostgres(folder / "pg", binaries=from_wheel(16), durable=False) as old:
        assert value(old.dsn, "select count(*) from kept") == 0


def test_start__somebody_elses_folder_is_left_alone(folder: Path) -> None:
    theirs = folder / "theirs"
    theirs.mkdir(mode=0o755)
    (theirs / "thesis.txt").write_text("chapter 1")
    with pytest.raises(FolderUnusable, match=r"files that asyouwere did not make \(thesis.txt\)") as refused:
        EmbeddedPostgres(theirs).start()
    one_line(refused.value)
    assert [path.name for path in theirs.iterdir()] == ["thesis.txt"]
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o755


def test_start__file_instead_of_a_folder(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(FolderUnusable, match="is a file"):
        EmbeddedPostgres(folder / "file").start()


def test_start__lost_password_is_named(folder: Path) -> None:
    with EmbeddedPostgres(folder / "pg", durable=False):
        pass
    (folder / "pg" / "password").unlink()
    with pytest.raises(FolderUnusable, match="lost its file 'password'") as refused:
        EmbeddedPostgres(folder / "pg").start()
    one_line(refused.value)


def test_start__bad_setting_says_what_postgres_said(made_once: Path) -> None:
    broken = EmbeddedPostgres(made_once, settings={"max_connections": "many"})
    with pytest.raises(PostgresFailed, match="max_connections") as refused:
        broken.start()
    one_line(refused.value)
    with EmbeddedPostgres(made_once):  # and the lock was given up
        pass


# -- processes -----------------------------------------------------------------------------------------------


def test_stop__interrupting_the_parent_stops_postgres_in_order(folder: Path) -> None:
    """Ctrl-C goes to every process in the terminal's group; Postgres must not be among them."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT_THAT_WAITS, str(folder / "pg")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    postmaster = psutil.Process(int(parent.stdout.readline()))
    assert os.getpgid(postmaster.pid) != os.getpgid(parent.pid)
    os.killpg(parent.pid, signal.SIGINT)
    parent.communicate(timeout=30)
    assert not postmaster.is_running()
    assert "database system is shut down" in (folder / "pg" / "log").read_text()


PARENT_THAT_WAITS = textwrap.dedent(
    """
    import signal, sys, time
    from pathlib import Path
    from asyouwere.local.postgres import EmbeddedPostgres
    # a test run in the background of a script has inherited "ignore"
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with EmbeddedPostgres(Path(sys.argv[1]), durable=False) as postgres:
        print(postgres.pid, flush=True)
        time.sleep(60)
    """
)


def test_end_postgres__only_touches_its_own_folder(made_once: Path, folder: Path) -> None:
    with EmbeddedPostgres(made_once) as postgres:
        (folder / "data").mkdir()
        assert end_postgres(folder / "data") is False
        assert value(postgres.dsn, "select 1") == 1
