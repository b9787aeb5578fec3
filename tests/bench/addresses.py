"""What it costs to read, take or condition a little of a large session, and to keep a window of it.

Against the whole, the rows themselves, a plain append, and one document that is rewritten.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.measurements import Action, Figure, Target, compare
from tests.bench.place import INSERT_DOCUMENT, Connection, Place, Session, value
from tests.bench.restoring import RESTORE, reader
from tests.bench.texts import Messages, state_text

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
CHANGE = "select number from public.create_session_snapshot(%s, p_changes => %s)"
REWRITE_DOCUMENT = "update bench.documents set state = %s where session_id = %s returning number"
WINDOW = 1_000


def measure(place: Place) -> Iterator[Figure]:
    """In a session of 10,000 messages: one value, a first screen, the last page, the last message; then the rest."""
    yield from _reading(place)
    yield from _conditions(place)
    yield from _windows(place)


def _conditions(place: Place) -> Iterator[Figure]:
    connection = place.connect_as_user()
    texts = Messages(13)
    rounds = place.rounds(400, 80)

    def appender(session: Session, form: str) -> Action:
        # with an id of its own, as apps give messages one
        return lambda lap: value(
            connection, CHANGE, (session.id, form.replace("MESSAGE", f'{{"id":"{session.id} {lap}",{texts()[1:]}'))
        )

    plain = '{"append":{"/messages":[MESSAGE]}}'
    once = '{"append_once":{"/messages":{"by":"id","items":[MESSAGE]}}}'
    guarded = '{"append":{"/messages":[MESSAGE]},"add":{"/step":1},"expect":{"/step":0},"expect_absent":["/none"]}'
    for name, form, count in (
        ("one message and three conditions", guarded, 1_000),
        ("one message appended once, to 100", once, 100),
        ("one message appended once, to 1,000", once, 1_000),
        ("one message appended once, to 10,000", once, 10_000),
    ):
        sessions = [place.filled_session(connection, Messages(11), count) for _ in range(2)]
        place.settle()
        compared = compare(appender(sessions[0], form), appender(sessions[1], plain), rounds)
        yield compared.figure(GROUP, name, None, "the message appended")


def _windows(place: Place) -> Iterator[Figure]:
    """The last 1,000 messages: kept by setting the list each turn, or read from the whole."""
    connection = place.connect_as_user()
    texts = Messages(17)
    window = texts.take(WINDOW)
    session, whole = (place.filled_session(connection, Messages(17), WINDOW) for _ in range(2))
    document = place.new_session(connection)
    connection.execute(INSERT_DOCUMENT.encode(), (document, 1, state_text(window)))
    place.settle()

    def moved() -> str:
        window[:] = [*window[1:], texts()]
        return ",".join(window)

    compared = compare(
        lambda lap: value(connection, CHANGE, (session.id, f'{{"set":{{"/messages":[{moved()}]}}}}')),
        lambda lap: value(connection, REWRITE_DOCUMENT, (f'{{"messages":[{moved()}]}}', document)),
        place.rounds(100, 20),
    )
    yield compared.figure(GROUP, "a window of 1,000 messages, set each turn", None, "one jsonb document rewritten")
    compared = compare(
        lambda lap: _append_and_read(connection, whole, texts()),
        lambda lap: value(connection, REWRITE_DOCUMENT, (f'{{"messages":[{moved()}]}}', document)),
        place.rounds(100, 20),
    )
    yield compared.figure(
        GROUP, "the whole kept: one appended, the last 1,000 read", None, "one jsonb document rewritten"
    )


def _append_and_read(connection: Connection, session: Session, message: str) -> None:
    session.append(message)
    reader(connection, PARTS, session.id, f'[{{"address": "/messages", "last": {WINDOW}}}]')(0)


def _reading(place: Place) -> Iterator[Figure]:
    connection = place.connect_as_user()
    session = place.filled_session(connection, Messages(11, mean=900), 10_000)
    place.settle()
    rounds = place.rounds(1000, 200)

    compared = compare(
        reader(connection, PARTS, session.id, '["/step"]'),
        reader(connection, RESTORE, session.id, None),
        rounds // 10,
    )
    yield compared.figure(GROUP, "one value of 10,000 messages", Target(0.1), "restoring the whole")
    compared = compare(
        reader(connection, PARTS, session.id, FIRST_SCREEN), reader(connection, ROWS, session.id, session.id), rounds
    )
    yield compared.figure(
        GROUP, "memory and the last 100 messages", Target(1.5), "select of those rows, as the same user"
    )
    compared = compare(
        reader(connection, PAGE, session.id, 100), reader(connection, FIRST_PAGE, session.id, 100), rounds
    )
    yield compared.figure(GROUP, "list_messages(), the last 100", Target(1.2), "the first 100")
    compared = compare(
        reader(connection, POP, session.id), reader(connection, REMOVE, session.id, session.id), rounds
    )
    yield compared.figure(
        GROUP, "take the last message", None, "a save that removes it, as two callers at once can't"
    )
