"""What very many saves leave on the disk while the clean-up runs: dead rows, size for each living one, HOT updates."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from tests.bench.crowding import MAKE_SESSIONS, PREFIX, bear_numbers, crowd
from tests.bench.measurements import Figure, Target, number, percentile
from tests.bench.place import Place

GROUP = "Growth: a long run"

SAVES, QUICK_SAVES = 1_000_000, 20_000
SESSIONS = 500
CONNECTIONS = 8
KEPT = 10
TABLES = ("asyouwere.parts", "public.session_snapshots", "public.free_agent_sessions")

# A message appended by every tenth save, so that the disk does not fill; the step and a note replaced by each.
ANY = f"('{PREFIX}' || lpad(:session::text, 12, '0'))::uuid"
SAVE = f"""
\\set session random(1, {SESSIONS})
\\set step random(1, 1000000000)
\\if :append
select number from public.save_session_parts({ANY}, '{{append,set,set}}', '{{/messages/,/step/,/note/}}', '{{null,-1,-1}}',
    array['MESSAGE', :step::text, '"at step ' || :step || '"']);
\\else
select number from public.save_session_parts({ANY}, '{{set,set}}', '{{/step/,/note/}}', '{{-1,-1}}',
    array[:step::text, '"at step ' || :step || '"']);
\\endif
"""
SAVE = "\\set append random(1, 10) = 1\n" + SAVE
CLEAN_UP = "select snapshots, done from public.cleanup_old_snapshots(p_keep => %s, p_older_than => '0')"
STATISTICS = """
    select n_live_tup, n_dead_tup, n_tup_upd, n_tup_hot_upd, autovacuum_count, pg_table_size(relid), pg_indexes_size(relid)
    from pg_stat_user_tables where relid = %s::regclass
"""


def measure(place: Place) -> Iterator[Figure]:
    """A fixed number of saves by pgbench, the clean-up over and over beside it; then vacuum, then a table written anew."""
    saves = QUICK_SAVES if place.quick else SAVES
    with place.fresh() as elsewhere:
        elsewhere.superuser.execute(MAKE_SESSIONS, (PREFIX, elsewhere.user_id, SESSIONS))
        bear_numbers(elsewhere, SESSIONS)
        elsewhere.settle()
        over = threading.Event()
        removed: list[int] = []
        cleaner = threading.Thread(target=_clean_up, args=(elsewhere, over, removed))
        cleaner.start()
        try:
            ran = crowd(elsewhere, SAVE, clients=CONNECTIONS, transactions=saves // CONNECTIONS)
        finally:
            over.set()
            cleaner.join()
        times = f"p50 {number(percentile(ran.times, 50))} ms, p99 {number(percentile(ran.times, 99))} ms"
        detail = f"{times}; {CONNECTIONS} connections, {SESSIONS} sessions; clean-up beside it took {sum(removed):,} snapshots away"
        yield Figure(GROUP, f"{saves:,} saves", ran.rate, "saves/s", samples=len(ran.times), detail=detail)
        # the last tenth against the first: does it get slower?
        tenth = max(1, len(ran.times) // 10)
        first, last = (percentile(times, 50) for times in (ran.times[:tenth], ran.times[-tenth:]))
        yield Figure(
            GROUP,
            "the last tenth of them against the first, p50",
            last / first,
            "×",
            Target(1.15),
            detail=f"{number(last)} ms against {number(first)} ms",
        )
        elsewhere.superuser.execute("select pg_stat_force_next_flush()")
        for table in TABLES:
            yield from _table(elsewhere, table)


def _clean_up(place: Place, over: threading.Event, removed: list[int]) -> None:
    service = place.connect_as_service()
    while not over.wait(0.05):
        row = service.execute(CLEAN_UP, (KEPT,)).fetchone()
        assert row is not None
        removed.append(row[0])
        if row[1]:
            over.wait(1)


def _table(place: Place, table: str) -> Iterator[Figure]:
    _, dead, updates, hot, vacuums, heap, indexes = _row(place, STATISTICS, table)
    (live,) = _row(place, "select count(*) from " + table)
    about = f"{live:,} rows live, {dead:,} dead, {vacuums} autovacuums during the run"
    yield Figure(GROUP, f"{table}: dead for each 100 live", 100 * dead / live, "", detail=about)
    if "sessions" in table:
        share = 100 * hot / max(1, updates)
        yield Figure(
            GROUP,
            f"{table}: updates that stayed on their page (HOT)",
            share,
            "%",
            Target(90, at_least=True),
            detail=f"of {updates:,}",
        )
    place.superuser.execute(f"vacuum full {table}".encode())
    *_, heap_anew, indexes_anew = _row(place, STATISTICS, table)
    yield Figure(
        GROUP,
        f"{table}: size against the table written anew",
        (heap + indexes) / (heap_anew + indexes_anew),
        "×",
        detail=f"{heap / live:,.0f} bytes of table and {indexes / live:,.0f} of indexes for each living row, "
        f"anew {heap_anew / live:,.0f} and {indexes_anew / live:,.0f}",
    )


def _row(place: Place, query: str, *parameters: object) -> tuple[Any, ...]:
    row = place.superuser.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row
