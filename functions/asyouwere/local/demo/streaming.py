"""An answer while it is made: its reader reloads, the functions are killed, and of another one the runner.

The runner is a process of its own (`runner`), and so are the functions; the readers (`reader`) are threads.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from asyouwere.local.demo import checks
from asyouwere.local.demo.checks import Guarantees
from asyouwere.local.demo.client import Client, Refused
from asyouwere.local.demo.measurements import Answer
from asyouwere.local.demo.reader import Reader
from asyouwere.local.stack import LocalStack

FOLLOWED = "Reload, dead functions: each chunk is read once"
FINISHED = "The streamed answer is one message, word for word"
INTERRUPTED = "A killed runner: its text is kept, once"
TITLES = (FOLLOWED, FINISHED, INTERRUPTED)

CHUNKS = 60
PAUSE_SECONDS = 0.06  # between two flushes; a model takes as long for some words
LEASE_SECONDS = 2  # of the runner that is killed; the other one has 30
WAIT_SECONDS = 20.0

Tell = Callable[[str], None]


class Runner:
    """A running runner and what it has told. safe: how many chunks were answered."""

    def __init__(self, **told: Any) -> None:
        self.safe = 0
        self.lines: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "asyouwere.local.demo.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        assert self._process.stdin is not None
        with self._process.stdin as pipe:
            json.dump(told, pipe)
        self._hearing = threading.Thread(target=self._hear, daemon=True)
        self._hearing.start()

    def _hear(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            for line in pipe:
                if not line.endswith("\n"):
                    return  # killed while it wrote
                self.lines.append(json.loads(line))
                self.safe = self.lines[-1].get("seq", self.safe)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def wait(self) -> bool:
        """Wait until it has finished; whether it has."""
        try:
            return self._process.wait(WAIT_SECONDS) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL; harmless when it has ended."""
        self._process.kill()
        self._process.wait()
        self._hearing.join(WAIT_SECONDS)


