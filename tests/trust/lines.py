"""Cut lines: answers lost after COMMIT, delays, duplicates, fifty copies at once, and keys that come back.

Four parts: writers behind two bad lines; copies of one save that arrive together; every key of a session sent
again more than a week and a clean-up later; and keys sent again with another content.
"""

from __future__ import annotations

import asyncio
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.functions.api import BASE, token_for
from tests.property.checks import Storage
from tests.property.drivers import Driver, Refusal
from tests.property.model import Operation
from tests.property.writing import Done, Log, again, check_everything, replayed
from tests.trust.place import Place
from tests.trust.proxy import DatabaseLine, Proxy, RequestLine
from tests.trust.report import Outcome, Say
from tests.trust.writers import PATIENCE_SECONDS, SEED, Checker, Shifts, Steady, raise_errors

WRITERS = 8
TROUBLE = 0.03
COPIES = 50
SHORT_ANSWERED, LONG_ANSWERED = 400, 20_000
SHORT_ROUNDS, LONG_ROUNDS = 20, 1_000
ROUNDS_A_SESSION = 100
SHORT_KEYS, LONG_KEYS = 40, 1_000
KEYS_A_SESSION = 100
LATER = "8 days"
LIMIT_SECONDS = 1800.0


def run(outcome: Outcome, folder: Path, long: bool, say: Say) -> None:
    """All four parts, in one place."""
    outcome.short = (
        "answered saves", "missing", "counted twice", "cut after COMMIT, before the answer",
        f"saves sent as {COPIES} copies at once", "keys sent again after 8 days", "keys with another content",
    )  # fmt: skip
    with Place(folder) as place, DatabaseLine(place.postgres.port, SEED) as line:
        outcome.facts.update(place.facts())
        direct = place.environment["ASYOUWERE_DATABASE_URL"]
        through = direct.replace(f":{place.postgres.port}/", f":{line.port}/")
        place.restart_functions(ASYOUWERE_DATABASE_URL=through)
        behind_bad_lines(outcome, place, line, LONG_ANSWERED if long else SHORT_ANSWERED, say)
        copies_at_once(outcome, place, LONG_ROUNDS if long else SHORT_ROUNDS, say)
        keys_again(outcome, place, LONG_KEYS if long else SHORT_KEYS, say)


# -- cuts, delays, duplicates ------------------------------------------------------------------------------------


def behind_bad_lines(outcome: Outcome, place: Place, line: Proxy, answered: int, say: Say) -> None:
    """Writers that ask again until they are answered; nothing may be missing or there twice."""
    with RequestLine(place.functions.port, SEED + 1) as requests:
        shifts = Shifts(place.driver())
        url = f"http://127.0.0.1:{requests.port}"
        writers = [Steady(number, place.driver(url), shifts) for number in range(WRITERS)]
        line.trouble = requests.trouble = TROUBLE
        begin = time.monotonic()
        checker = Checker(outcome, place.driver(), place.postgres.dsn)
        for writer in writers:
            writer.start()
        while shifts.answered < answered and time.monotonic() - begin < LIMIT_SECONDS:
            time.sleep(0.5)
            raise_errors(writers)
            say(f"bad lines: {shifts.answered:,} of {answered:,} saves answered")
            shifts.refill()
            with shifts.paused():
                for log in shifts.take_retired():
                    checker.check(log)
        shifts.over.set()
        for writer in writers:
            writer.join(PATIENCE_SECONDS)
        raise_errors(writers)
        line.trouble = requests.trouble = 0.0
        time.sleep(1.2)  # until the last duplicate has come, too
        for log in shifts.all_of_them():
            checker.check(log)
    outcome.figures.update(line.counts + requests.counts)
    for name in ("missing", "counted twice", "refused"):
        outcome.require(outcome.figures[name] == 0, f"{outcome.figures[name]} {name}")
    for name in (
        "cut after COMMIT, before the answer",
        "answer lost",
        "sent twice at once",
        "sent once more, later",
    ):
        outcome.require(int(outcome.figures.get(name, 0)) > 0, f"nothing was {name}")


# -- fifty at once -----------------------------------------------------------------------------------------------


def copies_at_once(outcome: Outcome, place: Place, rounds: int, say: Say) -> None:
    """Fifty copies of one save arrive together: one is done, all get the same answer."""
    asyncio.run(_copies_at_once(outcome, place, rounds, say))


