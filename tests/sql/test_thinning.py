"""History that thins out, against a small model over two simulated years."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.sql.test_cleanup import USELESS, cleanup_until_done, kept
from tests.support.database import Db

DAY = timedelta(days=1)
HOURLY_FROM, DAILY_FROM, MONTHLY_FROM = 7 * DAY, 30 * DAY, 365 * DAY
NEWEST = 100

#: A snapshot and a part that only it can see for each number; the rows are written as a save of that time would have.
MADE_THEN = """
    with session as (
        update public.free_agent_sessions set latest_number = %(last)s where id = %(id)s returning id, internal_id
    ), made as (
        select * from unnest(%(numbers)s::int[], %(times)s::timestamptz[], %(labels)s::text[]) as m (number, at, label)
    ), snapshots as (
        insert into public.session_snapshots (session_id, number, created_at, label, size_bytes, changed_parts, message_count)
        select s.id, m.number, m.at, m.label, 1, 1, 0 from session s, made m
    )
    insert into asyouwere.parts (session, since, until, ord, size, depth, kind, created_at, path, body)
    select s.internal_id, m.number, case when m.number < %(last)s then m.number + 1 else 2147483647 end,
        1, 1, 1, 'v', m.at, '/n/', '1'
    from session s, made m
"""


@dataclass
class History:
    """All snapshots that were ever made of a session. times[0] is number 1's."""

    times: list[datetime] = field(default_factory=list)
    labels: dict[int, str] = field(default_factory=dict)

    def kept(self, now: datetime) -> list[int]:
        """The numbers that clean-up leaves, by the rule as one would say it, looking at everything at once."""
        last_of: dict[tuple[int, ...], int] = {}
        for number, at in enumerate(self.times, 1):
            for depth in (2, 3, 4):
                last_of[at.timetuple()[:depth]] = number
        numbered = enumerate(self.times, 1)
        return [number for number, at in numbered if self._stays(number, at, now, last_of)]

    def _stays(self, number: int, at: datetime, now: datetime, last_of: dict[tuple[int, ...], int]) -> bool:
        age = now - at
        if number in self.labels or number > len(self.times) - NEWEST or age < HOURLY_FROM:
            return True
        depth = 4 if age < DAILY_FROM else 3 if age < MONTHLY_FROM else 2
        return last_of[at.timetuple()[:depth]] == number


def write(db: Db, session_id: UUID, history: History, already: int) -> None:
    numbers = list(range(already + 1, len(history.times) + 1))
    if numbers:
        db.superuser.execute("update asyouwere.parts set until = %s where until = 2147483647", (numbers[0],))
        db.superuser.execute(
            MADE_THEN,
            {
                "id": session_id, "numbers": numbers, "times": history.times[already:],
                "last": numbers[-1], "labels": [history.labels.get(number) for number in numbers],
            },
        )  # fmt: skip


def clean_up_at(db: Db, moment: datetime) -> None:
    """As if it were that moment: everything is older by what has passed since, so all ages are."""
    since = datetime.now(UTC) - moment
    ages = {"keep_for": HOURLY_FROM, "keep_hourly_for": DAILY_FROM, "keep_daily_for": MONTHLY_FROM}
    for name, age in ages.items():
        db.superuser.execute(f"update asyouwere.settings set {name} = %s".encode(), (age + since,))
    cleanup_until_done(db)


@pytest.mark.parametrize("seed", [1, 2])
def test_thinning__two_years_pass_as_in_the_model(db: Db, seed: int) -> None:
    chance = random.Random(seed)
    session_id = db.session("ada")
    history = History()
    # somewhat off the full minute, so that the seconds that the test takes move nothing over a boundary
    moment = datetime.now(UTC).replace(minute=30, second=0, microsecond=0) - timedelta(days=760)
    for _ in range(25):
        already = len(history.times)
        until = moment + timedelta(days=chance.choice([0.05, 3, 20, 60]))
        while moment < until and len(history.times) < already + 400:
            moment += timedelta(minutes=chance.choice([1, 2, 7, 61, 60 * 13]))
            history.times.append(moment)
            if chance.random() < 0.01:
                history.labels[len(history.times)] = f"label {len(history.times)}"
        moment = max(moment, until) + timedelta(seconds=30)
        write(db, session_id, history, already)
        clean_up_at(db, moment)
        assert kept(db, session_id) == history.kept(moment), moment
        assert db.superuser.execute(USELESS.encode()).fetchall() == []
    assert len(kept(db, session_id)) < len(history.times) / 2
    # the parts that are left are those of the kept numbers, and the session's sum of them is right
    assert db.value("select count(*) from asyouwere.parts") == len(kept(db, session_id))


