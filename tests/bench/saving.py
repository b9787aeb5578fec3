"""What a save costs against a bare insert of the same rows, and whether that changes as a session grows."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Sequence

from tests.bench.floors import BareInserts
from tests.bench.measurements import WARM_UP, Action, Figure, Target, compare
from tests.bench.place import APPEND_BARELY, INSERT_DOCUMENT, Connection, Place, Session, value
from tests.bench.texts import Messages, array, compact, state_text

GROUP = "Saving (SQL)"
FLOOR = "a bare insert of {} into a table with the same columns and indexes"

Rows = tuple[str, str, str]
"""Change rows without their bodies: ops, paths, items."""

APPEND: Rows = ("{append}", "{/messages/}", "{null}")
OVERWRITE: Rows = ("{set}", "{/memory/board/topic/}", "{-1}")
OVERWRITE_LAST: Rows = ("{set}", "{/messages/9/}", "{null}")
THREE: Rows = ("{append,set,set}", "{/messages/,/step/,/memory/board/topic/}", "{null,-1,-1}")


def measure(place: Place) -> Iterator[Figure]:
    """One part, three, thirty; a growing session; whole states."""
    connection = place.connect_as_user()
    yield from _one_part(place, connection)
    yield from _three_parts(place, connection)
    yield _thirty_parts(place, connection)
    yield from _slower_disk(place)
    yield from _sizes(place, connection)
    yield from _whole_states(place, connection)


def _one_part(place: Place, connection: Connection) -> Iterator[Figure]:
    rounds = place.rounds(2000, 400)
    floor = BareInserts(connection)
    messages = Messages().take(rounds + WARM_UP)
    arrays = [array([message]) for message in messages]
    notes = [array([compact({"note": message})]) for message in messages]
    detail = FLOOR.format("the same row")
    for name, rows, bodies, keys, target in (
        ("one message appended", APPEND, arrays, False, Target(1.7)),
        ("one part of that size overwritten", OVERWRITE, notes, False, Target(1.7)),
        ("the last message overwritten, by its pointer", OVERWRITE_LAST, arrays, False, None),
        ("one message appended, with an idempotency key", APPEND, arrays, True, None),
    ):
        session = place.filled_session(connection, Messages(7), 10)
        place.settle()
        compared = compare(
            _saver(session, rows, bodies, keys=keys), lambda lap: floor.one(messages[lap]), rounds
        )
        yield compared.figure(GROUP, name, target, detail)
    yield _barely(place, connection, messages, arrays)


def _barely(place: Place, connection: Connection, messages: list[str], arrays: list[str]) -> Figure:
    session, barely = (place.filled_session(connection, Messages(7), 10) for _ in range(2))
    place.settle()

    def append_barely(lap: int) -> None:
        barely.number = value(connection, APPEND_BARELY, (barely.id, messages[lap], barely.number))

    compared = compare(_saver(session, APPEND, arrays), append_barely, len(messages) - WARM_UP)
    detail = "a function that locks, inserts the message and the snapshot, sets the number, and nothing else"
    return compared.figure(GROUP, "one message appended, against the barest numbered save", None, detail)


def _three_parts(place: Place, connection: Connection) -> Iterator[Figure]:
    rounds = place.rounds(2000, 400)
    floor = BareInserts(connection, session=3)
    session = place.filled_session(connection, Messages(7), 10)
    values = _values(rounds)
    bodies = [array(three) for three in values]
    place.settle()
    compared = compare(_saver(session, THREE, bodies), lambda lap: floor.three(*values[lap]), rounds)
    detail = FLOOR.format("three such rows")
    yield compared.figure(GROUP, "one message appended, two parts overwritten", Target(2), detail)


def _thirty_parts(place: Place, connection: Connection) -> Figure:
    rounds = place.rounds(400, 100)
    floor = BareInserts(connection, session=30)
    session = place.filled_session(connection, Messages(7), 40)
    supply = Messages()
    bodies = [array(supply.take(30)) for _ in range(rounds + WARM_UP)]
    items = array(range(5, 35))
    rows = (array(["set"] * 30), array(["/messages/"] * 30), items)
    place.settle()
    compared = compare(_saver(session, rows, bodies), lambda lap: floor.many(items, bodies[lap]), rounds)
    return compared.figure(GROUP, "30 messages overwritten", None, FLOOR.format("30 rows"))


def _slower_disk(place: Place) -> Iterator[Figure]:
    """Saves with a flush that takes a millisecond, as on a network disk: commit_delay waits that long."""
    rounds = place.rounds(500, 150)
    with place.slow_commits(microseconds=1000) as connection:
        floor = BareInserts(connection, session=4)
        values = _values(rounds)
        ones, threes = [array(three[:1]) for three in values], [array(three) for three in values]
        for name, rows, bodies, insert, target in (
            ("one message appended", APPEND, ones, lambda lap: floor.one(values[lap][0]), Target(1.7)),
            ("three parts", THREE, threes, lambda lap: floor.three(*values[lap]), Target(2)),
        ):
            session = place.filled_session(connection, Messages(7), 10)
            compared = compare(_saver(session, rows, bodies), insert, rounds)
            detail = FLOOR.format("the same rows") + "; commit_delay makes both wait"
            yield compared.figure(GROUP, f"{name}, on a disk that takes 1 ms longer", target, detail)


def _sizes(place: Place, connection: Connection) -> Iterator[Figure]:
    """One kind of save, in turn, into sessions of very different sizes."""
    rounds = place.rounds(1000, 200)
    smallest, largest = 10, 20_000 if place.quick else 100_000
    sizes = (smallest, 1_000, largest)
    small_messages = Messages(7, mean=200)
    sessions = {size: place.filled_session(connection, small_messages, size) for size in sizes}
    place.settle()
    values = _values(rounds)
    cases = (
        ("one message", APPEND, [array(three[:1]) for three in values], 0),
        ("three parts", THREE, [array(three) for three in values], 0),
        ("one message on a base one number old", APPEND, [array(three[:1]) for three in values], 1),
    )
    for size in sizes[1:]:
        for name, rows, bodies, behind in cases:
            ours = _saver(sessions[size], rows, bodies, behind=behind)
            floor = _saver(sessions[smallest], rows, bodies, behind=behind)
            compared = compare(ours, floor, rounds)
            yield compared.figure(
                GROUP,
                f"{name}, session of {size:,} parts",
                Target(1.1) if size == largest else None,
                f"the same save into a session of {smallest} parts",
            )


def _whole_states(place: Place, connection: Connection) -> Iterator[Figure]:
    rounds = place.rounds(60, 15)
    warm_up = 4
    for kind, compressible, target in (("text", True, Target(0.6)), ("random letters", False, None)):
        supply = Messages(5, compressible=compressible)
        messages = supply.take(1000)
        session = Session(connection, place.new_session(connection))
        session.save_state(state_text(messages))
        texts = []
        for step in range(1, rounds + warm_up + 1):
            messages.append(supply())
            texts.append(state_text(messages, step))
        place.settle()
        compared = compare(
            _state_saver(session, texts), _document_inserter(connection, texts), rounds, warm_up=warm_up
        )
        size = f"{len(texts[-1].encode()) / 1e6:.2f} MB"
        detail = f"insert of the same {size} as one jsonb document; a message and the step are new each time"
        yield compared.figure(GROUP, f"a whole state of 1,000 messages, {kind}", target, detail)


def _values(rounds: int) -> list[tuple[str, str, str]]:
    """A message, a step and a topic for each round."""
    messages = Messages().take(rounds + WARM_UP)
    return [(message, str(n + 1), f'"topic {n}"') for n, message in enumerate(messages)]


def _saver(
    session: Session, rows: Rows, bodies: Sequence[str], *, keys: bool = False, behind: int = 0
) -> Action:
    """Saves the bodies of its round. behind: how many numbers the base is older than the latest."""
    numbers = itertools.count()

    def save(lap: int) -> None:
        latest = session.number or 0
        session.number = latest - behind
        session.save(*rows, bodies[lap], key=f"{rows} {next(numbers)}" if keys else None)

    return save


def _state_saver(session: Session, texts: Sequence[str]) -> Action:
    return lambda lap: session.save_state(texts[lap])


def _document_inserter(connection: Connection, texts: Sequence[str]) -> Action:
    document = uuid.uuid4()
    return lambda lap: connection.execute(INSERT_DOCUMENT.encode(), (document, lap, texts[lap]), prepare=True)
