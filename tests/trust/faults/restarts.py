"""Postgres is restarted in order, as for an upgrade, while clients save."""

from __future__ import annotations

import time
from pathlib import Path

from tests.trust.place import Place
from tests.trust.report import Outcome
from tests.trust.writers import PATIENCE_SECONDS, Checker, Shifts, Steady, raise_errors

WRITERS = 4
SHORT, LONG = 3, 30


def restarts(outcome: Outcome, folder: Path, long: bool) -> None:
    """Each writer asks again until it is answered."""
    with Place(folder) as place:
        counted = Outcome("restarts")
        with writing(place, counted) as _:
            for _ in range(LONG if long else SHORT):
                time.sleep(0.7)
                place.postgres.stop()
                place.restart_postgres()
                outcome.count("restarts: of Postgres")
            time.sleep(0.5)
        report(outcome, counted, "restarts")


class writing:
    """Writers while the block runs; at its end everything they saved is checked, on whatever server is named."""

    def __init__(self, place: Place, counted: Outcome, writers: int = WRITERS) -> None:
        self.place = place
        self.counted = counted
        self.dsn = place.postgres.dsn
        self.shifts = Shifts(place.driver())
        self.writers = [Steady(number, place.driver(), self.shifts) for number in range(writers)]

    def __enter__(self) -> writing:
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.shifts.over.set()
        for writer in self.writers:
            writer.join(PATIENCE_SECONDS)
        if error is not None:
            return
        raise_errors(self.writers)
        checker = Checker(self.counted, self.place.driver(), self.dsn)
        for log in self.shifts.all_of_them():
            checker.check(log)


def report(outcome: Outcome, counted: Outcome, what: str) -> None:
    """The writers' figures among the others."""
    for name in ("answered saves", "asked again", "ambiguous", "missing", "counted twice", "refused"):
        outcome.figures[f"{what}: {name}"] = counted.figures[name]
    for name in ("missing", "counted twice", "refused"):
        outcome.require(counted.figures[name] == 0, f"{what}: {counted.figures[name]} {name}")
    outcome.require(int(counted.figures["answered saves"]) > 0, f"{what}: nothing was saved")
