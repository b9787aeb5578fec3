"""What it costs to read or take a little of a large session, against the whole and against the rows themselves."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.measurements import Figure, Target, compare
from tests.bench.place import Place
from tests.bench.restoring import RESTORE, reader
from tests.bench.texts import Messages

GROUP = "Some addresses (SQL)"

PARTS = "select value::text from public.get_session_parts(%s, %s)"
FIRST_SCREEN = '["/memory", {"address": "/messages", "last": 100}]'
# the rows themselves, by the policies of whoever asks
ROWS = """
    select p.body from asyouwere.live_parts p
    where p.session = (select s.internal_id from public.free_agent_sessions s where s.id = %s)
        and (p.path >= '/memory/' and p.path < '/memory0')
    union all (
        select p.body from asyouwere.live_parts p
        where p.session = (select s.internal_id from public.free_agent_sessions s where s.id = %s)
            and p.path = '/messages/' and p.item >= 0
        order by p.path desc, p.item desc limit 100)
"""
PAGE = "select body::text from public.list_messages(%s, p_last => %s)"
FIRST_PAGE = "select body::text from public.list_messages(%s, p_limit => %s)"
POP = "select items::text from public.pop_session_items(%s, '/messages')"
REMOVE = """
    select number from public.create_session_snapshot(%s,
        p_changes => json_build_object('remove', json_build_array('/messages/' || (
            select s.message_count - 1 from public.free_agent_sessions s where s.id = %s))))
"""


def measure(place: Place) -> Iterator[Figure]:
    """In a session of 10,000 messages: one value, a first screen, the last page, taking the last message."""
    connection = place.connect_as_user()
    session = place.filled_session(connection, Messages(11, mean=900), 10_000)
    place.settle()
    rounds = place.rounds(1000, 200)

    compared = compare(
        reader(connection, PARTS, session.id, '["/step"]'), reader(connection, RESTORE, session.id, None), rounds // 10
    )
    yield compared.figure(GROUP, "one value of 10,000 messages", Target(0.1), "restoring the whole")
    compared = compare(
        reader(connection, PARTS, session.id, FIRST_SCREEN), reader(connection, ROWS, session.id, session.id), rounds
    )
    yield compared.figure(GROUP, "memory and the last 100 messages", Target(1.5), "select of those rows, as the same user")
    compared = compare(
        reader(connection, PAGE, session.id, 100), reader(connection, FIRST_PAGE, session.id, 100), rounds
    )
    yield compared.figure(GROUP, "list_messages(), the last 100", Target(1.2), "the first 100")
    compared = compare(
        reader(connection, POP, session.id), reader(connection, REMOVE, session.id, session.id), rounds
    )
    yield compared.figure(GROUP, "take the last message", None, "a save that removes it, as two callers at once can't")
