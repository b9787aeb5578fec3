"""What one hostile caller does to the others: an attack for each item of "one person's row breaks or slows another".

Each attack prepares what it needs and returns a step, which is then repeated on many threads at once. Whatever the
answer is, it is counted; that it hurts nobody else is for tests/security/neighbours.py to see.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import httpx
import psycopg

from tests.functions.api import BASE, token_for
from tests.support.database import Db

Step = Callable[[], object]


class Caller:
    """Somebody who calls the functions; counts the answers by status or code, "none" where there was none."""

    def __init__(self, url: str, user: str | None, role: str = "authenticated") -> None:
        headers = {"Content-Type": "application/json"}
        if user is not None:
            headers["Authorization"] = f"Bearer {token_for(user, role)}"
        self.user = user or ""
        self.answers: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._url, self._headers = url + BASE, headers
        self.connect()

    def connect(self) -> None:
        """Connections of its own from now on."""
        self.http = httpx.Client(
            base_url=self._url,
            headers=self._headers,
            timeout=60,
            trust_env=False,
            limits=httpx.Limits(max_connections=32),
        )

    def call(self, method: str, path: str, body: object = None) -> httpx.Response | None:
        """The answer, None if there was none. body: text as it is, anything else as JSON."""
        content = body if isinstance(body, str | None) else json.dumps(body)
        answer: httpx.Response | None = None
        with contextlib.suppress(httpx.HTTPError):
            answer = self.http.request(method, path, content=content)
        self.count(_short(answer))
        return answer

    def session(self, **fields: object) -> str:
        """A new session's id, "" if it is refused."""
        answer = self.call("POST", "/sessions", fields)
        return str(answer.json()["id"]) if answer is not None and answer.is_success else ""

    def save(self, session_id: str, inside: str) -> httpx.Response | None:
        """Save; inside: further members of the body as JSON text."""
        return self.call("POST", "/session-snapshot-save", f'{{"session_id":"{session_id}",{inside}}}')

    def restore(self, session_id: str, **which: object) -> httpx.Response | None:
        return self.call("POST", "/session-snapshot-restore", {"session_id": session_id, **which})

    @property
    def refused(self) -> int:
        """Answers that were neither a success nor missing; those of SQL by SQLSTATE."""
        return sum(count for answer, count in self.answers.items() if answer[0] not in "2n")

    def count(self, answer: str) -> None:
        """One more of these."""
        with self._lock:
            self.answers[answer] += 1

    def close(self) -> None:
        self.http.close()


def _short(answer: httpx.Response | None) -> str:
    if answer is None:
        return "none"
    if answer.is_success:
        return str(answer.status_code)
    return f"{answer.status_code} {answer.json().get('code')}"


class Stage(NamedTuple):
    """The hostile one, whom they aim at, the scheduler. name: the hostile one's in the database; long: as large as
    was reported, else a tenth or less."""

    name: str
    hostile: Caller
    victim: Caller
    service: Caller
    db: Db
    long: bool

    def sql(self, statement: str, *arguments: object) -> None:
        """As the hostile one, by SQL, as PostgREST would for them; counted like a call."""
        try:
            with self.db.connect_as(self.name) as connection:
                connection.execute(statement.encode(), arguments)
            self.hostile.count("200 by SQL")
        except psycopg.Error as exc:
            self.hostile.count(f"{exc.sqlstate} {exc.diag.message_hint or 'by SQL'}")

    def share(self, session_id: str, role: str = "viewer") -> None:
        """The victim takes part, of their own will."""
        self.hostile.call("PUT", f"/sessions/{session_id}/members/{self.victim.user}", {"role": role})
        self.victim.call("POST", f"/sessions/{session_id}/invitation", {"accept": True})


class Attack(NamedTuple):
    """item: of the list of what was found; threads: how many do it at once."""

    item: int
    name: str
    prepare: Callable[[Stage], Step]
    threads: int = 4


