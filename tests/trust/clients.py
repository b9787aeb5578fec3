"""Clients: Python clients of one session, on a bad network, end equal to the server, with every message once.

They edit while their saves are under way, stream (append a message, then let it grow), make the same containers at
once, cut lists, lose requests and answers, and crash, leaving their journal to the next. Over the functions and on
Postgres itself. What happens follows from the seed, but for what runs at once.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx

import asyouwere
from asyouwere.client.session import Session
from asyouwere.client.sync import is_passing
from asyouwere.errors import AsYouWereError
from tests.functions.api import token_for
from tests.trust.place import Place
from tests.trust.report import Outcome, Say

OPERATIONS_A_SESSION = 250
SHORT_SEEDS, SHORT_OPERATIONS = 3, 250
LONG_SEEDS, LONG_OPERATIONS = 20, 5_000
TOPICS = ("tea", "rain", "Kyoto", "null", "-0")


def run(outcome: Outcome, folder: Path, long: bool, say: Say) -> None:
    """All seeds, one after the other."""
    seeds, operations = (LONG_SEEDS, LONG_OPERATIONS) if long else (SHORT_SEEDS, SHORT_OPERATIONS)
    outcome.short = ("seeds", "operations", "saves", "clients unequal", "messages lost or doubled", "doubts told")
    outcome.figures.update(dict.fromkeys(("clients unequal", "messages lost or doubled"), 0))
    with Place(folder) as place:
        outcome.facts.update(place.facts())
        for seed in range(seeds):
            outcome.count("seeds")
            for session in range(-(-operations // OPERATIONS_A_SESSION)):
                count = min(OPERATIONS_A_SESSION, operations - session * OPERATIONS_A_SESSION)
                anyio.run(play, outcome, place, f"{seed}.{session}", count)
                say(f"seed {seed + 1} of {seeds}, {outcome.figures['operations']:,} operations")
            shutil.rmtree(folder / "journal", ignore_errors=True)


async def play(outcome: Outcome, place: Place, seed: str, operations: int) -> None:
    """One session, to its end."""
    world = World(outcome, place, seed)
    try:
        await world.play(operations)
    except Exception as exc:
        raise AssertionError(f"seed {seed}: {exc!r}") from exc
    finally:
        await world.close()


class Weather(httpx.AsyncHTTPTransport):
    """The network of one client: requests and answers get lost, or requests arrive twice."""

    def __init__(self, chance: random.Random, outcome: Outcome) -> None:
        super().__init__()
        self.chance = chance
        self.outcome = outcome
        self.is_fine = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        fates = [100, 0, 0, 0] if self.is_fine else [82, 6, 6, 6]
        fate = self.chance.choices(["well", "request lost", "twice", "answer lost"], fates)[0]
        if fate != "well":
            self.outcome.count(fate)
        if fate == "request lost":
            raise httpx.ConnectError(fate)
        response = await super().handle_async_request(request)
        if fate in ("twice", "answer lost"):
            await response.aread()
            if fate == "answer lost":
                raise httpx.ReadError(fate)
            response = await super().handle_async_request(request)
        return response


class Client:
    """One client, from opening to the end or a crash; ``wrote``: its messages, as it last wrote them."""

    def __init__(self, name: str, session: Session, stack: AsyncExitStack, weather: Weather | None) -> None:
        self.name = name
        self.session = session
        self.stack = stack
        self.weather = weather
        self.count = 0
        self.open: str | None = None

    def edit(self, chance: random.Random, wrote: dict[str, str]) -> None:
        """Anything that an app does to its state."""
        state, what = self.session.state, chance.random()
        if what < 0.35 and self.open is not None:
            messages = state["messages"]
            at = next(item for item, message in enumerate(messages) if message["id"] == self.open)
            messages[at]["text"] += chance.choice([".", "…", "🙂", "\ud800"])
            wrote[self.open] = messages[at]["text"]
        elif what < 0.6:
            self.count += 1
            self.open = f"{self.name} {self.count}"
            wrote[self.open] = self.open
            message = {"id": self.open, "text": self.open}
            if chance.random() < 0.5:
                self.session.append(message)
            else:
                state.setdefault("messages", []).append(message)
        elif what < 0.75:
            state.setdefault("topics", {})[chance.choice("abc")] = chance.choice(TOPICS)
        elif what < 0.82:
            state.get("topics", {}).pop(chance.choice("abc"), None)
        elif what < 0.9:
            board = state.setdefault("memory", {}).setdefault("board", {})
            board.setdefault(chance.choice("xy"), {"list": []})["list"].append(self.count)
        elif what < 0.95:
            self.session.append(self.count, to="/scratch")
        elif state.get("scratch"):
            state["scratch"].pop()
        else:
            state["step"] = state.get("step", 0) + 1


class World:
    """One session and its clients."""

    def __init__(self, outcome: Outcome, place: Place, seed: str) -> None:
        self.outcome = outcome
        self.place = place
        self.chance = random.Random(f"clients {seed}")
        self.key = f"clients {seed}"
        self.journal = place.folder / "journal"
        self.clients: list[Client] = []
        self.wrote: dict[str, str] = {}
        self.names = 0

    async def play(self, operations: int) -> None:
        """So many operations, then quiet, then the comparison."""
        for _ in range(self.chance.randint(2, 5)):
            await self._open(self.chance.random() < 0.6)
        for _ in range(operations):
            self.outcome.count("operations")
            client = self.chance.choice(self.clients)
            what = self.chance.random()
            if what < 0.6:
                client.edit(self.chance, self.wrote)
            elif what < 0.78:
                await self._try(client.session.save_now)
            elif what < 0.88:
                await self._at_once()
            elif what < 0.97:
                await self._try(client.session.refresh)
            else:
                await self._crash(client)
        await self._settle()
        await self._compare()

    async def close(self) -> None:
        """Let go of everything."""
        for client in self.clients:
            with suppress(AsYouWereError):
                await client.stack.aclose()

    async def _open(self, over_http: bool) -> None:
        self.names += 1
        name = f"{self.names}"
        stack, weather = AsyncExitStack(), None
        options: dict[str, Any] = {"key": self.key, "journal": self.journal, "poll": None, "debounce": 1e6}
        options["max_wait"] = 1e6
        if over_http:
            weather = Weather(random.Random(f"{self.key} {name}"), self.outcome)
            weather.is_fine = True
            http = await stack.enter_async_context(httpx.AsyncClient(transport=weather))
            options |= {"url": self.place.functions.url, "token": token_for(self.place.user), "http": http}
        else:
            said = self.place.environment["ASYOUWERE_DATABASE_URL"]
            options |= {"url": as_url(said), "user_id": self.place.user}
        session = await stack.enter_async_context(asyouwere.open(**options))
        session.on("conflict", lambda event: self.outcome.count("doubts told", len(event.data["doubts"])))
        session.on("saved", lambda event: self.outcome.count("saves"))
        if weather is not None:
            weather.is_fine = False
        self.clients.append(Client(name, session, stack, weather))

    async def _try(self, call: Callable[[], Any]) -> None:
        try:
            await call()
        except AsYouWereError as exc:
            if not is_passing(exc):
                raise
            self.outcome.count("tried again")

    async def _at_once(self) -> None:
        """Several save at once, and go on editing meanwhile."""
        some = self.chance.sample(self.clients, self.chance.randint(1, len(self.clients)))
        async with anyio.create_task_group() as group:
            for client in some:
                group.start_soon(self._try, client.session.save_now)
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
                self.chance.choice(some).edit(self.chance, self.wrote)

    async def _crash(self, client: Client) -> None:
        """A client is gone as by SIGKILL: its record stays, and the next one takes it over."""
        self.outcome.count("crashes")
        sync = client.session._sync
        sync.look()
        file = sync.record.journal._file
        assert file is not None
        file.db.execute("update record set process = null where client = ?", (sync.record.client,))
        sync.record.close = lambda: None  # type: ignore[method-assign]
        sync.replica.sending, sync.replica.local = None, sync.replica.base
        sync.document.show(sync.replica.base)
        self.clients.remove(client)
        await client.stack.aclose()
        await self._open(client.weather is not None)  # a journal is of one address

    async def _settle(self) -> None:
        for client in self.clients:
            if client.weather is not None:
                client.weather.is_fine = True
        for _ in range(3):
            for client in self.clients:
                await client.session.save_now()
        # what was taken over in the background
        for _ in range(200):
            for client in self.clients:
                await client.session.refresh()
            if {message["id"] for message in self.clients[0].session.state.get("messages", ())} >= self.wrote.keys():
                break
            await anyio.sleep(0.05)
        await anyio.sleep(0.05)
        for client in self.clients:
            await client.session.refresh()

    async def _compare(self) -> None:
        outcome = self.outcome
        server = await self.clients[0].session.peek()
        for client in self.clients:
            session = client.session
            if session.state != server or session.status.waiting.changes:
                outcome.count("clients unequal")
                outcome.failures.append(f"{client.name}: {json.dumps(session.state)}, not {json.dumps(server)}")
        found = sorted((message["id"], message["text"]) for message in server.get("messages", ()))
        if found != sorted(self.wrote.items()):
            outcome.count("messages lost or doubled")
            wanted = sorted(self.wrote.items())
            found_only = [message for message in found if message not in wanted or found.count(message) > 1]
            written_only = [message for message in wanted if message not in found]
            outcome.failures.append(f"{self.key}: there are {found_only}, written were {written_only}")


def as_url(dsn: str) -> str:
    """A connection string as an address."""
    from psycopg.conninfo import conninfo_to_dict

    said = conninfo_to_dict(dsn)
    return f"postgresql://{said['user']}:{said['password']}@{said['host']}:{said['port']}/{said['dbname']}"
