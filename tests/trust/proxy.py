"""Two bad lines: one between the functions and Postgres, one between the clients and the functions.

Both pass everything on until they are told to be troublesome; each kind of trouble is counted. They run in a
thread of their own and end with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from types import TracebackType

LOOPBACK = "127.0.0.1"
CHUNK = 65536
# CommandComplete, as the server sends it when COMMIT is done.
COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"
END_OF_HEAD = b"\r\n\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Listens on a free loopback port and passes on to another; `trouble` is the chance of each kind of it."""

    def __init__(self, to: int, seed: int) -> None:
        self.to = to
        self.trouble = 0.0
        self.port = 0
        self.counts: Counter[str] = Counter()
        self.random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_forever()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0, backlog=256)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._guarded((reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, client: Streams) -> None:
        try:
            await self.serve(client)
        except (OSError, EOFError):
            pass  # one end hung up; so do we
        finally:
            cut(client)

    async def serve(self, client: Streams) -> None:
        """One client's connection, from beginning to end."""
        raise NotImplementedError

    async def server(self) -> Streams:
        """A connection to where everything goes."""
        return await asyncio.open_connection(LOOPBACK, self.to, limit=1 << 24)

    def happens(self, what: str) -> bool:
        """Whether this trouble is to be made now; counted if so."""
        if self.random.random() >= self.trouble:
            return False
        self.counts[what] += 1
        return True

    async def dawdle(self) -> None:
        """Now and then a delay."""
        if self.happens("delayed"):
            await asyncio.sleep(self.random.uniform(0.005, 0.1))


class DatabaseLine(Proxy):
    """Before Postgres: delays, and cuts before a request has arrived or after its COMMIT, before the answer."""

    async def serve(self, client: Streams) -> None:
        server = await self.server()
        try:
            both = [
                asyncio.ensure_future(self._ask(client, server)),
                asyncio.ensure_future(self._answer(client, server)),
            ]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in both:
                    task.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        finally:
            cut(server)

    async def _ask(self, client: Streams, server: Streams) -> None:
        while chunk := await client[0].read(CHUNK):
            await self.dawdle()
            if b"COMMIT" in chunk.upper() and self.happens("cut before the database had it"):
                return
            server[1].write(chunk)
            await server[1].drain()

    async def _answer(self, client: Streams, server: Streams) -> None:
        while chunk := await server[0].read(CHUNK):
            if COMMITTED in chunk and self.happens("cut after COMMIT, before the answer"):
                return
            await self.dawdle()
            client[1].write(chunk)
            await client[1].drain()


class RequestLine(Proxy):
    """Before the functions: delays, requests lost, answers lost, requests sent twice, at once or once more
    later, as a gateway or a client's own retry does.
    """

    async def serve(self, client: Streams) -> None:
        while True:
            request = await read_message(client[0])
            await self.dawdle()
            if self.happens("request lost"):
                return
            copies = 2 if self.happens("sent twice at once") else 1
            answers = await asyncio.gather(*(self._forwarded(request) for _ in range(copies)))
            if self.happens("sent once more, later"):
                later = self._loop.create_task(self._later(request))
                self._tasks.add(later)
                later.add_done_callback(self._tasks.discard)
            if self.happens("answer lost"):
                return
            client[1].write(self.random.choice(answers))
            await client[1].drain()

    async def _forwarded(self, request: bytes) -> bytes:
        server = await self.server()
        try:
            server[1].write(request)
            await server[1].drain()
            return await read_message(server[0])
        finally:
            cut(server)

    async def _later(self, request: bytes) -> None:
        await asyncio.sleep(self.random.uniform(0.05, 1.0))
        with contextlib.suppress(OSError, EOFError):
            await self._forwarded(request)


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """One HTTP message with a Content-Length, or without a body."""
    head = await reader.readuntil(END_OF_HEAD)
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.partition(b":")[2]))
    return head


def cut(streams: Streams) -> None:
    """Break a connection without a farewell."""
    streams[1].transport.abort()
