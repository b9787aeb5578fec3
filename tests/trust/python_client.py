"""A Python client in a run: over the functions on a bad network, or on Postgres itself."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import httpx

import asyouwere
from asyouwere.client.session import Session
from asyouwere.client.sync import is_passing
from asyouwere.errors import AsYouWereError
from tests.functions.api import token_for
from tests.trust.edits import Edit
from tests.trust.place import Surroundings
from tests.trust.report import Outcome


class Weather(httpx.AsyncHTTPTransport):
    """The network of one client: requests and answers get lost, are late, or arrive twice, at once or much later."""

    def __init__(self, chance: random.Random, outcome: Outcome) -> None:
        super().__init__()
        self.chance = chance
        self.outcome = outcome
        self.is_fine = False
        self._before: httpx.Request | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        fates = [100, 0, 0, 0, 0, 0] if self.is_fine else [74, 6, 6, 6, 5, 3]
        names = ["well", "request lost", "twice", "answer lost", "late", "twice, later"]
        fate = self.chance.choices(names, fates)[0]
        if fate != "well":
            self.outcome.count(fate)
        if fate == "request lost":
            raise httpx.ConnectError(fate)
        if fate == "late":
            await anyio.sleep(self.chance.random() * 0.02)
        if fate == "twice, later" and self._before is not None:
            await (await super().handle_async_request(self._before)).aread()
        response = await super().handle_async_request(request)
        self._before = request
        if fate in ("twice", "answer lost"):
            await response.aread()
            if fate == "answer lost":
                raise httpx.ReadError(fate)
            response = await super().handle_async_request(request)
        return response


class PythonClient:
    """One client from opening to the end, through crashes."""

    session: Session
    _stack: AsyncExitStack

    def __init__(
        self, outcome: Outcome, place: Surroundings, key: str, seed: str, journal: Path, *, over_http: bool
    ) -> None:
        self._outcome = outcome
        self._place = place
        self._key = key
        self._seed = seed
        self._journal = journal
        self._over_http = over_http
        self._weather: Weather | None = None

    async def open(self) -> None:
        """Open the session, with what the one before has left in the journal."""
        self._stack = AsyncExitStack()
        options: dict[str, Any] = {"key": self._key, "journal": self._journal, "poll": None}
        options |= {"debounce": 1e6, "max_wait": 1e6}
        if self._over_http:
            self._weather = Weather(random.Random(self._seed), self._outcome)
            self._weather.is_fine = True
            http = await self._stack.enter_async_context(httpx.AsyncClient(transport=self._weather))
            options |= {"url": self._place.functions.url, "token": token_for(self._place.user), "http": http}
        else:
            options |= {"url": as_url(self._place.environment["ASYOUWERE_DATABASE_URL"])}
            options |= {"user_id": self._place.user}
        self.session = await self._stack.enter_async_context(asyouwere.open(**options))
        self.session.on("conflict", lambda event: self._outcome.count("doubts told", len(event.data["doubts"])))
        self.session.on("saved", lambda event: self._outcome.count("saves"))
        if self._weather is not None:
            self._weather.is_fine = False

    async def edit(self, edit: Edit) -> str | None:
        """Do it; what it has made of a message that grows."""
        state = self.session.state
        if edit.kind == "grow":
            message = next(message for message in state["messages"] if message["id"] == edit.id)
            message["text"] += edit.piece
            return str(message["text"])
        if edit.kind == "append" and edit.by_call:
            self.session.append({"id": edit.id, "text": edit.id})
        elif edit.kind == "append":
            state.setdefault("messages", []).append({"id": edit.id, "text": edit.id})
        elif edit.kind == "topic":
            state.setdefault("topics", {})[edit.name] = edit.value
        elif edit.kind == "forget":
            state.get("topics", {}).pop(edit.name, None)
        elif edit.kind == "board":
            board = state.setdefault("memory", {}).setdefault("board", {})
            board.setdefault(edit.name, {"list": []})["list"].append(edit.value)
        elif edit.kind == "scratch":
            self.session.append(edit.value, to="/scratch")
        elif edit.kind == "pop" and state.get("scratch"):
            state["scratch"].pop()
        elif edit.kind == "step":
            state["step"] = state.get("step", 0) + 1
        return None

    async def save(self) -> None:
        """Save; what can't be saved now is saved later."""
        await self._try(self.session.save_now())

    async def look(self) -> None:
        """See what others did."""
        await self._try(self.session.refresh())

    async def _try(self, call: Any) -> None:
        try:
            await call
        except AsYouWereError as exc:
            if not is_passing(exc):
                raise
            self._outcome.count("tried again")

    async def answer(self, name: str, pieces: list[str], *, is_cut: bool) -> bool:
        """Make one in a turn; cut: it is gone in the middle. Whether it was begun: another may be under way."""
        turn = self.session.turn(message={"role": "assistant", "id": name})
        try:
            await turn.__aenter__()
        except AsYouWereError as exc:
            if exc.code != "turn_running" and not is_passing(exc):
                raise
            self._outcome.count("turns not begun")
            return False
        self._outcome.count("turns cut off" if is_cut else "turns")
        for piece in pieces:
            await turn.write(piece)
        if is_cut:
            await self.crash()
        else:
            await self._try(turn.__aexit__(None, None, None))
        return True

    async def fine(self) -> None:
        """From now on nothing gets lost."""
        if self._weather is not None:
            self._weather.is_fine = True

    async def state(self) -> tuple[dict[str, Any], int]:
        """What the app sees, and how many changes wait."""
        return self.session.state.copy(), self.session.status.waiting.changes

    async def crash(self) -> None:
        """It is gone as by SIGKILL: its record stays, and the next one takes it over."""
        sync = self.session._sync
        sync.look()
        file = sync.record.journal._file
        assert file is not None
        file.db.execute("update record set process = null where client = ?", (sync.record.client,))
        for turn in sync.turns:
            file.db.execute("update chunk set process = null where turn = ?", (turn,))
        sync.turns.clear()
        sync.record.close = lambda: None  # type: ignore[method-assign]
        sync.replica.sending, sync.replica.local = None, sync.replica.base
        sync.document.show(sync.replica.base)
        await self._stack.aclose()
        await self.open()

    async def close(self) -> None:
        await self._stack.aclose()


def as_url(dsn: str) -> str:
    """A connection string as an address."""
    from psycopg.conninfo import conninfo_to_dict

    said = conninfo_to_dict(dsn)
    return f"postgresql://{said['user']}:{said['password']}@{said['host']}:{said['port']}/{said['dbname']}"