def test_thinning__comes_back_when_something_is_due(db: Db) -> None:
    """Also though nothing was saved meanwhile; and until then it does not look."""
    session_id = db.session("ada")
    at_ten = (datetime.now(UTC) - timedelta(days=29)).replace(hour=10, minute=0, second=0, microsecond=0)
    history = History([at_ten, at_ten + timedelta(hours=1), at_ten + timedelta(hours=2), datetime.now(UTC)])
    write(db, session_id, history, 0)
    db.superuser.execute("update asyouwere.settings set keep_snapshots = 1")
    cleanup_until_done(db)
    assert kept(db, session_id) == [1, 2, 3, 4]
    due = db.value("select due_at from asyouwere.thinned")
    assert due == at_ten + timedelta(days=30)
    let_pass(db, "2 days")
    cleanup_until_done(db)
    assert kept(db, session_id) == [3, 4]


def let_pass(db: Db, time: str) -> None:
    """Make everything so many whole days older."""
    for statement in (
        "update public.session_snapshots set created_at = created_at - %(time)s::interval",
        "update asyouwere.thinned set due_at = due_at - %(time)s::interval",
    ):
        db.superuser.execute(statement.encode(), {"time": time})


def test_thinning__another_setting_looks_at_all_again(db: Db) -> None:
    session_id = db.session("ada")
    start = (datetime.now(UTC) - timedelta(days=20)).replace(hour=0, minute=5, second=0, microsecond=0)
    history = History([start + timedelta(minutes=10 * n) for n in range(60)])  # ten hours
    write(db, session_id, history, 0)
    db.superuser.execute("update asyouwere.settings set keep_snapshots = 1")
    cleanup_until_done(db)
    assert kept(db, session_id) == [n for n in range(1, 61) if n % 6 == 0]
    db.superuser.execute(
        "update asyouwere.settings set keep_hourly_for = '0', keep_daily_for = '0', keep_monthly_for = '0'"
    )
    cleanup_until_done(db)
    assert kept(db, session_id) == [60]


def test_thinning__a_label_taken_away_is_judged_like_the_others(db: Db) -> None:
    session_id = db.session("ada")
    start = (datetime.now(UTC) - timedelta(days=20)).replace(hour=3, minute=0, second=0, microsecond=0)
    history = History([start + timedelta(minutes=n) for n in range(5)], {2: "two", 3: "three"})
    write(db, session_id, history, 0)
    db.superuser.execute("update asyouwere.settings set keep_snapshots = 1")
    cleanup_until_done(db)
    assert kept(db, session_id) == [2, 3, 5]
    with db.acting_as("ada"):
        db.one("label_snapshot", p_session_id=session_id, p_number=2, p_label=None)
    cleanup_until_done(db)
    assert kept(db, session_id) == [3, 5]
    assert db.superuser.execute(USELESS.encode()).fetchall() == []


@pytest.mark.parametrize(
    "change",
    ["keep_for = '-1 day'", "keep_hourly_for = null", "keep_daily_for = '400 years'", "keep_monthly_for = '-1 s'"],
)
def test_settings__ages_that_make_no_sense(db: Db, change: str) -> None:
    with pytest.raises(Exception, match=r"check constraint|not-null constraint"):
        db.superuser.execute(f"update asyouwere.settings set {change}".encode())


def test_retention__of_a_call_with_an_interval_of_opposite_signs(db: Db) -> None:
    def refused(arguments: dict[str, Any]) -> None:
        with db.acting_as("service"), db.refuses("invalid_argument"):
            db.one("cleanup_old_snapshots", **arguments)

    refused({"p_older_than": "400000 years"})
    refused({"p_older_than": "-100000 years 100 days"})
    with db.acting_as("service"):
        assert db.one("cleanup_old_snapshots", p_older_than="100000 years -36525000 days")["snapshots"] == 0