def _bad_content(stage: Stage) -> Step:
    hostile = stage.hostile
    bodies = [
        r"\\ud83d\ude00",
        r"\ud800",
        r"\\\\a\u0000" * (20_000 if not stage.long else 400_000),
        r"\u0000",
        "x" * 100_000,
    ]
    sessions = [hostile.session(name=f"bad {number}") for number in range(len(bodies))]
    for session_id, body in zip(sessions, bodies, strict=True):
        hostile.save(session_id, f'"state":{{"messages":[{{"role":"user","content":"{body}"}}]}}')
        stage.share(session_id)

    def step() -> None:
        hostile.call("GET", "/sessions")
        for session_id in sessions:
            hostile.call("GET", f"/sessions/{session_id}/messages")

    return step


def _number_bombs(stage: Stage) -> Step:
    hostile = stage.hostile
    numbers = json.dumps([0] * 3500).replace("0", "1e131071")
    bombs = [
        '{"n":' + numbers + "}",
        '{"n":' + "[" * 6000 + "]" * 6000 + "}",
        '{"n":1e999999999}',
        '{"n":' + "9" * 200_000 + "}",
    ]
    session_id = hostile.session(name="bombs")
    stage.share(session_id)

    def step() -> None:
        for bomb in bombs:
            hostile.call("POST", "/sessions", f'{{"metadata":{bomb}}}')
            hostile.call("PATCH", f"/sessions/{session_id}", f'{{"metadata":{bomb}}}')
            hostile.call("PATCH", f"/sessions/{session_id}", f'{{"upstream":{bomb}}}')
            hostile.save(session_id, f'"state":{bomb}')
        hostile.call("GET", "/sessions")
        hostile.call("GET", f"/sessions/{session_id}/export")

    return step


def _invitations(stage: Stage) -> Step:
    hostile, victim = stage.hostile, stage.victim.user

    def step() -> None:
        session_id = hostile.session(name="come in")
        hostile.call("PUT", f"/sessions/{session_id}/members/{victim}", {"role": "editor"})

    for _ in range(1000 if stage.long else 30):
        step()
    return step


def _poison_rows(stage: Stage) -> Step:
    hostile = stage.hostile
    session_id = hostile.session(name="poison")
    for number in range(3):
        hostile.save(session_id, f'"state":{{"n":{number}}}')
    exported = hostile.call("GET", f"/sessions/{session_id}/export")
    document: dict[str, Any] = exported.json() if exported is not None and exported.is_success else {}
    for highest in (2147483647, 2147483646, 10**12, -1):
        moved = {**document, "session": {**document.get("session", {}), "latest_number": highest}}
        moved["snapshots"] = [{**snapshot, "number": highest} for snapshot in document.get("snapshots", [])[-1:]]
        hostile.call("POST", "/sessions/import", moved)
    for idle in ("100000 years -36525000 days", "178000000 years", "-1 second", "1 microsecond"):
        stage.sql("update public.free_agent_sessions set expires_after = %s::text::interval", idle)
    return _cleaning(stage)


def _giant_batches(stage: Stage) -> Step:
    hostile = stage.hostile
    items = ",".join(["1"] * (124_000 if stage.long else 20_000))
    session_id = hostile.session(name="giant")
    hostile.save(session_id, f'"state":{{"list":[{items}]}}')
    for _ in range(40 if stage.long else 6):
        answer = hostile.call("POST", f"/sessions/{session_id}/fork", {})
        if answer is not None and answer.is_success:
            hostile.call("PATCH", f"/sessions/{answer.json()['id']}", {"expires_after_seconds": 1})
    stage.db.superuser.execute(
        "update public.free_agent_sessions set last_activity_at = now() - interval '90 days' "
        "where user_id = %s and expires_after is not null",
        (hostile.user,),
    )
    return _cleaning(stage)


def _cleaning(stage: Stage) -> Step:
    def step() -> None:
        stage.service.call("POST", "/cleanup-old-snapshots", {})

    return step


