"""Oracles: nobody learns whether somebody else's session exists, and nobody gets another one's role.

A session of somebody else's, one that was deleted and one that never was are asked for by every way there is: all
addresses of the functions, every function and table that PostgREST exposes (a real one), and SQL as each role.
The answers must be the same byte for byte. How long they take is compared as well: AUC is how often one of the
first kind takes longer than one of the second, 0.5 if nobody can tell. Then calls of many users share three
server connections through PgBouncer in transaction mode, and each must be itself.
"""

from __future__ import annotations

import asyncio
import bisect
import json
import random
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.functions.api import SECRET, Person, serving, settings_for, token_for
from tests.functions.pooler import PROGRAM, pooler
from tests.functions.test_access import ATTEMPTS
from tests.functions.test_database import PROBES, mixed_calls
from tests.sql import access_matrix as matrix
from tests.support.database import Db
from tests.support.postgrest import running_postgrest
from tests.trust.place import Place
from tests.trust.report import Outcome, Say

KINDS = ("foreign", "deleted", "never")
TRIES, LONG_TRIES = 60, 1_000
CALLS, LONG_CALLS = 500, 10_000
#: Of a thousand tries each the AUC of equal times has a standard deviation of 0.013.
FURTHEST = 0.06
OWN = ("x-request-id", "date", "server-timing")

Ids = dict[str, uuid.UUID]


def run(outcome: Outcome, folder: Path, long: bool, say: Say) -> None:
    """Compare answers, then times, then see who is who behind a pooler."""
    outcome.short = ("questions", "told apart", "AUC of the times", "pooled calls", "leaks")
    outcome.figures.update({"questions": 0, "told apart": 0})
    with Place(folder, settings={"max_connections": "60"}) as place:
        outcome.facts.update(place.facts())
        db, dsn = place.db, place.environment["ASYOUWERE_DATABASE_URL"]
        with serving(settings_for(dsn)) as url:
            eve = Person(url, str(db.user("eve")), token_for(str(db.user("eve"))))
            _functions(outcome, db, eve)
            say("functions")
            _times(outcome, db, eve, LONG_TRIES if long else TRIES, long)
            say("times")
            eve.http.close()
        with running_postgrest(dsn, SECRET) as rest:
            _exposed(outcome, db, rest.url)
        say("PostgREST")
        _roles(outcome, db)
        _pooled(outcome, db, LONG_CALLS if long else CALLS)


def sessions(db: Db) -> Ids:
    """One of ada's, one of eve's that is gone, and an id that nobody ever had."""
    ids = {"foreign": db.session("ada"), "deleted": db.session("eve"), "never": uuid.uuid4()}
    for kind, owner in (("foreign", "ada"), ("deleted", "eve")):
        with db.acting_as(owner):
            db.save(ids[kind], {"messages": ["a"], "n": 1}, p_label="l", p_idempotency_key="k")
    with db.acting_as("eve"):
        db.call("delete_session", p_session_id=ids["deleted"])
    return ids


def compare(outcome: Outcome, question: str, answers: dict[str, str]) -> None:
    """Note a question whose answers differ."""
    outcome.count("questions")
    if "session_not_found" in next(iter(answers.values())):
        outcome.count("answered: no such session")
    if len(set(answers.values())) > 1:
        outcome.count("told apart")
        outcome.failures.append(f"{question}: {json.dumps(answers)[:800]}")


def _functions(outcome: Outcome, db: Db, eve: Person) -> None:
    ids = sessions(db)
    for name, (attempt, _) in ATTEMPTS.items():
        answers = {kind: attempt(eve, str(ids[kind]), str(db.user("ada"))) for kind in KINDS}
        compare(outcome, f"functions: {name}", {kind: shown(answer) for kind, answer in answers.items()})


def _exposed(outcome: Outcome, db: Db, url: str) -> None:
    """Every function and relation in public, signed in and not."""
    ids = sessions(db)
    names = [row["name"] for row in db.superuser.execute(
        "select p.proname as name from pg_catalog.pg_proc p where p.pronamespace = 'public'::regnamespace"
        " and 'p_session_id' = any (p.proargnames)"
    )]  # fmt: skip
    relations = [row["name"] for row in db.superuser.execute(
        "select c.relname as name, a.attname from pg_catalog.pg_class c join pg_catalog.pg_attribute a on a.attrelid = c.oid"
        " where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v') and a.attname = 'session_id'"
    )]  # fmt: skip
    outcome.figures["exposed functions that name a session"] = len(names)
    for who in ("eve", None):
        headers = {} if who is None else {"Authorization": f"Bearer {token_for(str(db.user(who)))}"}
        with httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
            for name in names:
                # a function that is not listed there fails here: it has to be thought of
                arguments = matrix.FUNCTIONS[f"public.{name}"].arguments
                bodies = {kind: _json(arguments(None, ids[kind])) for kind in KINDS}  # type: ignore[arg-type]
                compare(outcome, f"PostgREST as {who}: {name}", {
                    kind: shown(client.post(f"/rpc/{name}", content=body, headers={"Content-Type": "application/json"}))
                    for kind, body in bodies.items()
                })  # fmt: skip
            for relation in (*relations, "sessions_list", "free_agent_sessions"):
                column = "id" if relation in ("sessions_list", "free_agent_sessions") else "session_id"
                _relation(outcome, client, f"PostgREST as {who}: {relation}", relation, column, ids)


