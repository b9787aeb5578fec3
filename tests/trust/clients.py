"""Clients: Python clients and browsers of one session, on a bad network, end equal to the server, each message once.

They edit while their saves are under way, stream (append a message, then let it grow), make the same containers at
once, cut lists, lose requests and answers, and crash, leaving their journal to the next. Python over the functions and
on Postgres itself, the browser's core in Node over the functions. What happens follows from the seed, but for what runs
at once.
"""

from __future__ import annotations

import json
import random
import shutil
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Protocol

import anyio
import anyio.lowlevel
import httpx

from asyouwere.errors import AsYouWereError
from tests.functions.api import token_for
from tests.trust.browser_client import BrowserClient, Browsers, bundle
from tests.trust.edits import Author, Edit
from tests.trust.place import Place, Surroundings
from tests.trust.python_client import PythonClient
from tests.trust.report import Outcome, Say

OPERATIONS_A_SESSION = 250
SHORT_SEEDS, SHORT_OPERATIONS = 3, 250
LONG_SEEDS, LONG_OPERATIONS = 20, 5_000
SETTLING_SECONDS = 60.0


class Client(Protocol):
    """Who takes part. What can't be done for now is done later; anything else is raised."""

    async def open(self) -> None: ...

    async def edit(self, edit: Edit) -> str | None: ...

    async def save(self) -> None: ...

    async def look(self) -> None: ...

    async def answer(self, name: str, pieces: list[str], *, is_cut: bool) -> bool: ...

    async def fine(self) -> None: ...

    async def state(self) -> tuple[dict[str, Any], int]: ...

    async def crash(self) -> None: ...

    async def close(self) -> None: ...


