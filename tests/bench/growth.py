"""Whether saving, restoring, listing and polling stay as quick when there is very much of everything.

Each is done in turn in a large place and in a small one, and the two are compared: many sessions against fifty,
many parts in a session against ten, a long history against a short one. What is large is written by SQL in the
shape that saves leave behind; see the statements below.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from tests.bench import bloat, memory
from tests.bench.measurements import Action, Comparison, Figure, Target, compare
from tests.bench.place import Connection, Place, Session, value
from tests.bench.restoring import POLL, RESTORE, reader
from tests.bench.texts import Messages

GROUP = "Growth"
FLAT = Target(1.15)

FEW_SESSIONS = 50  # a page of the list
MINE = 10  # every so manieth session belongs to the one who looks; the others have a hundred each
LIST = "select id, name, last_message, my_role from public.list_sessions(p_limit => 50)"
PAGE_OF_VIEW = (
    "select id, name, last_message from public.sessions_list order by last_activity_at desc, id desc limit 50"
)
SNAPSHOTS = "select number, label from public.list_snapshots(%s, 50)"

# A session as two saves leave it: a list of three messages, a step that was replaced once. About 1.5 kB with all indexes.
FILL_SESSIONS = """
    insert into public.free_agent_sessions
        (user_id, name, latest_number, size_bytes, message_count, stored_bytes, created_at, updated_at, last_activity_at)
    select case when n %% %(mine)s = 0 and n <= %(mine)s * 10000 then %(user)s::uuid
            else ('00000000-0000-4000-9000-' || lpad((n / 100)::text, 12, '0'))::uuid end,
        'Session ' || n, 2, 500, 3, 501, now() - interval '1 day', now() - interval '1 day',
        now() - interval '1 day' - n * interval '1 millisecond'
    from generate_series(1, %(count)s) n
"""
FILL_SNAPSHOTS = """
    insert into public.session_snapshots (session_id, created_at, size_bytes, number, changed_parts, message_count)
    select s.id, s.created_at, 500, n, 3, 1 + n
    from public.free_agent_sessions s cross join generate_series(1, 2) n where s.latest_number = 2
"""
FILL_PARTS = """
    insert into asyouwere.parts (session, created_at, since, until, item, ord, size, depth, kind, path, body)
    select s.internal_id, s.created_at, p.since, p.until, p.item, p.ord, asyouwere.part_size(p.path, p.body), 1, p.kind, p.path, p.body
    from public.free_agent_sessions s cross join (values
        (1, 2147483647, -1, 1, 'l'::"char", '/messages/', '[]'), (1, 2147483647, 0, 2, 'i', '/messages/', %(message)s),
        (1, 2147483647, 1, 3, 'i', '/messages/', %(message)s), (2, 2147483647, 2, 1, 'i', '/messages/', %(message)s),
        (1, 2, -1, 4, 'v', '/step/', '1'), (2, 2147483647, -1, 2, 'v', '/step/', '2')
    ) p (since, until, item, ord, kind, path, body)
    where s.latest_number = 2
"""
# A history: a hundred messages, saved at once, and then a step that was replaced by every save.
LENGTHEN = """
    update asyouwere.parts p set since = %(count)s where p.session = %(session)s and p.path = '/step/';
    insert into asyouwere.parts (session, created_at, since, until, item, ord, size, depth, kind, path, body)
    select %(session)s, now(), n, n + 1, -1, -1000, asyouwere.part_size('/step/', n::text), 1, 'v', '/step/', n::text from generate_series(1, %(count)s - 1) n;
    insert into public.session_snapshots (session_id, created_at, size_bytes, number, changed_parts, message_count)
    select s.id, now(), s.size_bytes, n, 1, s.message_count
    from public.free_agent_sessions s cross join generate_series(2, %(count)s) n where s.internal_id = %(session)s;
    update public.free_agent_sessions set latest_number = %(count)s where internal_id = %(session)s;
"""
SCANS = """
    select coalesce(sum(seq_scan), 0) from pg_stat_user_tables
    where (schemaname, relname) in (('asyouwere', 'parts'), ('public', 'session_snapshots'), ('public', 'free_agent_sessions'))
        and n_live_tup > 5000 -- reading a few pages whole is what one should do
