"""The crash run's short form, and that it would notice a loss."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.property.sql_driver import SqlDriver
from tests.property.test_found import save
from tests.property.writing import Done, Log
from tests.support.database import Db
from tests.trust import crash
from tests.trust.report import Outcome
from tests.trust.writers import Checker


def test_crash__short_form(run_folder: Path) -> None:
    outcome = Outcome("crash")
    crash.run(outcome, run_folder, long=False, say=lambda line: None)
    assert outcome.held, outcome.failures
    assert outcome.figures["missing"] == outcome.figures["counted twice"] == 0


def test_checker__counts_lost_doubled_and_ambiguous(db: Db) -> None:
    driver = SqlDriver(db)
    log = Log(driver.new_session())
    for number in range(1, 4):
        op = save(f'{{"set":{{"/n":{number}}}}}', key=f"k{number}")
        log.done.append(Done(op, driver.save(log.session, op), None))
    lost = save('{"set":{"/n":"lost"}}', key="k4")
    driver.save(log.session, lost)
    sent_at = float(db.value("select extract(epoch from clock_timestamp())"))
    log.done.append(Done(lost, driver.save(log.session, lost), None, lost=1, sent_at=sent_at))

    outcome = checked(db, driver, log)
    assert (outcome.figures["missing"], outcome.figures["counted twice"]) == (0, 0)
    assert outcome.figures["ambiguous"] == 1

    twice = save('{"set":{"/n":"twice"}}')
    driver.save(log.session, twice)
    assert checked(db, driver, log, fails=True).figures["counted twice"] == 1
    db.superuser.execute("delete from session_snapshots where number in (2, 5)")
    assert checked(db, driver, log, fails=True).figures["missing"] == 1


def checked(db: Db, driver: SqlDriver, log: Log, *, fails: bool = False) -> Outcome:
    """What a checker of its own counts; fails: it must also refuse what is stored."""
    outcome = Outcome("crash")
    checker = Checker(outcome, driver, db.dsn)
    copy = Log(log.session, list(log.done))
    if fails:
        with pytest.raises(AssertionError):
            checker.check(copy)
    else:
        checker.check(copy)
    return outcome
