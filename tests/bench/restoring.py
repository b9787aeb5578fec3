"""What a restore costs against reading one stored document, and a poll against reading one number."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from tests.bench.measurements import Action, Figure, Target, compare
from tests.bench.place import INSERT_DOCUMENT, Connection, Place, Session
from tests.bench.texts import Messages, array, state_text

RESTORE_GROUP = "Restoring (SQL)"
POLL_GROUP = "Polling (SQL)"

RESTORE = "select public.get_snapshot_chunks(%s, %s)"
RESTORE_ONE_VALUE = "select state from public.get_latest_snapshot(%s)"
READ_DOCUMENT = "select state from bench.documents where session_id = %s and number = %s"
POLL = "select * from public.get_session_changes(%s, %s)"
DIFF = "select address from public.diff_snapshots(%s, %s, %s)"
READ_HEAD = "select latest_number from public.free_agent_sessions where id = %s"
READ_BARE_HEAD = "select number from bench.heads where session_id = %s"

MESSAGES = 1_000
LATER_SAVES = 100


def measure(place: Place) -> Iterator[Figure]:
    """Latest and older states, of real text and of random letters; then polls that find nothing."""
    connection = place.connect_as_user()
    yield from _restores(place, connection, True, (Target(1.1), Target(1.4)))
    yield from _restores(place, connection, False, (Target(1.8), None))
    yield from _polls(place, connection)
    yield from _large_polls(place, connection)


def _restores(
    place: Place, connection: Connection, compressible: bool, targets: tuple[Target | None, Target | None]
) -> Iterator[Figure]:
    kind = "text" if compressible else "random letters"
    messages = Messages(5, compressible=compressible)
    texts = messages.take(MESSAGES)
    session = Session(connection, place.new_session(connection))
    session.save_state(state_text(texts))
    first = session.number
    document = uuid.uuid4()
    connection.execute(INSERT_DOCUMENT.encode(), (document, 1, state_text(texts)))
    for lap in range(LATER_SAVES):
        # what an agent does: a message more, two values changed; now and then an older message rewritten
        bodies = [messages(), str(lap + 1), f'"topic {lap}"', messages()]
        session.save(
            "{append,set,set,set}",
            "{/messages/,/step/,/memory/board/topic/,/messages/}",
            f"{{null,-1,-1,{lap * 7}}}",
            array(bodies),
        )
        texts.append(bodies[0])
        texts[lap * 7] = bodies[3]
    connection.execute(INSERT_DOCUMENT.encode(), (document, 2, state_text(texts, LATER_SAVES)))
    place.settle()

    rounds = place.rounds(300, 60)
    detail = "reading one stored jsonb document of the same content, as text"
    cases = (
        (f"the latest of {MESSAGES + LATER_SAVES:,} messages, {kind}", None, 2, targets[0]),
        (f"{LATER_SAVES} numbers back, {MESSAGES:,} messages, {kind}", first, 1, targets[1]),
    )
    for name, number, document_number, target in cases:
        compared = compare(
            reader(connection, RESTORE, session.id, number),
            reader(connection, READ_DOCUMENT, document, document_number),
            rounds,
            warm_up=6,
        )
        yield compared.figure(RESTORE_GROUP, name, target, detail)
    compared = compare(
        reader(connection, RESTORE_ONE_VALUE, session.id),
        reader(connection, READ_DOCUMENT, document, 2),
        rounds // 3,
        warm_up=6,
    )
    yield compared.figure(
        RESTORE_GROUP, f"the latest as one value, get_latest_snapshot(), {kind}", None, detail
    )


def _polls(place: Place, connection: Connection) -> Iterator[Figure]:
    session = place.filled_session(connection, Messages(7), MESSAGES)
    for _ in range(10):
        session.append('{"role":"user","content":"hello"}')
    connection.execute("insert into bench.heads values (%s, %s)", (session.id, session.number))
    place.settle()
    rounds = place.rounds(4000, 800)
    polls = (
        (
            "a poll that finds nothing",
            session.number,
            READ_HEAD,
            Target(1.5),
            "select of the number, as the same user",
        ),
        (
            "a poll that finds nothing, without row level security below",
            session.number,
            READ_BARE_HEAD,
            None,
            "select of a number from a table without row level security",
        ),
        (
            "a poll that finds one new message",
            (session.number or 1) - 1,
            READ_HEAD,
            None,
            "select of the number, as the same user",
        ),
    )
    for name, since, floor, target, detail in polls:
        compared = compare(
            reader(connection, POLL, session.id, since),
            reader(connection, floor, session.id),
            rounds,
        )
        yield compared.figure(POLL_GROUP, name, target, detail)


def _large_polls(place: Place, connection: Connection) -> Iterator[Figure]:
    """What has changed, asked in a very large session and in a small one."""
    largest = 20_000 if place.quick else 100_000
    small = Messages(7, mean=200)
    large_session, small_session = (place.filled_session(connection, small, count) for count in (largest, 10))
    for _ in range(10):
        for session in (large_session, small_session):
            session.append('{"role":"user","content":"hello"}')
    place.settle()
    for name, query, numbers in (
        ("a poll that finds one new message", POLL, (10,)),
        ("a diff of two numbers", DIFF, (5, 10)),
    ):
        compared = compare(
            reader(connection, query, large_session.id, *numbers),
            reader(connection, query, small_session.id, *numbers),
            place.rounds(1000, 200),
        )
        detail = "the same in a session of 10 parts"
        yield compared.figure(POLL_GROUP, f"{name}, session of {largest:,} parts", None, detail)


def reader(connection: Connection, query: str, *parameters: object) -> Action:
    """Reads all rows of the first column and joins them to one text, not parsed."""

    def read(lap: int) -> bytes:
        result = connection.execute(query.encode(), parameters, prepare=True).pgresult
        assert result is not None
        return b"".join(result.get_value(row, 0) or b"" for row in range(result.ntuples))

    return read
