"""Finding and ending the processes of one Postgres, and no others."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path

import psutil


def kill_tree(pid: int) -> None:
    """SIGKILL a process and everything it started, and wait until they are gone."""
    try:
        root = psutil.Process(pid)
        root.suspend()  # so that it starts no further child while we look
        victims = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    # Not until they are reaped: orphans are init's, and some take seconds over it. A zombie holds nothing.
    deadline = time.monotonic() + 10
    while any(map(_at_work, victims)) and time.monotonic() < deadline:
        time.sleep(0.005)


def _at_work(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def postgres_processes(data: Path) -> list[psutil.Process]:
    """Every Postgres process that works in this data folder, the parent first.

    Postgres makes the data folder its working directory, which tells ours from any other on the machine.
    """
    found = []
    here = data.resolve()
    for process in psutil.process_iter(["name"]):
        if not (process.info["name"] or "").startswith("postgres"):
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if Path(process.cwd()) == here:
                found.append(process)
    ids = {process.pid for process in found}

    def is_child(process: psutil.Process) -> bool:
        try:
            return process.ppid() in ids
        except psutil.Error:
            return True

    return sorted(found, key=is_child)


def end_postgres(data: Path, patience_seconds: float = 10) -> bool:
    """End whatever Postgres still works in this data folder: politely, then not. True if there was one."""
    processes = postgres_processes(data)
    if not processes:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        processes[0].send_signal(signal.SIGINT)  # a fast shutdown; orphaned children end by themselves
    psutil.wait_procs(processes, timeout=patience_seconds)
    for process in postgres_processes(data):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(postgres_processes(data), timeout=5)
    return True
