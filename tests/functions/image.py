"""The container image's two commands, for the tests of the functions: on demand, instead of a server in this process.

ASYOUWERE_TEST_ROOT=/some/root .venv/bin/python -m pytest -q tests/functions

The root is a folder with the image's files: of `docker export`, or of debootstrap and the Dockerfile's steps by hand.
Each server runs there by chroot, as the image's user, with the image's environment and its settings and nothing else,
so whoever runs the tests must be root. What users call goes to the one service, the clean-up to its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from asyouwere.service.settings import VARIABLES, Settings

FUNCTIONS: Final = Path(__file__).parents[2] / "functions"
STEPS: Final = re.findall(r"^([A-Z]+) (.+)$", (FUNCTIONS / "Dockerfile").read_text("utf-8"), re.MULTILINE)
ROOT: Final = os.environ.get("ASYOUWERE_TEST_ROOT")
#: For tests that change the server they ask, which must be in their own process for that.
in_process: Final = pytest.mark.skipif(ROOT is not None, reason="changes the server, which runs in ASYOUWERE_TEST_ROOT")

_CLEAN_UP: Final = ["cleanup-old-snapshots"]
#: By the address of a service: the address of the clean-up with the same settings, once somebody calls it.
_clean_ups: Final[dict[str, _CleanUp]] = {}


def last(instruction: str) -> str:
    """The last step of that name: what holds for the image."""
    return str([text for name, text in STEPS if name == instruction][-1])


def image_environment() -> dict[str, str]:
    """What the image sets."""
    return dict(pair.split("=", 1) for pair in last("ENV").split())


def as_environment(settings: Settings) -> dict[str, str]:
    """The variables that say the same as these settings."""
    found = {}
    for name, variable in VARIABLES.items():
        value = getattr(settings, variable.field)
        if value not in (variable.default, None, ""):
            found[name] = _text(value)
    return found


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(sorted(value)) if isinstance(value, frozenset) else str(value)


@contextlib.contextmanager
def serving_image(settings: Settings) -> Iterator[str]:
    """The service in the root; its base URL."""
    with _running(json.loads(last("CMD")), settings) as url:
        _clean_ups[url] = _CleanUp(settings)
        try:
            yield url
        finally:
            _clean_ups.pop(url).stack.close()


def clean_up_url(service_url: str) -> str | None:
    """The base URL of the clean-up that belongs to a service of this root."""
    found = _clean_ups.get(service_url.rstrip("/"))
    return found.url if found else None


class _CleanUp:
    """Started by the first who asks for its address."""

    def __init__(self, settings: Settings) -> None:
        self.stack = contextlib.ExitStack()
        self._settings = settings
        self._url: str | None = None

    @property
    def url(self) -> str:
        if self._url is None:
            command = json.loads(last("CMD")) + _CLEAN_UP
            self._url = self.stack.enter_context(_running(command, self._settings))
        return self._url


@contextlib.contextmanager
def _running(command: list[str], settings: Settings) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = {**image_environment(), **as_environment(settings), "PORT": str(port)}
    inside = ["env", "--chdir", last("WORKDIR"), *command]
    process = subprocess.Popen(
        [shutil.which("chroot") or "/usr/sbin/chroot", f"--userspec={last('USER')}", str(ROOT), *inside],
        env=environment,
        stdout=subprocess.DEVNULL if not settings.request_log else sys.stderr,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/healthz", trust_env=False, timeout=10).status_code == 200:
                    break
            assert process.poll() is None, f"{command} ended: {process.returncode}"
            assert time.monotonic() < deadline, f"{command} does not answer"
            time.sleep(0.05)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
