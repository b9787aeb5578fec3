"""Too little of something: connections, locks, time."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg

from tests.functions.api import Person, token_for
from tests.trust.faults.probe import Probe
from tests.trust.place import Place
from tests.trust.report import Outcome

HURRY = {"ASYOUWERE_STATEMENT_TIMEOUT_SECONDS": "1", "ASYOUWERE_POOL_TIMEOUT_SECONDS": "1"}
MINE = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'asyouwere'"


def no_connections_left(outcome: Outcome, folder: Path, long: bool) -> None:
    """Others hold all that max_connections allows."""
    with Place(folder, settings={"max_connections": "12"}, environment=HURRY) as place:
        probe = Probe(outcome, place, "connections")
        admin = place.db.superuser
        with contextlib.ExitStack() as others:
            _eat(place, others)
            # it has one or more, and no need of others
            probe.goes_on(probe.save(), "a save on a connection it had")
            admin.execute(MINE)
            _eat(place, others)
            for _ in range(3):
                probe.is_told(probe.save(), "a save without a connection")
                probe.is_told(probe.read(), "a read without a connection")
        probe.recovers()


def _eat(place: Place, others: contextlib.ExitStack) -> None:
    """Open connections until there are none left."""
    while True:
        try:
            others.enter_context(contextlib.closing(psycopg.connect(place.db.api_dsn)))
        except psycopg.OperationalError:
            return


def locks_held(outcome: Outcome, folder: Path, long: bool) -> None:
    """A transaction that does not end holds a session's row, then the whole table."""
    with Place(folder, environment=HURRY) as place:
        probe = Probe(outcome, place, "locks")
        other = probe.person.session()
        with psycopg.connect(place.postgres.dsn) as holder:
            holder.execute("select 1 from free_agent_sessions where id = %s for update", (probe.session,))
            probe.is_told(probe.save(name="held up"), "a save into the locked session")
            probe.goes_on(probe.read(), "a read of the locked session")
            probe.goes_on(probe.save(other), "a save into another session")
            probe.goes_on(_clean_up(place), "the clean-up")
            # more savers than the functions have connections
            with ThreadPoolExecutor(12) as pool:
                answers = list(pool.map(lambda n: probe.save(name=f"held up {n}"), range(12)))
            for answer in answers:
                probe.is_told(answer, "a save into the locked session")
        probe.recovers()
        probe.goes_on(probe.save(name="held up"), "the save, sent again")
        with psycopg.connect(place.postgres.dsn) as holder:
            holder.execute("lock table free_agent_sessions in access exclusive mode")
            probe.is_told(probe.save(), "a save with the table locked")
            probe.is_told(probe.read(), "a read with the table locked")
        probe.recovers()


def _clean_up(place: Place) -> httpx.Response:
    service = Person(place.url, None, token_for("scheduler", "service_role"))
    place.closing(service.http)
    return service.post("cleanup-old-snapshots", {})


def slow_statements(outcome: Outcome, folder: Path, long: bool) -> None:
    """Every save takes longer than a call may."""
    with Place(folder, environment=HURRY) as place:
        probe = Probe(outcome, place, "slow")
        admin = place.db.superuser
        admin.execute(
            "create function asyouwere.dawdle() returns trigger language plpgsql as"
            " $$ begin perform pg_sleep(30); return new; end $$"
        )
        admin.execute(
            "create trigger dawdle before insert on session_snapshots"
            " for each row execute function asyouwere.dawdle()"
        )
        for _ in range(2):
            probe.is_told(probe.save(name="slow"), "a save that takes too long")
            probe.goes_on(probe.read(), "a read")
        admin.execute("drop trigger dawdle on session_snapshots")
        admin.execute("drop function asyouwere.dawdle()")
        probe.goes_on(probe.save(name="slow"), "the save, sent again")
        probe.recovers()