def _relation(
    outcome: Outcome, client: httpx.Client, question: str, relation: str, column: str, ids: Ids
) -> None:
    def ask(method: str, kind: str, **options: Any) -> str:
        path = f"/{relation}?{column}=eq.{ids[kind]}"
        prefer = {"Prefer": "count=exact, return=representation"}
        return shown(client.request(method, path, headers=prefer, **options))

    compare(outcome, f"{question} read", {kind: ask("GET", kind) for kind in KINDS})
    compare(outcome, f"{question} delete", {kind: ask("DELETE", kind) for kind in KINDS})
    compare(outcome, f"{question} update", {kind: ask("PATCH", kind, json={"name": "x"}) for kind in KINDS})
    if column == "session_id":
        new = {"role": "viewer", "content": "x"} if relation == "session_messages" else {}
        compare(outcome, f"{question} insert", {
            kind: shown(client.post(f"/{relation}", json={column: str(ids[kind]), **new})).replace(str(ids[kind]), "")
            for kind in KINDS
        })  # fmt: skip


def _roles(outcome: Outcome, db: Db) -> None:
    """By SQL: what the server says of an error, down to its context."""
    ids = sessions(db)
    for who in ("eve", None):
        connection = db.connect_as(who)
        for name in matrix.ABOUT_A_SESSION:
            answers = {}
            for kind in KINDS:
                arguments = matrix.FUNCTIONS[name].arguments(None, ids[kind])  # type: ignore[arg-type]
                try:
                    answers[kind] = repr(db.call(name, on=connection, **arguments))
                except psycopg.Error as exc:
                    seen = exc.diag
                    answers[kind] = repr(
                        [getattr(seen, field) for field in dir(seen) if not field.startswith("_")][:40]
                    )
            compare(
                outcome,
                f"SQL as {who}: {name}",
                {kind: _neutral(text, ids) for kind, text in answers.items()},
            )


def _times(outcome: Outcome, db: Db, eve: Person, tries: int, long: bool) -> None:
    ids = sessions(db)
    asked: dict[str, Callable[[str], httpx.Response]] = {
        "restore": lambda sid: eve.restore(sid),
        "save": lambda sid: eve.save(sid, state={"n": 1}),
    }
    for what, ask in asked.items():
        took: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for number in range(tries + 10):
            for kind in random.sample(KINDS, 3):  # in any order, so that what goes on besides hits all alike
                begin = time.perf_counter()
                ask(str(ids[kind]))
                if number >= 10:  # warm by then
                    took[kind].append(time.perf_counter() - begin)
        for kind in ("foreign", "deleted"):
            value = auc(took[kind], took["never"])
            outcome.figures[f"AUC of the times: {what}, {kind} against never"] = f"{value:.3f}"
            outcome.require(
                not long or abs(value - 0.5) <= FURTHEST,
                f"{what}: times of {kind} are told apart, AUC {value:.3f}",
            )
            worst = max(
                (value, str(outcome.figures.get("AUC of the times", "0.5"))),
                key=lambda v: abs(float(v) - 0.5),
            )
            outcome.figures["AUC of the times"] = f"{float(worst):.3f}"
    outcome.figures["tries of each"] = tries


def auc(ones: list[float], others: list[float]) -> float:
    """How often one of the first is larger than one of the second; equal ones count half."""
    ordered = sorted(others)
    below = sum(bisect.bisect_left(ordered, one) + bisect.bisect_right(ordered, one) for one in ones)
    return below / 2 / (len(ones) * len(ordered))


def _pooled(outcome: Outcome, db: Db, calls: int) -> None:
    if not Path(PROGRAM).exists():
        outcome.facts["pooled calls"] = "left out: needs Debian's package pgbouncer"
        return
    db.superuser.execute(PROBES.encode())
    outcome.figures.update({"pooled calls": calls, "leaks": 0})
    with pooler(db.api_dsn, server_connections=3) as dsn:
        try:
            backends = asyncio.run(mixed_calls(dsn, db, calls, refused=True))
            outcome.figures["server connections they shared"] = len(backends)
        except AssertionError as exc:
            outcome.count("leaks")
            outcome.failures.append(f"a pooled call was somebody else's: {exc}")
        for _ in range(20):
            with psycopg.connect(dsn, autocommit=True) as connection:
                left = connection.execute(
                    "select current_user, coalesce(current_setting('request.jwt.claims', true), '')"
                ).fetchone()
            if left != ("authenticator", ""):
                outcome.count("leaks")
                outcome.failures.append("a pooled connection came with somebody's role or claims")


def shown(answer: httpx.Response) -> str:
    """All that a caller sees of an answer, but for the request's own id, path and time."""
    headers = sorted(
        (name, value) for name, value in answer.headers.items() if name not in (*OWN, "content-location")
    )
    return json.dumps([answer.status_code, headers, answer.text])


def _json(arguments: dict[str, Any]) -> str:
    return json.dumps(arguments, default=str)


def _neutral(text: str, ids: Ids) -> str:
    for session_id in ids.values():
        text = text.replace(str(session_id), "")
    return text
