"""What it was measured on and with: a figure without this says little."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psycopg

from tests.bench.place import Place

PACKAGES = (
    "psycopg",
    "functions-framework",
    "starlette",
    "pydantic",
    "uvicorn",
    "uvloop",
    "httptools",
)
SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size", "autovacuum")


def describe(place: Place) -> dict[str, str]:
    """Names and values for the head of the bench's report."""
    return facts(place.superuser, place.stack.folder)


def facts(superuser: psycopg.Connection[Any], folder: Path) -> dict[str, str]:
    """Versions, settings and machine of a run that used this server and wrote into this folder."""
    settings = {name: str(superuser.execute(f"show {name}".encode()).fetchone()[0]) for name in SETTINGS}  # type: ignore[index]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "asyouwere": f"{version('asyouwere')}, commit {_commit()}",
        "Postgres": f"{superuser.info.server_version // 10000}.{superuser.info.server_version % 100}, "
        + ", ".join(f"{name} {setting}" for name, setting in settings.items()),
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "machine": f"{_processor()}, {os.cpu_count()} processors, {_memory()}; "
        f"{platform.system()} {platform.release()}",
        "disk": f"{_flush_ms(folder):.2f} ms to write and flush 8 kB (median)",
        "load before": load(),
    }


def load() -> str:
    """How busy the machine is, apart from us."""
    try:
        return f"{os.getloadavg()[0]:.1f} (mean of the last minute)"
    except OSError:
        return "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _commit() -> str:
    folder = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB"
    except (ValueError, OSError):
        return "memory unknown"


def _flush_ms(folder: Path) -> float:
    """What one commit waits for the disk, as Postgres would."""
    flush = getattr(os, "fdatasync", os.fsync)
    path = folder / "flush"
    times = []
    with path.open("wb", buffering=0) as file:
        file.write(bytes(8192 * 16))
        os.fsync(file.fileno())
        for _ in range(200):
            file.seek(0)
            begin = time.perf_counter()
            file.write(bytes(8192))
            flush(file.fileno())
            times.append((time.perf_counter() - begin) * 1000)
    path.unlink()
    return statistics.median(times)