def _much_reading(stage: Stage) -> Step:
    hostile = stage.hostile
    text = "A sentence of some words that has to be typeset. " * 40
    many = json.dumps([{"role": "user", "content": text}] * (1500 if stage.long else 300))
    session_id = hostile.session(name="long", visibility="public")
    hostile.save(session_id, f'"state":{{"messages":{many}}}')
    for number in range(20):
        hostile.save(session_id, f'"state":{{"messages":{many},"n":{number}}}')
    stranger = Caller(str(hostile.http.base_url).removesuffix(BASE + "/"), None)
    turn = itertools.cycle(("pdf", "json", "old", "markdown", "strangers"))

    def step() -> None:
        match next(turn):
            case "old":
                hostile.restore(session_id, number=1)
            case "strangers":
                stranger.restore(session_id, number=1)
            case form:
                hostile.call("GET", f"/sessions/{session_id}/export?format={form}")

    return step


def _large_reading(stage: Stage) -> Step:
    """Of a state as large as one may be (64 MB), what no index answers: an old one, all of its changes."""
    hostile = stage.hostile
    message = {"role": "user", "content": "A sentence of some words that are only read. " * 40}
    piece = json.dumps([message] * (3500 if stage.long else 400))
    session_id = hostile.session(name="large")
    for number in range(9):
        hostile.save(session_id, f'"changes":{{"append":{{"/messages":{piece}}},"set":{{"/n":{number}}}}}')
    hostile.save(session_id, '"changes":{"set":{"/messages/0":"changed"}}')
    turn = itertools.cycle(range(8))

    def step() -> None:
        match next(turn):
            case 0:
                hostile.call("GET", f"/sessions/{session_id}/diff?from=0&to=9")
            case 1:
                hostile.restore(session_id, since=0)
            case 2:
                hostile.restore(session_id)
            case _:
                hostile.restore(session_id, number=9)

    return step


def _huge_conflicts(stage: Stage) -> Step:
    hostile = stage.hostile
    keys = [f"{number:06d}" + "k" * 1900 for number in range(4500 if stage.long else 1500)]
    session_id = hostile.session(name="conflicts")
    hostile.save(session_id, f'"state":{json.dumps(dict.fromkeys(keys, 1))}')
    again = f'"state":{json.dumps(dict.fromkeys(keys, 2))},"base":0,"on_conflict":"reject"'

    def step() -> None:
        hostile.save(session_id, again)

    return step


def _deadlock_pairs(stage: Stage) -> Step:
    hostile = stage.hostile
    sessions = [hostile.session(name=f"pair {number}") for number in range(12)]
    for session_id in sessions:
        hostile.save(session_id, '"state":{"messages":[]}')
    stage.share(sessions[0], "editor")
    turn, statements = itertools.cycle(range(24)), itertools.count()

    def step() -> None:
        place = next(turn)
        if place % 2:
            hostile.save(sessions[place // 2], '"changes":{"append":{"/messages":["x"]}}')
            return
        stage.sql("update public.free_agent_sessions set name = %s", f"n {next(statements)}")

    return step


def _key_bombs(stage: Stage) -> Step:
    hostile = stage.hostile
    state = json.dumps({f"{number:06d}" + "k" * 1900: 1 for number in range(4500)})

    def step() -> None:
        session_id = hostile.session(name="keys")
        hostile.save(session_id, f'"state":{state}')
        hostile.restore(session_id)

    return step


def _thrown_away_buckets(stage: Stage) -> Step:
    hostile = stage.hostile

    def step() -> None:
        session_id = hostile.session(name="again")
        for number in range(10):
            hostile.save(session_id, f'"state":{{"n":{number}}}')
        hostile.call("DELETE", "/sessions/me?confirm=delete-my-data")

    return step


ATTACKS: Final = (
    Attack(1, "bad content in a list", _bad_content),
    Attack(2, "number bombs", _number_bombs),
    Attack(3, "unwanted invitations", _invitations),
    Attack(4, "poison rows for the clean-up", _poison_rows, threads=1),
    Attack(5, "giant batches for the clean-up", _giant_batches, threads=1),
    Attack(6, "exports, PDFs, old restores", _much_reading, threads=14),
    Attack(6, "old restores, comparisons", _large_reading, threads=16),
    Attack(7, "huge conflict answers", _huge_conflicts),
    Attack(8, "deadlock pairs", _deadlock_pairs, threads=8),
    Attack(9, "key bombs", _key_bombs),
    Attack(10, "limits thrown away", _thrown_away_buckets),
)
