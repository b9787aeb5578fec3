"""Bombs: bodies that are quick to send and made to cost memory or time.

A functions server of its own takes them one after the other. Its peak of resident memory is read from the kernel for
each and may be three times the body; every answer comes within a time, none is a 500, and an ordinary request beside
it is answered meanwhile.
"""

from __future__ import annotations

import gzip
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from tests.functions.api import BASE, token_for
from tests.trust.place import Place
from tests.trust.report import Outcome, Say

MEGABYTE = 1_000_000
#: Of the body, above what the server had before it came.
MOST = 3.0
#: Pages, buffers and threads that do not grow with the body.
GRACE_BYTES = 4 * MEGABYTE
LONGEST_SECONDS = 60.0

# Each makes the inside of a state of so many bytes.
Inside = Callable[[int], str]


def conversation(size: int, *, ascii_only: bool = False, spaces: bool = False) -> str:
    """What people really save: messages of some hundred words."""
    choice = random.Random(7)
    words = ["alpha", "beta", "gamma — delta", "naïve", "schedule", "temple 😀", "line\n", '"quoted"']
    messages, length = [], 0
    while length < size * 0.95:
        message = {"role": "user", "content": " ".join(choice.choice(words) for _ in range(150))}
        length += len(json.dumps(message, ensure_ascii=ascii_only).encode())
        messages.append(message)
    separators = None if spaces else (",", ":")
    return f'"messages":{json.dumps(messages, ensure_ascii=ascii_only, separators=separators)}'