def run(outcome: Outcome, folder: Path, long: bool, say: Say) -> None:
    """All seeds, one after the other."""
    seeds, operations = (LONG_SEEDS, LONG_OPERATIONS) if long else (SHORT_SEEDS, SHORT_OPERATIONS)
    outcome.short = ("seeds", "operations", "saves", "clients unequal", "messages lost or doubled", "doubts told")
    outcome.figures.update(dict.fromkeys(("clients unequal", "messages lost or doubled"), 0))
    with Place(folder) as place:
        outcome.facts.update(place.facts())
        program = bundle(folder)
        for seed in range(seeds):
            outcome.count("seeds")
            for session in range(-(-operations // OPERATIONS_A_SESSION)):
                count = min(OPERATIONS_A_SESSION, operations - session * OPERATIONS_A_SESSION)
                anyio.run(play, outcome, place, f"{seed}.{session}", count, program)
                say(f"seed {seed + 1} of {seeds}, {outcome.figures['operations']:,} operations")
            shutil.rmtree(folder / "journal", ignore_errors=True)


async def play(outcome: Outcome, place: Place, seed: str, operations: int, program: Path) -> None:
    """One session, to its end."""
    try:
        async with AsyncExitStack() as stack:
            browsers = await stack.enter_async_context(Browsers.running(outcome, place, program))
            kinds = ["browser", "functions", "browser", "functions", "postgres"]
            world = World(outcome, place, seed, kinds, browsers)
            stack.push_async_callback(world.close)
            await world.play(operations)
            await world.settle()
    except Exception as exc:
        raise AssertionError(f"seed {seed}: {exc!r}") from exc


class World:
    """One session and its clients."""

    def __init__(
        self, outcome: Outcome, place: Surroundings, seed: str, kinds: list[str], browsers: Browsers | None = None
    ) -> None:
        self.outcome = outcome
        self.place = place
        self.chance = random.Random(f"clients {seed}")
        self.key = f"clients {seed}"
        self.kinds = kinds
        self.browsers = browsers
        self.clients: list[Client] = []
        self.authors: dict[Client, Author] = {}
        self.wrote: dict[str, str] = {}
        self.names = 0

    async def play(self, operations: int) -> None:
        """So many operations, by two to five clients."""
        kinds = [*self.kinds[:2], *self.chance.sample(self.kinds[2:], self.chance.randint(0, len(self.kinds) - 2))]
        for kind in kinds:
            client = self._client(kind)
            self._begins(client)
            await client.open()
            self.outcome.count(f"clients: {kind}")
            self.clients.append(client)
        for _ in range(operations):
            self.outcome.count("operations")
            client = self.chance.choice(self.clients)
            what = self.chance.random()
            if what < 0.6:
                await self._edit(client)
            elif what < 0.78:
                await client.save()
            elif what < 0.88:
                await self._at_once()
            elif what < 0.94:
                await client.look()
            elif what < 0.96:
                await self._answer(client)
            elif what < 0.97:
                self._prune()
            else:
                self.outcome.count("crashes")
                await client.crash()
                self._begins(client)

    async def close(self) -> None:
        """Let go of everything."""
        for client in self.clients:
            with suppress(AsYouWereError):
                await client.close()

    def _client(self, kind: str) -> Client:
        name, journal = str(len(self.clients)), self.place.folder / "journal"
        if kind == "browser":
            assert self.browsers is not None
            return BrowserClient(self.browsers, self.outcome, self.place, self.key, name)
        seed, over_http = f"{self.key} {name}", kind == "functions"
        return PythonClient(self.outcome, self.place, self.key, seed, journal, over_http=over_http)

    def _begins(self, client: Client) -> None:
        self.names += 1
        self.authors[client] = Author(str(self.names), self.chance, self.wrote)

    async def _edit(self, client: Client) -> None:
        edit = self.authors[client].next()
        text = await client.edit(edit)
        if text is not None:
            self.wrote[edit.id] = text

    async def _answer(self, client: Client) -> None:
        author, is_cut = self.authors[client], self.chance.random() < 0.3
        name, pieces = author.new_id(), [f"{number} " for number in range(self.chance.randint(1, 9))]
        if await client.answer(name, pieces, is_cut=is_cut):
            self.wrote[name] = "".join(pieces)
        if is_cut:
            self._begins(client)

    def _prune(self) -> None:
        """All but the latest snapshots go."""
        self.outcome.count("prunes")
        with self._http("service_role") as http:
            asked = {"keep": 1, "older_than_seconds": 0, "max_sessions": 10_000}
            http.post("cleanup-old-snapshots", json=asked).raise_for_status()

    async def _at_once(self) -> None:
        """Several save at once, and go on editing meanwhile."""
        some = self.chance.sample(self.clients, self.chance.randint(1, len(self.clients)))
        async with anyio.create_task_group() as group:
            for client in some:
                group.start_soon(client.save)
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
                await self._edit(self.chance.choice(some))

    async def settle(self) -> None:
        """All is saved, what was taken over in the background too; then all must be as the server is."""
        for client in self.clients:
            await client.fine()
            if isinstance(client, PythonClient):  # a turn that could not be ended is by the next one that opens it
                await client.close()
                await client.open()
                await client.fine()
        found = ["not settled in time"]
        with anyio.move_on_after(SETTLING_SECONDS):
            while True:
                for do in ("save", "save", "look"):
                    for client in self.clients:
                        await getattr(client, do)()
                found = await self._differences()
                if not found:
                    return
                await anyio.sleep(0.05)
        for what in found:
            self.outcome.count("messages lost or doubled" if what.startswith("messages") else "clients unequal")
            self.outcome.failures.append(f"{self.key}: {what}")

    async def _differences(self) -> list[str]:
        server = self._on_server()
        found = []
        for client in self.clients:
            state, waiting = await client.state()
            if state != server or waiting:
                found.append(f"{waiting} changes wait; {json.dumps(state)}, not {json.dumps(server)}")
        messages = sorted(
            (message["id"], message["text"] if "text" in message else message["content"])
            for message in server.get("messages", ())
        )
        wanted = sorted(self.wrote.items())
        if messages != wanted:
            more = [message for message in messages if message not in wanted or messages.count(message) > 1]
            less = [message for message in wanted if message not in messages]
            found.append(f"messages: there are {more}, written were {less}")
        return found

    def _on_server(self) -> dict[str, Any]:
        with self._http() as http:
            session = http.post("sessions", json={"key": self.key}).json()["id"]
            answer = http.post("session-snapshot-restore", json={"session_id": session}).json()
        state: dict[str, Any] = answer["state"]
        return state

    def _http(self, role: str = "authenticated") -> httpx.Client:
        token = {"Authorization": f"Bearer {token_for(self.place.user, role)}"}
        return httpx.Client(base_url=self.place.functions.url, headers=token, timeout=60)
