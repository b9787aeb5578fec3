"""Eight writers at once, on one session and on several, with connections cut under them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.property.checks import Storage
from tests.property.drivers import Driver
from tests.property.sql_driver import SqlDriver
from tests.property.writing import Log, Writer, check_log
from tests.support.database import Db

WRITERS = 8
OPERATIONS = 25
KEEP = 4


class Cutter(threading.Thread):
    """Ends database connections of the writers, again and again."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(name="cutter", daemon=True)
        self.storage = storage
        self.over = threading.Event()
        self.cut = 0

    def run(self) -> None:
        while not self.over.wait(0.15):
            rows = self.storage.rows(
                "select count(pg_terminate_backend(pid)) as cut from (select pid from pg_stat_activity"
                " where datname = current_database() and usename = 'authenticator'"
                " order by random() limit 1) a"
            )
            self.cut += rows[0]["cut"]


class Cleaner(threading.Thread):
    """Prunes all sessions, again and again."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(name="cleaner", daemon=True)
        self.driver = driver
        self.over = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.over.wait(0.05):
                self.driver.prune(KEEP, 1)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.error = error


@pytest.fixture(params=["sql", "http"])
def drivers(request: pytest.FixtureRequest, shared: Db) -> Iterator[list[Driver]]:
    """One driver for each writer, all the same person."""
    one: Driver = SqlDriver(shared) if request.param == "sql" else request.getfixturevalue("functions")
    made = [one.another() for _ in range(WRITERS)]
    yield made
    for driver in made:
        driver.close()


@pytest.mark.parametrize("sessions", [1, 3])
def test_writers__at_once(drivers: list[Driver], storage: Storage, sessions: int) -> None:
    for log in write(drivers, new_logs(drivers[0], sessions)):
        check_log(drivers[0], storage, log)
        storage.drop([log.session])


@pytest.mark.parametrize("sessions", [1, 3])
def test_writers__with_connections_cut(drivers: list[Driver], storage: Storage, sessions: int) -> None:
    logs = new_logs(drivers[0], sessions)
    cutter = Cutter(storage)
    cutter.start()
    try:
        write(drivers, logs)
    finally:
        cutter.over.set()
        cutter.join(10)
    assert cutter.cut > 0
    for log in logs:
        check_log(drivers[0], storage, log)
        storage.drop([log.session])


def test_writers__while_the_cleanup_runs(drivers: list[Driver], storage: Storage) -> None:
    cleaner = Cleaner(drivers[0].another())
    cleaner.start()
    try:
        logs = write(drivers, new_logs(drivers[0], 3))
    finally:
        cleaner.over.set()
        cleaner.join(10)
        cleaner.driver.close()
    if cleaner.error is not None:
        raise cleaner.error
    drivers[0].prune(KEEP, 100)
    for log in logs:
        check_log(drivers[0], storage, log, keep=KEEP)
        storage.drop([log.session])


def new_logs(driver: Driver, sessions: int) -> list[Log]:
    """Sessions to write into. Made before anything is cut: without a key of its own that can't be asked twice."""
    return [Log(driver.new_session()) for _ in range(sessions)]


def write(drivers: list[Driver], logs: list[Log]) -> list[Log]:
    """Let all writers do their operations; what they did to each session."""
    writers = [Writer(number, driver, logs, operations=OPERATIONS) for number, driver in enumerate(drivers)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert not writer.is_alive(), f"{writer.name} hangs"
    for writer in writers:
        if writer.error is not None:
            raise writer.error
    assert sum(len(log.done) for log in logs) > WRITERS * OPERATIONS / 3, "hardly anything was accepted"
    return logs
