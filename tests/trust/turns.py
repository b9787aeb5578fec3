"""Turns: runners die, the functions and Postgres are killed, answers get lost and requests are doubled.

Each runner makes answers through the HTTP functions, a token at a time, and asks again until it is answered. Some die
half-way, in the middle of a request; some seem dead for longer than their lease and then go on, at times when another
turn of the session has begun already, which must be refused. Some answers are followed as event streams, over reloads and
whatever is killed. Afterwards every token whose flush was answered is in the message of its turn, finished or
interrupted, once and in order, and so its follower has seen it; nothing is there that was sent behind the fence; and
every turn has left one message.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import httpx

from asyouwere.local.demo.reader import Reader
from tests.functions.api import BASE, token_for
from tests.trust.place import Place
from tests.trust.report import Outcome, Say
from tests.trust.writers import SEED

RUNNERS = 8
LEASE_SECONDS = 2
LOST = 0.08  # of the answers
DOUBLED = 0.08  # of the requests
FOLLOWED = 0.4  # of the turns
PATIENCE_SECONDS = 60.0
FATES: tuple[Literal["finish", "die", "come back"], ...] = ("finish",) * 13 + ("die",) * 4 + ("come back",) * 3


@dataclass(frozen=True)
class Size:
    """What a run has to reach. limit_seconds: it gives up then, and says so."""

    turns: int
    kills: int
    apart_seconds: tuple[float, float]
    limit_seconds: float


SHORT = Size(turns=60, kills=2, apart_seconds=(1.5, 2.5), limit_seconds=120)
LONG = Size(turns=1000, kills=20, apart_seconds=(3.0, 8.0), limit_seconds=1800)


@dataclass
class Made:
    """What a runner knows of a turn. answered: chunks whose flush was answered; sent: before the lease ran out."""

    session: str
    turn: str
    answered: int = 0
    sent: int = 0
    done: bool = False
    follower: Reader | None = None


@dataclass
class Work:
    """What the runners share: how many turns are left to be begun, and what came of the others."""

    left: int
    made: list[Made] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, name: str) -> None:
        """One more."""
        with self.lock:
            self.counts[name] = self.counts.get(name, 0) + 1

    def take(self) -> bool:
        """Whether there is another turn to begin."""
        with self.lock:
            self.left -= 1
            return self.left >= 0 and not self.over.is_set()


def run(outcome: Outcome, folder: Path, long: bool, say: Say, size: Size | None = None) -> None:
    """Make so many turns under so many kills, then look at what is there."""
    size = size or (LONG if long else SHORT)
    outcome.short = (
        "turns", "chunks answered", "lost", "twice", "behind the fence", "interrupted", "kills", "answers lost",
        "requests doubled", "late requests refused", "turns followed", "chunks missed or read twice",
    )  # fmt: skip
    outcome.figures.update(dict.fromkeys(outcome.short, 0))
    with Place(folder) as place:
        outcome.facts.update(place.facts())
        place.db.superuser.execute(
            "update asyouwere.settings set max_running_turns_per_user = null, max_recent_turns_per_user = null"
        )
        work = Work(size.turns)
        with ThreadPoolExecutor(RUNNERS) as pool:
            runners = [pool.submit(Runner(place, number, work).run) for number in range(RUNNERS)]
            try:
                _kill(outcome, place, size, work, say)
            finally:
                for runner in runners:
                    runner.result(PATIENCE_SECONDS + size.limit_seconds)
        outcome.figures.update(work.counts)
        time.sleep(LEASE_SECONDS + 0.2)
        check(outcome, place, work.made)
    outcome.require(len(work.made) >= size.turns, "too few turns in the time")
    outcome.require(int(outcome.figures["kills"]) >= size.kills, "too few kills in the time")
    for name in (
        "interrupted", "answers lost", "requests doubled", "late requests refused", "turns followed", "connected again",
        "taken over",
    ):  # fmt: skip
        outcome.require(int(outcome.figures[name]) > 0, f"the run does not count: no {name}")


def _kill(outcome: Outcome, place: Place, size: Size, work: Work, say: Say) -> None:
    chance = random.Random(SEED)
    begin = time.monotonic()
    while (
        work.left > 0 or int(outcome.figures["kills"]) < size.kills
    ) and time.monotonic() - begin < size.limit_seconds:
        time.sleep(chance.uniform(*size.apart_seconds))
        outcome.count("kills")
        if int(outcome.figures["kills"]) % 2:
            place.functions.kill()
            place.functions.start()
        else:
            place.postgres.kill()
            place.restart_postgres()
        say(f"{len(work.made):,} of {size.turns:,} turns begun, {outcome.figures['kills']} kills")
    if time.monotonic() - begin >= size.limit_seconds:
        work.over.set()


class Runner:
    """Makes answers, one after the other."""

    def __init__(self, place: Place, number: int, work: Work) -> None:
        self.work = work
        self.chance = random.Random(f"{SEED} {number}")
        self.url = f"{place.url}{BASE}"
        self.token = token_for(place.user)
        self.http = httpx.Client(
            base_url=f"{self.url}/sessions",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=30,
            trust_env=False,
        )
        self.second = ThreadPoolExecutor(1)

    def run(self) -> None:
        """Until there are no more to begin."""
        session = ""
        while self.work.take():
            if not session or self.chance.random() < 0.3:
                session = str(self.ask("", {"id": self.new_id()})[1]["id"])
            self.make(session, self.chance.choice(FATES))
        self.second.shutdown()
        self.http.close()

    def make(self, session: str, fate: str) -> None:
        """One answer and its fate."""
        made = self.begin(session)
        length = self.chance.randint(5, 40)
        end = length if fate == "finish" else self.chance.randint(1, length)
        while made.sent < end:
            if not self.flush(made, min(self.chance.randint(1, 3), end - made.sent)):
                return  # it was down for longer than its lease
            time.sleep(self.chance.uniform(0, 0.03))
        if fate == "die":
            self.work.count("runners died")
            made.sent += 1
            self._try(f"/{session}/turns/{made.turn}/chunks", _body(made.sent, 1), 0.002)
        elif fate == "come back":
            self.come_back(made)
        else:
            self.finish(made)

    def begin(self, session: str) -> Made:
        """A turn of the session, once the one before is over."""
        made = Made(session, self.new_id())
        begun = {"turn_id": made.turn, "lease_seconds": LEASE_SECONDS}
        while True:
            status, told = self.ask(f"/{session}/turns", begun)
            if status != 409:
                break
            time.sleep(0.1)  # the one before has died, but its lease is still good
        assert status in (200, 201), told
        with self.work.lock:
            self.work.made.append(made)
        if self.chance.random() < FOLLOWED:
            reload_at = self.chance.randint(1, 20)
            made.follower = Reader(self.url, self.token, session, made.turn, reload_at, PATIENCE_SECONDS)
            made.follower.start()
        return made

    def come_back(self, made: Made) -> None:
        """Go on when the lease has run out, at times beside whoever has taken over."""
        time.sleep(LEASE_SECONDS + 0.3)
        newer = None
        if self.chance.random() < 0.5:
            self.work.count("taken over")
            newer = self.begin(made.session)
            self.flush(newer, 2)
        known = made.sent
        refused = not self.flush(made, 1)
        made.sent = known
        if refused:
            self.work.count("late requests refused")
        status, told = self.ask(f"/{made.session}/turns/{made.turn}/finish", {})
        assert (status, told["code"]) == (409, "turn_over"), told
        if newer is not None and self.flush(newer, 1):
            self.finish(newer)

    def finish(self, made: Made) -> None:
        """Finish it, unless it was down for longer than its lease."""
        status, told = self.ask(f"/{made.session}/turns/{made.turn}/finish", {})
        if status == 409:
            assert told["code"] == "turn_over", told
        else:
            assert status == 200, told
            made.done = True

    def flush(self, made: Made, count: int) -> bool:
        """Flush so many chunks; False if the turn is over."""
        body = _body(made.sent + 1, count)
        made.sent += count
        status, told = self.ask(f"/{made.session}/turns/{made.turn}/chunks", body)
        if status == 409:
            assert told["code"] == "turn_over", told
            return False
        assert status == 200, told
        made.answered = told["next_seq"] - 1
        self.work.count("flushes")
        return True

    def ask(self, path: str, body: Any) -> tuple[int, Any]:
        """Ask until answered, at times twice at once, and at times without waiting for the answer at first."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        double = None
        if self.chance.random() < DOUBLED:
            self.work.count("requests doubled")
            double = self.second.submit(self._try, path, body, 30.0)
        if self.chance.random() < LOST:
            self.work.count("answers lost")
            self._try(path, body, 0.002)
        try:
            while True:
                answer = self._try(path, body, 30.0)
                if answer is not None and answer.status_code < 500 and answer.status_code != 429:
                    return answer.status_code, answer.json()
                assert time.monotonic() < deadline, (
                    f"no answer: {answer.text if answer is not None else 'nobody there'}"
                )
                time.sleep(0.1)
        finally:
            if double is not None:
                double.result(PATIENCE_SECONDS)

    def _try(self, path: str, body: Any, seconds: float) -> httpx.Response | None:
        with contextlib.suppress(httpx.TransportError):
            return self.http.post(path, json=body, timeout=httpx.Timeout(30.0, read=seconds))
        return None

    def new_id(self) -> str:
        """A random id of this run."""
        return str(UUID(int=self.chance.getrandbits(128), version=4))


