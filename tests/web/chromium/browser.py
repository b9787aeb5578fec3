"""A real Chromium that a test owns: its process is ours to kill, its profile outlives it.

It is started by hand and driven over its debugging port, with nobody's default flags: Playwright's would turn the
back/forward cache off.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.support.processes import descendants, those

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Playwright

__all__ = ["Chromium", "chromium_program", "renderer_of", "stopped"]

_FLAGS = [
    "--headless=new",
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-extensions",
    "--password-store=basic",
    "--use-mock-keychain",
    "--remote-debugging-port=0",
]
_START_SECONDS = 60


def chromium_program() -> str:
    """The browser, or a skip that says how to get one."""
    given = os.environ.get("ASYOUWERE_TEST_CHROMIUM")
    for name in [given] if given else ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]:
        if found := shutil.which(name):
            return found
    return pytest.skip("needs Chromium: apt-get install chromium, or name one with ASYOUWERE_TEST_CHROMIUM")


class Chromium:
    """One browser with a profile in `folder`. `start` again after `kill`: the same profile, as a person would find it."""

    def __init__(self, playwright: Playwright, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.flags = flags
        self._playwright = playwright
        self._process: subprocess.Popen[bytes] | None = None
        self._browser: Browser | None = None

    def start(self) -> Chromium:
        """Start it and connect to it."""
        told = self.folder / "DevToolsActivePort"
        told.unlink(missing_ok=True)
        command = [chromium_program(), *_FLAGS, *self.flags, f"--user-data-dir={self.folder}", "about:blank"]
        with (self.folder.parent / "chromium.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + _START_SECONDS
        while not (told.exists() and told.read_text().count("\n")):
            assert self._process.poll() is None, f"Chromium ended: {self.folder.parent / 'chromium.log'}"
            assert time.monotonic() < deadline, "Chromium did not start"
            time.sleep(0.02)
        port = told.read_text().split()[0]
        self._browser = self._playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}")
        return self

    @property
    def context(self) -> BrowserContext:
        """Its windows, with what is stored for them."""
        assert self._browser is not None
        return self._browser.contexts[0]

    def new_context(self) -> BrowserContext:
        """Windows apart, with a storage of their own in memory; close it."""
        assert self._browser is not None
        return self._browser.new_context()

    def kill(self) -> None:
        """SIGKILL to all of it at once, as a crash or a battery would."""
        process, self._process = self._process, None
        if process is None:
            return
        family = descendants(process.pid)
        process.kill()
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait(30)
        psutil.wait_procs(family, timeout=30)
        self._disconnect()
        for lock in self.folder.glob("Singleton*"):
            lock.unlink(missing_ok=True)

    def close(self) -> None:
        """End it; its profile stays."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)
        self._disconnect()

    def _disconnect(self) -> None:
        browser, self._browser = self._browser, None
        if browser is not None:
            from playwright.sync_api import Error

            with contextlib.suppress(Error):
                browser.close()

    def renderers(self) -> list[psutil.Process]:
        """The processes of its tabs."""
        assert self._process is not None
        return those(descendants(self._process.pid), lambda process: "--type=renderer" in process.cmdline())


def renderer_of(chromium: Chromium, page: Page) -> psutil.Process:
    """The process of a tab: the one whose processor time grows while that tab has a busy worker."""

    def times() -> dict[int, float]:
        found = {}
        for process in chromium.renderers():
            with contextlib.suppress(psutil.NoSuchProcess):
                found[process.pid] = sum(process.cpu_times()[:2])
        return found

    before = times()
    page.evaluate("() => { window.busy = new Worker(URL.createObjectURL(new Blob(['for (;;);']))); }")
    deadline = time.monotonic() + 30
    while True:
        time.sleep(0.1)
        grown = sorted((spent - before.get(pid, spent), pid) for pid, spent in times().items())
        most, pid = grown[-1]
        if most > 0.4 and (len(grown) == 1 or most > 3 * grown[-2][0]):
            page.evaluate("() => window.busy.terminate()")
            return psutil.Process(pid)
        assert time.monotonic() < deadline, grown


@contextlib.contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    """A process that does not run: SIGSTOP, and SIGCONT at the end."""
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def errors_of(page: Page) -> list[Any]:
    """What went wrong in a page from now on, to be asserted empty."""
    errors: list[Any] = []
    page.on("pageerror", lambda error: errors.append(error))
    return errors