class Streaming:
    """The act. Has a session of its own; reports to the guarantees and notes times in `answer`."""

    def __init__(
        self, stack: LocalStack, client: Client, guarantees: Guarantees, answer: Answer, tell: Tell
    ) -> None:
        self.stack = stack
        self.client = client
        self.guarantees = guarantees
        self.answer = answer
        self.tell = tell
        self.session_id = client.create_session(name="Answers while they are made")

    def play(self, text: str) -> None:
        """Stream this text twice: once to its end, once until the runner is killed."""
        chunks = in_chunks(text)
        self._finish(chunks)
        self._interrupt(chunks)

    def _finish(self, chunks: list[str]) -> None:
        turn_id = str(uuid4())
        runner = self._runner(turn_id, chunks)
        laptop, phone = (self._reader(turn_id, reload_at) for reload_at in (len(chunks) // 3, None))
        try:
            self._once_begun(turn_id)
            laptop.start()
            wait_until(lambda: runner.over or len(laptop.connections) > 1)  # it has loaded the page again
            reloaded = time.time()
            phone.start()
            wait_until(lambda: runner.over or (len(laptop.seen) >= len(chunks) // 2 and bool(phone.seen)))
            killed, at = time.time(), runner.safe
            self.stack.functions.kill()
            self.stack.functions.start()
            back = time.time()
            finished = runner.wait()
        finally:
            runner.kill()
        for reader in (laptop, phone):
            reader.join(WAIT_SECONDS)
        self._note(runner, laptop, reloaded, killed, back)
        problems = []
        for reader in (laptop, phone):
            problems += checks.followed(chunks, [(number, text) for number, text, _ in reader.seen])
            if reader.end is None or reader.end["status"] != "done":
                problems.append(f"a reader was told {reader.end} at the end")
        if len(laptop.connections) < 3 or laptop.connections[1] != len(chunks) // 3:
            problems.append(f"the page connected with {laptop.connections} as Last-Event-ID")
        went_on = " and ".join(map(str, laptop.connections[1:3]))
        self.guarantees.report(FOLLOWED, problems, f"went on after chunk {went_on}")
        messages = self.client.messages(self.session_id)
        problems = checks.answered_once(messages, chunks, len(chunks))
        if not finished or runner.safe != len(chunks):
            problems.append(f"the runner was answered {runner.safe} of {len(chunks)} chunks")
        self.guarantees.report(FINISHED, problems, f"{len(chunks)} chunks, {sum(map(len, chunks)):,} characters")
        self.tell(
            f"{len(chunks)} chunks. A page that reads along was loaded again after chunk {len(chunks) // 3}, a phone "
            f"came late. [bold red]kill -9[/] of the functions at chunk {at}, back in {back - killed:.1f} s: the "
            "runner asked again, both readers connected again and went on."
        )

    def _interrupt(self, chunks: list[str]) -> None:
        turn_id = str(uuid4())
        runner = self._runner(turn_id, chunks, lease_seconds=LEASE_SECONDS)
        reader = self._reader(turn_id, None)
        try:
            self._once_begun(turn_id)
            reader.start()
            wait_until(lambda: runner.over or runner.safe >= len(chunks) // 3)
        finally:
            runner.kill()
        killed = time.time()
        reader.join(WAIT_SECONDS)
        told = time.time() - killed
        problems = []
        if reader.end is None or reader.end["status"] != "interrupted":
            problems.append(f"the reader was told {reader.end} at the end")
        late: tuple[Callable[[], Any], ...] = (
            lambda: self.client.flush(self.session_id, turn_id, runner.safe + 1, ["too late"]),
            lambda: self.client.finish_turn(self.session_id, turn_id),
        )
        for ask in late:
            try:
                problems.append(f"the runner came back and was told {ask()}")
            except Refused as exc:
                if exc.code != "turn_over":
                    problems.append(f"the runner came back and was told {exc.status} {exc.code}")
        messages = self.client.messages(self.session_id)
        problems += checks.answered_once(messages[1:], chunks, runner.safe, "interrupted")
        if len(messages) != 2:
            problems.append(f"two answers have left {len(messages)} messages")
        if {"".join(text for _, text, _ in reader.seen)} != {message["content"] for message in messages[1:]}:
            problems.append("the reader saw something else than what was kept")
        self.guarantees.report(
            INTERRUPTED,
            problems,
            f"{len(reader.seen)} chunks; later ones: turn_over",
        )
        self.tell(
            f"[bold red]kill -9[/] of the runner at chunk {runner.safe} of the same answer again; after {told:.1f} s "
            f"(its lease: {LEASE_SECONDS} s) the reader was told that it was interrupted."
        )

    def _runner(self, turn_id: str, chunks: list[str], lease_seconds: int = 30) -> Runner:
        return Runner(
            url=self.stack.url,
            token=self.stack.token(),
            session_id=self.session_id,
            turn_id=turn_id,
            chunks=chunks,
            pause_seconds=PAUSE_SECONDS,
            lease_seconds=lease_seconds,
        )

    def _reader(self, turn_id: str, reload_at: int | None) -> Reader:
        return Reader(self.stack.url, self.stack.token(), self.session_id, turn_id, reload_at)

    def _once_begun(self, turn_id: str) -> None:
        def begun() -> bool:
            try:
                return bool(self.client.turn(self.session_id, turn_id))
            except Refused:
                return False

        wait_until(begun)

    def _note(self, runner: Runner, reader: Reader, reloaded: float, killed: float, back: float) -> None:
        flushes = [line for line in runner.lines if "seq" in line]
        begin = flushes[0]["at"] if flushes else 0.0
        self.answer.flushed = {line["seq"]: line["at"] - begin for line in flushes}
        self.answer.flushes_ms = [line["took_ms"] for line in flushes]
        self.answer.read = {number: at - begin for number, _, at in reader.seen}
        self.answer.reloaded, self.answer.killed, self.answer.back = (
            at - begin for at in (reloaded, killed, back)
        )


def in_chunks(text: str, count: int = CHUNKS) -> list[str]:
    """The text in so many pieces, cut between words, as a model's tokens come."""
    words = re.findall(r"\s*\S+|\s+$", text)
    edges = [len(words) * number // count for number in range(count + 1)]
    pieces = ["".join(words[begin:end]) for begin, end in itertools.pairwise(edges)]
    return [piece for piece in pieces if piece]


def wait_until(there: Callable[[], bool]) -> None:
    """Wait, but not for ever: what is missing then shows in the checks."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not there() and time.monotonic() < deadline:
        time.sleep(0.01)