def _body(from_seq: int, count: int) -> dict[str, Any]:
    """A flush: each chunk is its number."""
    return {"from_seq": from_seq, "chunks": [f"{number} " for number in range(from_seq, from_seq + count)]}


def check(outcome: Outcome, place: Place, all_made: list[Made]) -> None:
    """Every answered chunk is in its turn's message, once and in order; one message a turn."""
    messages: dict[str, int] = {}
    for made in all_made:
        with place.db.acting_as("ada"):
            turn = place.db.one("get_turn", p_session_id=made.session, p_turn_id=made.turn)
        outcome.count("turns")
        outcome.count("chunks answered", made.answered)
        interrupted = turn["status"] == "interrupted"
        outcome.count("interrupted", int(interrupted))
        outcome.require(turn["status"] != "running", f"{made.turn} still runs")
        outcome.require(interrupted or made.done or turn["status"] == "done", f"{made.turn} is {turn['status']}")
        outcome.require(not (made.done and interrupted), f"{made.turn} was finished, and is interrupted")
        if made.follower is not None:
            _check_follower(outcome, made, made.follower, turn)
        if turn["position"] is None:
            outcome.count("lost", made.answered)
            outcome.require(made.answered == 0, f"{made.turn}: no message of {made.answered} chunks")
            continue
        messages[made.session] = messages.get(made.session, 0) + 1
        _check_message(outcome, place, made, turn["position"])
    for session, count in messages.items():
        (row,) = place.db.superuser.execute(
            "select message_count from public.free_agent_sessions where id = %s", (session,)
        ).fetchall()
        outcome.require(
            row["message_count"] == count, f"{session} has {row['message_count']} messages of {count} turns"
        )