def repeated(begin: str, again: str, end: str) -> Inside:
    """A piece of text again and again, until it is as large as wanted."""
    return lambda size: begin + again * ((size - len(begin) - len(end)) // len(again)) + end


def many_keys(begin: str, end: str) -> Inside:
    """Every key another one."""
    return lambda size: begin + ",".join(f'"k{n:07d}":1' for n in range((size - 40) // 13)) + end


BOMBS: dict[str, Inside] = {
    "conversation": conversation,
    "conversation with spaces": lambda size: conversation(size, spaces=True),
    "conversation in escapes": lambda size: conversation(size, ascii_only=True),
    "one string": repeated('"a":"', "x", '"'),
    "one string of emoji": repeated('"a":"', "😀😀😀😀", '"'),
    "one string of escapes": repeated('"a":"', "\\u00e9", '"'),
    "ones": repeated('"messages":[', "1,", "1]"),
    "ones in one part": repeated('"messages":[[', "1,", "1]]"),
    "empty lists": repeated('"messages":[[', "[],", "1]]"),
    "empty objects": repeated('"a":{"b":{"c":{"d":[', "{},", "1]}}}"),
    "empty strings": repeated('"a":[[', '"",', "1]]"),
    "as many parts as allowed": repeated('"messages":[', '"' + "y" * 77 + '",', "1]"),
    "keys": many_keys("", ""),
    "keys in one part": many_keys('"a":{"b":{"c":{', "}}}"),
    "one key": repeated("", '"a":1,', '"a":1'),
    "deep again and again": repeated('"a":[[', "[" * 50 + "]" * 50 + ",", "1]]"),
    "deep objects": repeated('"a":[[', '{"a":' * 50 + "1" + "}" * 50 + ",", "1]]"),
    "100,000 deep": lambda size: '"a":' + "[" * 100_000 + "]" * 100_000,
    "deep to the end": repeated('"a":', "[", "]"),
    "exponent of 131,072 digits": lambda size: '"a":1e' + "9" * 131_072,
    "number of 131,072 digits": lambda size: '"a":' + "9" * 131_072,
    "a number all along": repeated('"a":', "9", "9"),
    "spaces": repeated('"a":', " ", "1"),
    "backslashes": repeated('"a":"', "\\\\", '"'),
    "unclosed": repeated('"a":"', "x", ""),
}
SMALL_FORM = (
    "conversation with spaces", "ones", "empty strings", "keys", "100,000 deep", "exponent of 131,072 digits",
    "number of 131,072 digits",
)  # fmt: skip


def run(outcome: Outcome, folder: Path, long: bool, say: Say) -> None:
    """One bomb after the other, of 10 MB; then bodies that lie about themselves or never end."""
    outcome.short = ("bombs", "most memory", "longest answer", "answers of 500", "waited beside it")
    outcome.figures.update({"bombs": 0, "answers of 500": 0})
    with Place(folder, environment={"ASYOUWERE_BODY_TIMEOUT_SECONDS": "3"}) as place:
        outcome.facts.update(place.facts())
        aim = Aim(outcome, place)
        for name in BOMBS if long else SMALL_FORM:
            say(name)
            aim.throw(name, BOMBS[name](10 * MEGABYTE - 200))
        aim.throw("unknown fields", BOMBS["keys"](10 * MEGABYTE - 200), wrapped=False)
        say("bodies that never end")
        _floods(outcome, place, aim, long)
        aim.close()
    outcome.figures["most memory"] = f"{aim.most:.2f} × the body"
    outcome.figures["longest answer"] = f"{aim.longest:.1f} s"
    outcome.figures["waited beside it"] = f"{aim.waited:.1f} s"


class Aim:
    """The server, its process and a session to save into."""

    def __init__(self, outcome: Outcome, place: Place) -> None:
        self.outcome = outcome
        user = str(place.db.user("ada"))
        self.http = httpx.Client(
            base_url=place.url + BASE,
            headers={"Authorization": f"Bearer {token_for(user)}", "Content-Type": "application/json"},
            timeout=120,
            trust_env=False,
        )
        self.session = self.http.post("/sessions", content="{}").json()["id"]
        self.process = listener(urlsplit(place.url).port or 0)
        self.most = self.longest = self.waited = 0.0
        # Once, so that modules and the pool's first connection are not counted.
        self.http.post("/session-snapshot-save", content=self._body('"n":1' + " " * MEGABYTE))

    def throw(self, name: str, inside: str, *, wrapped: bool = True) -> None:
        """Save it; look at memory, time, and how long somebody else had to wait."""
        body = self._body(inside) if wrapped else ("{" + inside + "}").encode()
        with self.watched() as seen:
            answer = self.http.post("/session-snapshot-save", content=body)
        self.outcome.count("bombs")
        times = max(0.0, seen.peak - GRACE_BYTES) / max(len(body), MEGABYTE)
        self.outcome.figures[name] = (
            f"{seen.peak / len(body):.2f} × the body, {seen.seconds:.1f} s, {answer.status_code}"
        )
        self.most, self.longest = max(self.most, times), max(self.longest, seen.seconds)
        self.waited = max(self.waited, seen.waited)
        self.outcome.count("answers of 500", int(answer.status_code == 500))
        self.outcome.require(
            answer.status_code in (200, 413, 422), f"{name}: {answer.status_code} {answer.text[:300]}"
        )
        self.outcome.require(
            times <= MOST, f"{name}: {seen.peak / MEGABYTE:.0f} MB for {len(body) / MEGABYTE:.1f} MB"
        )
        self.outcome.require(seen.seconds < LONGEST_SECONDS, f"{name} took {seen.seconds:.0f} s")

    def watched(self) -> Watched:
        """Memory and neighbours for the length of a block."""
        return Watched(self)

    def close(self) -> None:
        """The connections."""
        self.http.close()

    def _body(self, inside: str) -> bytes:
        return f'{{"session_id":"{self.session}","state":{{{inside}}}}}'.encode()


class Watched:
    """peak: bytes of resident memory above what there was; seconds; waited: of the slowest request beside it."""

    def __init__(self, aim: Aim) -> None:
        self._aim = aim
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.peak = self.seconds = self.waited = 0.0

    def __enter__(self) -> Watched:
        status = Path(f"/proc/{self._aim.process.pid}")
        (status / "clear_refs").write_text("5")  # the peak begins anew
        self._before = memory_of(status, "VmRSS")
        self._begin = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._begin
        self._over.set()
        self._thread.join(30)
        self.peak = memory_of(Path(f"/proc/{self._aim.process.pid}"), "VmHWM") - self._before

    def _ask(self) -> None:
        with httpx.Client(
            base_url=self._aim.http.base_url, headers=self._aim.http.headers, timeout=60, trust_env=False
        ) as http:
            while not self._over.wait(0.2):
                begin = time.monotonic()
                answer = http.get("/sessions?limit=1")
                self.waited = max(self.waited, time.monotonic() - begin)
                self._aim.outcome.count("answers of 500", int(answer.status_code == 500))


def _floods(outcome: Outcome, place: Place, aim: Aim, long: bool) -> None:
    """Bodies over the limit, compressed, without an end, or hardly moving."""
    size = (200 if long else 40) * MEGABYTE

    def endless() -> Iterator[bytes]:
        for _ in range(size // 65_536):
            yield b"x" * 65_536

    with aim.watched() as seen:
        statuses = []
        for options in ({"content": endless()}, {"content": b"x" * size}):
            try:
                statuses.append(aim.http.post("/session-snapshot-save", **options).status_code)  # type: ignore[arg-type]
            except httpx.WriteError:
                statuses.append(413)  # it closed the line while we were still sending, which is as good
        packed = gzip.compress(b'{"a":"' + b"x" * 10 * MEGABYTE + b'"}')
        statuses.append(
            aim.http.post(
                "/session-snapshot-save", content=packed, headers={"Content-Encoding": "gzip"}
            ).status_code
        )
    outcome.figures[f"{size // MEGABYTE} MB"] = (
        f"{seen.peak / MEGABYTE:.1f} MB of memory, {seen.seconds:.1f} s"
    )
    outcome.require(statuses == [413, 413, 415], f"floods were answered {statuses}")
    outcome.require(seen.peak <= (10 + 10) * MEGABYTE, f"a flood cost {seen.peak / MEGABYTE:.0f} MB")
    lines = 200 if long else 40
    with aim.watched() as seen:
        ended = _slow_bodies(place, lines, str(aim.http.headers["Authorization"]))
    outcome.figures[f"{lines} slow bodies"] = (
        f"{seen.peak / MEGABYTE:.1f} MB of memory, neighbours wait {seen.waited:.1f} s"
    )
    outcome.require(ended == lines, f"{lines - ended} of {lines} slow bodies were not given up")
    outcome.require(
        seen.peak <= lines * 0.2 * MEGABYTE + GRACE_BYTES, f"slow bodies cost {seen.peak / MEGABYTE:.0f} MB"
    )
    outcome.require(seen.waited < 5, f"beside slow bodies others wait {seen.waited:.1f} s")


def _slow_bodies(place: Place, lines: int, authorization: str) -> int:
    """A byte now and then on many lines at once; how many the server gives up with a 408 in its time."""
    where = urlsplit(place.url)
    head = (
        f"POST {BASE}/session-snapshot-save HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n"
        "Content-Type: application/json\r\nContent-Length: 5000000\r\n\r\n{"
    ).encode()
    opened = [socket.create_connection((where.hostname or "", where.port or 0), 30) for _ in range(lines)]
    try:
        for line in opened:
            line.sendall(head)
        for _ in range(6):  # six seconds, where three are allowed
            time.sleep(1)
            for line in opened:
                try:
                    line.sendall(b" ")
                except OSError:
                    continue
        ended = 0
        for line in opened:
            line.settimeout(20)
            try:
                ended += line.recv(200).startswith(b"HTTP/1.1 408")
            except OSError:
                continue
        return ended
    finally:
        for line in opened:
            line.close()


def listener(port: int) -> psutil.Process:
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
            return psutil.Process(connection.pid)
    raise AssertionError("nobody listens there")


def memory_of(status: Path, what: str) -> float:
    for line in (status / "status").read_text().splitlines():
        if line.startswith(what):
            return float(line.split()[1]) * 1024
    raise AssertionError(f"the kernel says no {what}")
