"""The disk is full: first where tables grow, then where the write-ahead log does.

A small file system in memory is mounted for it, which only root may do.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.trust.faults.probe import Probe
from tests.trust.place import Place
from tests.trust.report import Outcome

TABLES_SIZE, LOG_SIZE = "200m", "64m"
TRIES = 100
MESSAGE = 400_000
SETTINGS = {"min_wal_size": "32MB", "max_wal_size": "32MB"}
SKIPPED = "skipped: only root can mount a small disk"


def full(outcome: Outcome, folder: Path, long: bool) -> None:
    """Something fills the disk of the tables while saves come in; then there is space again."""
    with _small_disk(folder / "small", TABLES_SIZE) as small:
        if small is None:
            outcome.figures["disk"] = SKIPPED
            return
        with Place(small, settings=SETTINGS) as place:
            _fill_and_free(outcome, place, "disk", small / "postgres" / "run" / "ballast")


def log_full(outcome: Outcome, folder: Path, long: bool) -> None:
    """A full disk with the write-ahead log on a disk of its own: Postgres must not go on, and stops itself."""
    with _small_disk(folder / "small", LOG_SIZE) as small:
        if small is None:
            outcome.figures["log disk"] = SKIPPED
            return
        with Place(folder, settings=SETTINGS) as place:
            place.postgres.stop()
            log = place.postgres.data / "pg_wal"
            owner = log.stat()
            shutil.move(log, small / "pg_wal")
            for path in (small / "pg_wal", *(small / "pg_wal").rglob("*")):
                os.chown(path, owner.st_uid, owner.st_gid)
            log.symlink_to(small / "pg_wal")
            place.postgres.start()
            _fill_and_free(outcome, place, "log disk", small / "ballast")


def _fill_and_free(outcome: Outcome, place: Place, what: str, ballast: Path) -> None:
    probe = Probe(outcome, place, what, size=MESSAGE)
    _fill(ballast)
    told = 0
    for _ in range(TRIES):
        answer = probe.save()
        probe.goes_on_or_is_told(answer, "a save on a full disk")
        told += answer.status_code != 200
        probe.goes_on_or_is_told(probe.read(), "a read on a full disk")
        _fill(ballast)
        if told > 10:
            break
    outcome.require(told > 0, f"{what}: it was never full")
    gave_up = not place.postgres.running
    outcome.figures[f"{what}: Postgres ended itself, and its supervisor started it again"] = (
        "yes" if gave_up else "no"
    )
    ballast.unlink()
    if gave_up:
        place.restart_postgres()
    probe.recovers()


def _fill(ballast: Path) -> None:
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))


@contextlib.contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[Path | None]:
    folder.mkdir(mode=0o711)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=711", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