def _check_message(outcome: Outcome, place: Place, made: Made, position: int) -> None:
    (row,) = place.db.superuser.execute(
        "select content from public.session_messages where session_id = %s and position = %s",
        (made.session, position),
    ).fetchall()
    tokens = [int(token) for token in _tokens(row["content"])]
    missing = set(range(1, made.answered + 1)) - set(tokens)
    outcome.count("lost", len(missing))
    outcome.count("twice", len(tokens) - len(set(tokens)))
    outcome.count("behind the fence", sum(token > made.sent for token in tokens))
    outcome.require(tokens == list(range(1, len(tokens) + 1)), f"{made.turn}: {row['content'][:80]}")
    outcome.require(
        made.answered <= len(tokens) <= made.sent, f"{made.turn}: {len(tokens)} chunks of {made.answered}"
    )


def _check_follower(outcome: Outcome, made: Made, follower: Reader, turn: dict[str, Any]) -> None:
    follower.join(PATIENCE_SECONDS)
    outcome.count("turns followed")
    outcome.count("connected again", len(follower.connections) - 1)
    seen = [(number, text) for number, text, _ in follower.seen]
    wanted = [(number, f"{number} ") for number in range(1, turn["next_seq"])]
    off = len(set(wanted) ^ set(seen)) + len(seen) - len(set(seen))
    outcome.count("chunks missed or read twice", off)
    outcome.require(seen == wanted, f"{made.turn}: its follower has seen {len(seen)} chunks of {len(wanted)}")
    end = follower.end or {}
    outcome.require(
        (end.get("status"), end.get("position")) == (turn["status"], turn["position"]),
        f"{made.turn}: its follower was told {end}",
    )


def _tokens(content: str) -> Iterator[str]:
    return iter(content.split())