"""


def measure(place: Place) -> Iterator[Figure]:
    """Sessions, parts, history; then what a million saves leave on the disk, and what large saves cost in memory."""
    yield from _sessions(place)
    yield from _parts(place)
    yield from _history(place)
    yield from bloat.measure(place)
    yield from memory.measure(place)


def _sessions(place: Place) -> Iterator[Figure]:
    count = 100_000 if place.quick else 1_000_000
    with place.fresh() as small, place.fresh() as large:
        in_small = _filled(small, FEW_SESSIONS)
        in_large = _filled(large, count)
        before = _scans(large)
        detail = f"the same among {FEW_SESSIONS} sessions"
        name = f"{{}}, {count:,} sessions"
        rounds = place.rounds(1000, 250)
        cases: tuple[tuple[str, Callable[[Connection, list[Session]], Action]], ...] = (
            ("save one message", lambda _, sessions: _save_any(sessions)),
            ("restore the latest", lambda _, sessions: _any(sessions, RESTORE, None)),
            ("a page of 50 of the list, list_sessions()", lambda connection, _: reader(connection, LIST)),
            (
                "a page of 50 of the list, view sessions_list",
                lambda connection, _: reader(connection, PAGE_OF_VIEW),
            ),
            ("a poll that finds nothing", lambda _, sessions: _poll_any(sessions)),
        )
        for what, action in cases:
            # warm: a page that is touched for the first time after a checkpoint is written to the log whole
            compared = compare(action(*in_large), action(*in_small), rounds, warm_up=2 * FEW_SESSIONS)
            yield compared.figure(GROUP, name.format(what), FLAT, detail)
        yield _no_scans(large, before, f"{count:,} sessions")


def _filled(place: Place, count: int) -> tuple[Connection, list[Session]]:
    """A connection as the user who looks, and 50 of their sessions from all over the table."""
    mine = MINE if count > FEW_SESSIONS else 1
    place.superuser.execute(FILL_SESSIONS, {"count": count, "mine": mine, "user": place.user_id})
    place.superuser.execute(FILL_SNAPSHOTS)
    place.superuser.execute(FILL_PARTS, {"message": Messages(3, mean=100)()})
    place.settle()
    connection = place.connect_as_user()
    query = "select id from public.free_agent_sessions where user_id = %s order by md5(id::text) limit 50"
    sessions = []
    for (session_id,) in place.superuser.execute(query, (place.user_id,)).fetchall():
        session = Session(connection, session_id)
        session.number = 2
        sessions.append(session)
    return connection, sessions


def _save_any(sessions: Sequence[Session]) -> Action:
    messages = Messages(5).take(100)
    turn = itertools.cycle(sessions)
    return lambda lap: next(turn).append(messages[lap % 100])


def _append(session: Session, message: str) -> Action:
    return lambda lap: session.append(message)


def _any(sessions: Sequence[Session], query: str, *parameters: object) -> Action:
    """Reads of one session after the other."""
    readers = itertools.cycle(
        reader(session.connection, query, session.id, *parameters) for session in sessions
    )
    return lambda lap: next(readers)(lap)


def _poll_any(sessions: Sequence[Session]) -> Action:
    polls = itertools.cycle(reader(s.connection, POLL, s.id, s.number) for s in sessions)
    return lambda lap: next(polls)(lap)


def _parts(place: Place) -> Iterator[Figure]:
    """Saving and polling in sessions of very different sizes are in the groups Saving and Polling; here the rest."""
    connection = place.connect_as_user()
    supply = Messages(7, mean=200)
    smallest, middle, largest = 1, 1_000, 20_000 if place.quick else 100_000
    sessions = {
        count: place.filled_session(connection, supply, count) for count in (smallest, 10, middle, largest)
    }
    place.settle()
    before = _scans(place)
    message = supply()
    rounds = place.rounds(1000, 200)
    for count in (smallest, largest):
        compared = compare(_append(sessions[count], message), _append(sessions[10], message), rounds)
        yield compared.figure(
            GROUP, f"save one message, session of {count:,} messages", FLAT, "the same at 10 messages"
        )
    polls = (reader(connection, POLL, sessions[count].id, sessions[count].number) for count in (largest, 10))
    compared = compare(next(polls), next(polls), rounds)
    yield compared.figure(
        GROUP, f"a poll that finds nothing, session of {largest:,} messages", FLAT, "the same at 10 messages"
    )
    ours, floor = (reader(connection, RESTORE, sessions[count].id, None) for count in (largest, middle))
    compared = compare(ours, floor, place.rounds(40, 10), warm_up=3)
    share = largest / middle
    per_message = Comparison([ms / share for ms in compared.ours], compared.floor)
    yield per_message.figure(
        GROUP,
        f"restore, for each message of {largest:,}",
        FLAT,
        f"for each message of {middle:,}, both times of {middle:,} messages",
    )
    yield _no_scans(place, before, f"sessions of up to {largest:,} messages")


def _history(place: Place) -> Iterator[Figure]:
    count = 10_000
    with place.fresh() as elsewhere:
        connection = elsewhere.connect_as_user()
        supply = Messages(7)
        long, short = (elsewhere.filled_session(connection, supply, 100) for _ in range(2))
        for session, snapshots in ((long, count), (short, 10)):
            _lengthen(elsewhere, session, snapshots)
        elsewhere.settle()
        before = _scans(elsewhere)
        rounds = place.rounds(1000, 200)
        detail = "the same after 10 snapshots"
        message = supply()
        compared = compare(_append(long, message), _append(short, message), rounds)
        yield compared.figure(GROUP, f"save one message, history of {count:,} snapshots", FLAT, detail)
        for name, query, numbers in (
            ("restore the latest", RESTORE, (None, None)),
            ("restore an older number", RESTORE, (count // 2, 5)),
            ("a poll that finds nothing", POLL, (long.number, short.number)),
            ("a page of 50 snapshots", SNAPSHOTS, ()),
        ):
            ours, floor = (
                reader(connection, query, session.id, *numbers[which : which + 1])
                for which, session in enumerate((long, short))
            )
            compared = compare(ours, floor, rounds // 2)
            few = " (of only so many)" if name.endswith("snapshots") else ""
            yield compared.figure(GROUP, f"{name}, history of {count:,} snapshots", FLAT, detail + few)
        yield _no_scans(elsewhere, before, f"histories of {count:,} snapshots")


def _lengthen(place: Place, session: Session, count: int) -> None:
    internal = value(
        place.superuser, "select internal_id from public.free_agent_sessions where id = %s", (session.id,)
    )
    for statement in LENGTHEN.split(";\n")[:4]:
        place.superuser.execute(statement.encode(), {"session": internal, "count": count})
    session.number = count


def _scans(place: Place) -> int:
    place.superuser.execute("select pg_stat_force_next_flush()")
    return int(value(place.superuser, SCANS))


def _no_scans(place: Place, before: int, where: str) -> Figure:
    for connection in place.opened:
        connection.execute("select pg_stat_force_next_flush()")
    return Figure(
        GROUP,
        f"scans of a whole table in all of these, {where}",
        _scans(place) - before,
        "",
        Target(0),
        detail="of parts, snapshots and sessions, by pg_stat_user_tables",
    )
