"""One session that grows, saved after every message: with asyouwere, and as a whole jsonb document each time.

What the two pictures in docs/ show (see pictures.py).
"""

from __future__ import annotations

import json
import statistics
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.measurements import Figure, timed, undisturbed
from tests.bench.place import INSERT_DOCUMENT, Place, Session
from tests.bench.texts import Messages, array, state_text

GROUP = "A growing session"
SERIES = "growing.json"

SIZES = """
    select pg_total_relation_size('asyouwere.parts') + pg_total_relation_size('public.session_snapshots')
        + pg_total_relation_size('public.free_agent_sessions'),
        pg_total_relation_size('bench.documents')
"""


@dataclass(frozen=True)
class Point:
    """After so many messages: time of the save in milliseconds, and bytes on disk with indexes, both ways."""

    messages: int
    asyouwere_ms: float
    document_ms: float
    asyouwere_bytes: int
    document_bytes: int
    json_bytes: int


def measure(place: Place) -> Iterator[Figure]:
    """The series goes to growing.json next to the report; two lines of it into the table."""
    with place.fresh() as elsewhere:
        points = _grow(elsewhere, place.rounds(1000, 200))
    file = place.stack.folder.parent / SERIES
    file.write_text(json.dumps([asdict(point) for point in points]))
    last = points[-1]
    tail = points[-max(10, len(points) // 20) :]
    ours, theirs = (
        statistics.median(point.asyouwere_ms for point in tail),
        statistics.median(point.document_ms for point in tail),
    )
    yield Figure(
        GROUP,
        f"time of a save at {last.messages:,} messages",
        ours / theirs,
        "×",
        detail=f"{ours:.2f} ms (a message, two values) against {theirs:.1f} ms (the whole state as jsonb)",
    )
    yield Figure(
        GROUP,
        f"stored after {last.messages:,} saves",
        last.asyouwere_bytes / last.document_bytes,
        "×",
        detail=f"{last.asyouwere_bytes / 1e6:.1f} MB against {last.document_bytes / 1e6:.0f} MB, "
        f"every version kept; the latest state alone has {last.json_bytes / 1e6:.2f} MB of JSON",
    )


def _grow(place: Place, count: int) -> list[Point]:
    connection = place.connect_as_user()
    session = Session(connection, place.new_session(connection))
    session.save_state(state_text([]))
    document = uuid.uuid4()
    supply = Messages(17)
    messages: list[str] = []
    points: list[Point] = []
    with undisturbed():
        for step in range(1, count + 1):
            messages.append(supply())
            text = state_text(messages, step)
            bodies = array([messages[-1], str(step), str(step)])

            def save(lap: int, bodies: str = bodies) -> None:
                session.save(
                    "{append,set,set}", "{/messages/,/step/,/memory/board/round/}", "{null,-1,-1}", bodies
                )

            def insert(lap: int, text: str = text) -> None:
                connection.execute(INSERT_DOCUMENT.encode(), (document, lap, text), prepare=True)

            ours = timed(save, step)
            theirs = timed(insert, step)
            row = place.superuser.execute(SIZES.encode()).fetchone()
            assert row is not None
            points.append(Point(step, ours, theirs, int(row[0]), int(row[1]), len(text.encode())))
    return points


def read_points(file: Path) -> list[Point]:
    """The series of the last run."""
    return [Point(**point) for point in json.loads(file.read_text())]
