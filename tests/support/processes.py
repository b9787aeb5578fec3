"""Processes that may end while they are looked at."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

import psutil

__all__ = ["descendants", "those"]


def those(processes: Iterable[psutil.Process], is_one: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    """Those of whom it holds; one that has ended meanwhile is none."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if is_one(process):
                found.append(process)
    return found


def descendants(pid: int) -> list[psutil.Process]:
    """Children, their children and so on; none of a process that has ended."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
