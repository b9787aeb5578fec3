"""WebKitGTK's MiniBrowser by WebDriver, on a display that nobody sees."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.web.engines.program import Program, needed

__all__ = ["WebKit"]

_PACKAGE = "webkit2gtk-driver"
_START_SECONDS = 60
_ANSWER_SECONDS = 60


class WebKit:
    """One browser that keeps what it stores in `folder`, and its tabs. While it is driven it stores in memory only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs: list[Program] = []
        self._http: httpx.Client | None = None
        self._first = ""  # the window that it has to begin with, and that keeps it running

    def _start(self, *command: str, **environment: str) -> Program:
        program = Program(list(command), self.folder, **environment)
        self._programs.append(program)
        return program

    def _display(self) -> str:
        """A display that is this browser's alone; Xvfb takes a number that is free and says which."""
        xvfb = needed("Xvfb", "xvfb")
        reader, writer = os.pipe()
        with os.fdopen(reader) as told:
            command = [xvfb, "-displayfd", str(writer), "-nolisten", "tcp", "-screen", "0", "1280x800x24"]
            self._programs.append(Program(command, self.folder, pass_fds=(writer,)))
            os.close(writer)
            return f":{told.readline().strip()}"

    def begin(self, url: str) -> None:
        """Start the browser as a person would, with a page to show."""
        self._start(needed("MiniBrowser", _PACKAGE), url, DISPLAY=self._display())

    def drive(self) -> WebKit:
        """Start it, with tabs that can be told what to do."""
        browser = needed("MiniBrowser", _PACKAGE)
        driver = self._start(needed("WebKitWebDriver", _PACKAGE), "--port=0", DISPLAY=self._display())
        deadline = time.monotonic() + _START_SECONDS
        while not (ports := [one.laddr.port for one in psutil.Process(driver.process.pid).net_connections()]):
            driver.assert_runs()
            assert time.monotonic() < deadline, "WebKitWebDriver did not start"
            time.sleep(0.05)
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{ports[0]}", timeout=_ANSWER_SECONDS, trust_env=False)
        options = {"binary": browser, "args": ["--automation"]}
        made = self.ask("POST", "/session", capabilities={"alwaysMatch": {"webkitgtk:browserOptions": options}})
        self._http.base_url = self._http.base_url.join(f"/session/{made['sessionId']}")
        self.ask("POST", "/timeouts", script=_ANSWER_SECONDS * 1000, pageLoad=_ANSWER_SECONDS * 1000)
        self._first = self.ask("GET", "/window")
        return self

    def ask(self, method: str, path: str, **params: Any) -> Any:
        """One command and its result."""
        assert self._http
        answer = self._http.request(method, path, json=params if method == "POST" else None)
        assert answer.is_success, answer.text
        return answer.json()["value"]

    def open(self, url: str) -> WebKitTab:
        """A tab with this address, loaded."""
        self.ask("POST", "/window", handle=self._first)
        tab = WebKitTab(self, self.ask("POST", "/window/new", type="tab")["handle"])
        tab.go(url)
        return tab

    def kill(self) -> None:
        """SIGKILL to all of it."""
        if self._http:
            self._http.close()
            self._http = None
        while self._programs:
            self._programs.pop().kill()


class WebKitTab:
    """A tab, which WebDriver calls a window."""

    def __init__(self, webkit: WebKit, handle: str) -> None:
        self._webkit = webkit
        self._handle = handle

    def _ask(self, method: str, path: str, **params: Any) -> Any:
        self._webkit.ask("POST", "/window", handle=self._handle)
        return self._webkit.ask(method, path, **params)

    def go(self, url: str) -> None:
        """To an address."""
        self._ask("POST", "/url", url=url)

    def reload(self) -> None:
        """As the button does."""
        self._ask("POST", "/refresh")

    def run(self, expression: str) -> Any:
        """What an expression is, awaited."""
        script = f"const tell = arguments[0]; (async () => ({expression}))().then((value) => tell([value ?? null]), (error) => tell(`${{error}}`))"
        done = self._ask("POST", "/execute/async", script=script, args=[])
        assert isinstance(done, list), done
        return done[0]

    def close(self) -> None:
        """As the cross does."""
        self._ask("DELETE", "/window")
