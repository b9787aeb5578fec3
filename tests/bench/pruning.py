"""How fast old snapshots go, and how long somebody who saves meanwhile has to wait for it."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.measurements import Figure, Target, number, percentile
from tests.bench.place import Place, Session
from tests.bench.texts import Messages

GROUP = "Clean-up (SQL)"

SNAPSHOTS = 100
KEPT = 10
SAVERS = 4
CLEAN_UP = "select * from public.cleanup_old_snapshots(p_keep => %s, p_older_than => '1 day')"

# Sessions as 100 saves leave them, a month ago: a message more each time, two values replaced. Written in the
# order in which people who all talk at once save, so that what belongs to one session lies scattered.
FILL_SESSIONS = """
    insert into public.free_agent_sessions (user_id, latest_number, size_bytes, message_count)
    select %s, %s, 60000, %s from generate_series(1, %s) returning id
"""
FILL_SNAPSHOTS = """
    insert into public.session_snapshots
        (session_id, created_at, size_bytes, number, changed_parts, message_count)
    select s.id, now() - interval '30 days', n * 600, n, 3, n
    from generate_series(1, %s) n cross join public.free_agent_sessions s
    where s.id = any (%s) order by n, s.internal_id
"""
FILL_PARTS = """
    insert into asyouwere.parts (session, created_at, since, until, item, ord, size, depth, kind, path, body)
    select w.session, now(), w.n,
        case when p.path = '/messages/' or w.n = %s then 2147483647 else w.n + 1 end,
        case p.path when '/messages/' then w.n - 1 else -1 end, p.ord, length(p.body), 1,
        case p.path when '/messages/' then 'i'::"char" else 'v' end, p.path, p.body
    from (
        select n, s.internal_id as session
        from generate_series(1, %s) n cross join public.free_agent_sessions s
        where s.id = any (%s) order by n, s.internal_id
    ) w cross join lateral (
        values (1, '/messages/', %s), (2, '/step/', w.n::text),
            (3, '/status/', '"working on step ' || w.n || '"')
    ) p (ord, path, body)
"""
FILL_LISTS = """
    insert into asyouwere.parts (session, created_at, since, item, ord, size, depth, kind, path, body)
    select s.internal_id, now(), 1, -1, 4, 2, 1, 'l', '/messages/', '[]'
    from public.free_agent_sessions s where s.id = any (%s)
"""


@dataclass
class Cleaned:
    """What calls until done did: rows taken away, and how long each call took, in seconds."""

    rows: int
    calls: list[float]


def measure(place: Place) -> Iterator[Figure]:
    """A pass with nobody else there, then one under people who save."""
    count = place.rounds(4000, 600)
    _fill(place, count)
    cleaned = _clean_up(place)
    seconds = sum(cleaned.calls)
    yield Figure(
        GROUP,
        f"rows removed a second, {count:,} sessions of {SNAPSHOTS} snapshots",
        cleaned.rows / seconds,
        "rows/s",
        Target(100_000, at_least=True),
        detail=f"{cleaned.rows:,} snapshots and parts in {seconds:.1f} s, {len(cleaned.calls)} calls; "
        "nobody else there",
    )
    ids = _fill(place, count)
    cleaned, waits, quiet = _clean_up_under_savers(place, ids)
    yield Figure(
        GROUP,
        "longest call, which bounds how long a lock is held",
        max(cleaned.calls) * 1000,
        "ms",
        Target(150),
        percentile(cleaned.calls, 10) * 1000,
        percentile(cleaned.calls, 90) * 1000,
        len(cleaned.calls),
        f"{SAVERS} connections saved into the same sessions meanwhile",
    )
    yield Figure(
        GROUP,
        "longest wait of a save meanwhile",
        max(waits),
        "ms",
        Target(150),
        percentile(waits, 10),
        percentile(waits, 90),
        len(waits),
        f"p99 {number(percentile(waits, 99))} ms; just before, without clean-up: "
        f"longest {number(max(quiet))} ms, p99 {number(percentile(quiet, 99))} ms",
    )


def _fill(place: Place, count: int) -> list[uuid.UUID]:
    message = Messages(11)()
    rows = place.superuser.execute(FILL_SESSIONS, (place.user_id, SNAPSHOTS, SNAPSHOTS, count)).fetchall()
    ids = [row[0] for row in rows]
    place.superuser.execute(FILL_SNAPSHOTS, (SNAPSHOTS, ids))
    place.superuser.execute(FILL_PARTS, (SNAPSHOTS, SNAPSHOTS, ids, message))
    place.superuser.execute(FILL_LISTS, (ids,))
    place.settle()
    return ids


def _clean_up(place: Place) -> Cleaned:
    service = place.connect_as_service()
    cleaned = Cleaned(0, [])
    done = False
    while not done:
        begin = time.perf_counter()
        row = service.execute(CLEAN_UP, (KEPT,)).fetchone()
        cleaned.calls.append(time.perf_counter() - begin)
        assert row is not None
        _, snapshots, parts, _, done = row
        cleaned.rows += snapshots + parts
    return cleaned


def _clean_up_under_savers(place: Place, ids: list[uuid.UUID]) -> tuple[Cleaned, list[float], list[float]]:
    """What was done, and the times of the saves meanwhile and just before, in milliseconds."""
    quiet: list[float] = []
    waits: list[float] = []
    times = quiet
    over = threading.Event()

    def save(seed: int) -> None:
        connection = place.connect_as_user()
        chosen = random.Random(seed)
        messages = Messages(seed).take(50)
        while not over.is_set():
            session = Session(connection, chosen.choice(ids))
            session.number = None
            begin = time.perf_counter()
            session.append(chosen.choice(messages))
            times.append((time.perf_counter() - begin) * 1000)

    savers = [threading.Thread(target=save, args=(seed,)) for seed in range(SAVERS)]
    for saver in savers:
        saver.start()
    try:
        time.sleep(place.rounds(5, 2))
        times = waits
        cleaned = _clean_up(place)
    finally:
        over.set()
        for saver in savers:
            saver.join()
    return cleaned, waits, quiet
