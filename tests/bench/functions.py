"""What HTTP adds to a save, and how many saves the functions answer, served as `asyouwere run` serves them."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator

from tests.bench.measurements import WARM_UP, Figure, Target, compare, number, percentile, undisturbed
from tests.bench.place import Place, Session
from tests.bench.texts import Messages, array

GROUP = "Functions (HTTP)"

CLIENTS = 16
MESSAGES = 1_000
# What the functions do around the call: see asyouwere/service/database/direct.py.
ACT_AS = (
    "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true), "
    "set_config('statement_timeout', '20000', true)"
)


def measure(place: Place) -> Iterator[Figure]:
    """One client against the same call made directly; then many at once."""
    connection = place.connect_as_user()
    rounds = place.rounds(2000, 400)
    messages = Messages().take(rounds + WARM_UP)
    arrays = [array([message]) for message in messages]
    by_http = HttpSession(place, place.filled_session(connection, Messages(7), MESSAGES).id)
    direct = place.filled_session(connection, Messages(7), MESSAGES)
    place.settle()
    compared = compare(
        lambda lap: by_http.append(messages[lap]),
        lambda lap: direct.save("{append}", "{/messages/}", "{null}", arrays[lap]),
        rounds,
    )
    detail = "save_session_parts() called through psycopg, prepared, role and claims set before"
    yield compared.figure(GROUP, f"one message saved into {MESSAGES:,} messages", Target(2.5), detail)

    acting = place.connect(place.api_dsn)
    direct = Session(acting, direct.id)
    direct.number = None

    def save_as_the_functions_do(lap: int) -> None:
        with acting.pipeline():
            acting.execute("begin")
            acting.execute(ACT_AS, (place.claims,), prepare=False)
            direct.append(messages[lap])
            acting.execute("commit")

    compared = compare(lambda lap: by_http.append(messages[lap]), save_as_the_functions_do, rounds)
    detail = "the same call in a transaction that first sets role, claims and time limit"
    yield compared.figure(GROUP, "the same, role and claims set each time", None, detail)
    yield _crowd(place)


def _crowd(place: Place) -> Figure:
    """Each client saves into a session of its own as fast as it gets answers."""
    connection = place.connect_as_user()
    clients = [
        HttpSession(place, place.filled_session(connection, Messages(seed), MESSAGES).id)
        for seed in range(CLIENTS)
    ]
    place.settle()
    times: list[float] = []
    seconds = place.rounds(20, 5)
    over = time.perf_counter() + seconds

    def save(client: HttpSession, messages: list[str]) -> None:
        lap = 0
        while (begin := time.perf_counter()) < over:
            client.append(messages[lap % len(messages)])
            times.append((time.perf_counter() - begin) * 1000)
            lap += 1

    threads = [
        threading.Thread(target=save, args=(client, Messages(100 + n).take(200)))
        for n, client in enumerate(clients)
    ]
    over = time.perf_counter() + seconds
    with undisturbed():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return Figure(
        GROUP,
        f"{CLIENTS} clients, each saving one message after the other",
        len(times) / seconds,
        "saves/s",
        Target(300, at_least=True),
        samples=len(times),
        detail=f"p50 {number(percentile(times, 50))} ms, p99 {number(percentile(times, 99))} ms, "
        f"longest {number(max(times))} ms; server, Postgres and clients share the machine",
    )


class HttpClient:
    """HTTP/1.1 over one open connection: as little as a client can do, so that the server is measured.

    port: another server's than the stack's own.
    """

    def __init__(self, place: Place, port: int = 0) -> None:
        self._port = port or place.stack.functions.port
        self._token = place.stack.token("bench")
        self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = self._socket.makefile("rb")

    def post(self, path: str, body: str) -> bytes:
        """The body of the answer. Raises RuntimeError unless it is a success."""
        content = body.encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + content)
        status, length = self._line(), -1
        while line := self._line():
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        answer = self._received.read(length) if length >= 0 else b"".join(self._chunks())
        if not status.startswith(b"http/1.1 20"):
            raise RuntimeError(f"{path}: {status.decode()}: {answer.decode(errors='replace')[:300]}")
        return answer

    def _line(self) -> bytes:
        line = self._received.readline()
        if not line:
            raise RuntimeError("the server closed the connection")
        return line.strip().lower()

    def _chunks(self) -> Iterator[bytes]:
        """Of an answer that is sent while it is made, as a large restore is."""
        while size := int(self._line(), 16):
            yield self._received.read(size)
            self._line()
        self._line()


class HttpSession:
    """A session that is saved by session-snapshot-save."""

    def __init__(self, place: Place, session_id: uuid.UUID) -> None:
        self.id = session_id
        self.number = 1
        self._client = HttpClient(place)

    def append(self, message: str) -> None:
        """Save one message more, on top of the number that the last answer gave."""
        changes = f'{{"append":{{"/messages":[{message}]}}}}'
        body = f'{{"session_id":"{self.id}","base":{self.number},"changes":{changes}}}'
        self.number = json.loads(self._client.post("/functions/v1/session-snapshot-save", body))["number"]