async def _copies_at_once(outcome: Outcome, place: Place, rounds: int, say: Say) -> None:
    driver, storage = place.driver(), place.storage()
    log = Log(driver.new_session())
    headers = {"Authorization": f"Bearer {token_for(place.user)}"}
    # the server closes connections that were idle for 5 seconds
    limits = httpx.Limits(max_connections=COPIES, max_keepalive_connections=COPIES, keepalive_expiry=2)
    async with httpx.AsyncClient(
        base_url=place.url + BASE, headers=headers, limits=limits, timeout=60, trust_env=False
    ) as client:
        for count in range(rounds):
            if len(log.done) == ROUNDS_A_SESSION:
                check_tables_and_latest(driver, storage, log)
                log = Log(driver.new_session())
            op = plain_save(f"copies {count}")
            body = {
                "session_id": log.session,
                "idempotency_key": op["key"],
                "changes": json.loads(op["changes"]),
            }
            sent = [client.post("/session-snapshot-save", json=body) for _ in range(COPIES)]
            answers = await asyncio.gather(*sent)
            assert all(answer.status_code == 200 for answer in answers), [a.text for a in answers][:3]
            first = agreed([answer.json() for answer in answers])
            log.done.append(Done(op, {**first, "others": None}, None))
            outcome.count(f"saves sent as {COPIES} copies at once")
            say(f"copies: {count + 1:,} of {rounds:,} saves")
    check_tables_and_latest(driver, storage, log)


def agreed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The one answer that all copies got; exactly one of them did it, the others were told of it."""
    told = [row["replayed"] for row in rows]
    assert told.count(False) == 1, f"done {told.count(False)} times"
    rows = [{**row, "replayed": False} for row in rows]
    assert all(row == rows[0] for row in rows), f"different answers: {rows}"
    return rows[0]


def check_tables_and_latest(driver: Driver, storage: Storage, log: Log) -> None:
    """The tables for every number, and the latest as clients see it."""
    model = replayed(log)
    storage.check_tables(log.session, model)
    restored = driver.restore(log.session)
    storage.check_state(restored.state, model.state, "the latest")


def plain_save(name: str) -> Operation:
    """A save that can't be refused."""
    changes = f'{{"append":{{"/messages":["{name}"]}},"set":{{"/step":"{name}"}}}}'
    return {
        "do": "save",
        "on": 0,
        "base": None,
        "key": name,
        "label": None,
        "on_conflict": "merge",
        "way": 0,
        "changes": changes,
    }


# -- keys that come back -----------------------------------------------------------------------------------------


def keys_again(outcome: Outcome, place: Place, keys: int, say: Say) -> None:
    """More than a week and a clean-up later each key gives its first answer; with another content, an error."""
    driver, storage = place.driver(), place.storage()
    for begin in range(0, keys, KEYS_A_SESSION):
        count = min(KEYS_A_SESSION, keys - begin)
        log = Log(driver.new_session())
        for number in range(count):
            op = plain_save(f"key {number}")
            log.done.append(Done(op, driver.save(log.session, op), None))
        model = replayed(log)
        _age(storage, log.session)
        driver.prune(keep=5, batch=100)
        model.prune(5)
        before = _rows(storage, log.session)
        for done in log.done:
            row = driver.save(log.session, done.op)
            assert (row["number"], row["replayed"]) == (done.row["number"], True), f"{row} after {LATER}"
            outcome.count("keys sent again after 8 days")
        for done in log.done:
            other = {**done.op, "changes": '{"set":{"/step":"another content"}}'}
            with pytest.raises(Refusal) as refused:
                driver.save(log.session, other)
            assert refused.value.code == "idempotency_key_reused", refused.value
            outcome.count("keys with another content")
        assert _rows(storage, log.session) == before, "something was written"
        again(partial(check_everything, driver, storage, log, model))
        say(f"keys: {begin + count:,} of {keys:,}")


def _age(storage: Storage, session: str) -> None:
    """As if it had been saved so much earlier."""
    storage.rows_without(
        f"update asyouwere.save_keys set created_at = created_at - interval '{LATER}' where session ="
        " (select internal_id from free_agent_sessions where id = %s)",
        session,
    )
    storage.rows_without(
        f"update session_snapshots set created_at = created_at - interval '{LATER}' where session_id = %s",
        session,
    )


def _rows(storage: Storage, session: str) -> list[Any]:
    """Every row of a session, in every table."""
    (row,) = storage.rows("select * from free_agent_sessions where id = %s", session)
    internal = row["internal_id"]
    return [
        row,
        storage.rows("select * from session_snapshots where session_id = %s order by number", session),
        storage.rows("select * from asyouwere.parts where session = %s order by since, ord", internal),
        storage.rows("select * from asyouwere.save_keys where session = %s order by key", internal),
    ]
