"""The functions without a database login, over PostgREST: Postgres is killed behind it, then PostgREST itself."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from asyouwere.local.ports import free_port
from tests.functions.api import SECRET
from tests.support.postgrest import binary, running_postgrest
from tests.trust.faults.restarts import report, writing
from tests.trust.place import Place
from tests.trust.report import Outcome
from tests.trust.writers import raise_errors

SHORT, LONG = 2, 20
WAIT_SECONDS = 60.0


def over_postgrest(outcome: Outcome, folder: Path, long: bool) -> None:
    """Each writer asks again until it is answered; PostgREST finds its database again by itself."""
    try:
        binary()
    except pytest.skip.Exception as exc:
        outcome.figures["postgrest"] = f"skipped: {exc}"
        return
    with Place(folder) as place, contextlib.ExitStack() as running:
        port = free_port()
        first = running.enter_context(running_postgrest(place.db.api_dsn, SECRET, port=port))
        place.restart_functions(ASYOUWERE_DATABASE="postgrest", ASYOUWERE_POSTGREST_URL=first.url)
        counted = Outcome("postgrest")
        with writing(place, counted) as writers:
            for _ in range(LONG if long else SHORT):
                _until_saved(writers)
                place.postgres.kill()
                place.restart_postgres()
                outcome.count("postgrest: kills of Postgres")
            _until_saved(writers)
            first.process.kill()
            first.process.wait()
            outcome.count("postgrest: kills of PostgREST")
            running.enter_context(running_postgrest(place.db.api_dsn, SECRET, port=port))
            _until_saved(writers)
        report(outcome, counted, "postgrest")


def _until_saved(writers: writing, count: int = 40) -> None:
    """Wait for so many more answered saves."""
    wanted, deadline = writers.shifts.answered + count, time.monotonic() + WAIT_SECONDS
    while writers.shifts.answered < wanted:
        raise_errors(writers.writers)
        assert time.monotonic() < deadline, f"no saves for {WAIT_SECONDS:.0f} s"
        time.sleep(0.02)
