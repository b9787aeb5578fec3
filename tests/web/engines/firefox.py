"""Firefox by WebDriver BiDi: JSON over a web socket that the browser itself listens at."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.web.engines.program import Program, needed

__all__ = ["Firefox"]

_START_SECONDS = 60
_ANSWER_SECONDS = 60


class Firefox:
    """One browser with a profile in `folder`, and the tabs of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ids = itertools.count(1)
        self._program: Program | None = None
        self._line: ClientConnection | None = None

    def begin(self, *flags: str) -> None:
        """Start the program, as a person would: with an address to show, perhaps."""
        profile = self.folder / "profile"
        profile.mkdir(exist_ok=True)
        command = [
            needed("firefox-esr", "firefox-esr"),
            "--headless",
            "--no-remote",
            "--profile",
            str(profile),
            *flags,
        ]
        self._program = Program(command, self.folder, MOZ_CRASHREPORTER_DISABLE="1")

    def drive(self) -> Firefox:
        """Start it, with tabs that can be told what to do."""
        told = self.folder / "profile" / "WebDriverBiDiServer.json"
        told.unlink(missing_ok=True)
        self.begin("--remote-debugging-port=0")
        assert self._program
        deadline = time.monotonic() + _START_SECONDS
        while not (told.exists() and told.read_text().endswith("}")):
            self._program.assert_runs()
            assert time.monotonic() < deadline, "Firefox did not start"
            time.sleep(0.05)
        where = json.loads(told.read_text())
        self._line = connect(f"ws://{where['ws_host']}:{where['ws_port']}/session", max_size=None, proxy=None)
        self.ask("session.new", capabilities={})
        return self

    def ask(self, method: str, **params: Any) -> Any:
        """One command and its result."""
        assert self._line
        number = next(self._ids)
        self._line.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._line.recv(_ANSWER_SECONDS))
            if answer.get("id") == number:
                assert answer["type"] == "success", answer
                return answer["result"]

    def open(self, url: str) -> FirefoxTab:
        """A tab with this address, loaded."""
        tab = FirefoxTab(self, self.ask("browsingContext.create", type="tab")["context"])
        tab.go(url)
        return tab

    def kill(self) -> None:
        """SIGKILL to all of it."""
        if self._line:
            self._line.close_socket()
        if self._program:
            self._program.kill()
        self._line = self._program = None


class FirefoxTab:
    """A tab, which is a top-level browsing context."""

    def __init__(self, firefox: Firefox, context: str) -> None:
        self._firefox = firefox
        self._context = context

    def go(self, url: str) -> None:
        """To an address."""
        self._firefox.ask("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def reload(self) -> None:
        """As the button does."""
        self._firefox.ask("browsingContext.reload", context=self._context, wait="complete")

    def run(self, expression: str) -> Any:
        """What an expression is, awaited."""
        done = self._firefox.ask(
            "script.evaluate",
            expression=f"(async () => JSON.stringify((await ({expression})) ?? null))()",
            target={"context": self._context},
            awaitPromise=True,
        )
        assert done["type"] == "success", done["exceptionDetails"]["text"]
        return json.loads(done["result"]["value"])

    def close(self) -> None:
        """As the cross does."""
        self._firefox.ask("browsingContext.close", context=self._context)
