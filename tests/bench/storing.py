"""Bytes on disk for each save, indexes and everything included, against the JSON text of what was saved."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.measurements import Figure, Target
from tests.bench.place import Connection, Place, Session
from tests.bench.texts import Messages, array, compact

GROUP = "Storage"

TABLES = "asyouwere.parts, asyouwere.save_keys, public.session_snapshots, public.free_agent_sessions"
SIZE = f"""
    select sum(pg_total_relation_size(name::regclass))::bigint
    from unnest(string_to_array('{TABLES}', ', ')) as tables (name)
"""
SESSIONS = 20
WARM_UP_SAVES = 20


def measure(place: Place) -> Iterator[Figure]:
    """Saves into sessions in turn; growth of all tables from the first to the last, both times vacuumed."""
    saves = place.rounds(400, 100)
    for name, with_step, with_key, target in (
        ("one message", False, False, Target(1.6)),
        ("one message and the step", True, False, Target(1.6)),
        ("one message and the step, with an idempotency key", True, True, None),
    ):
        with place.fresh() as elsewhere:
            stored, sent = _grow(elsewhere, saves, with_step=with_step, with_key=with_key)
        detail = (
            f"{stored:,.0f} bytes of tables and indexes for {sent:,.0f} bytes of changes a save; "
            f"{SESSIONS} sessions in turn, {saves} saves each, after vacuum"
        )
        yield Figure(GROUP, f"stored for a save of {name}", stored / sent, "×", target, detail=detail)


def _grow(place: Place, saves: int, *, with_step: bool, with_key: bool) -> tuple[float, float]:
    """Bytes stored and bytes of JSON sent, both for one save."""
    connection = place.connect_as_user()
    messages = Messages(9)
    sessions = [place.filled_session(connection, messages, 1) for _ in range(SESSIONS)]
    for step in range(WARM_UP_SAVES):
        _save_all(connection, sessions, messages, step, with_step=with_step, with_key=with_key)
    before = _size(place)
    sent = sum(
        _save_all(connection, sessions, messages, step, with_step=with_step, with_key=with_key)
        for step in range(WARM_UP_SAVES, WARM_UP_SAVES + saves)
    )
    count = saves * SESSIONS
    return (_size(place) - before) / count, sent / count


def _save_all(
    connection: Connection,
    sessions: list[Session],
    messages: Messages,
    step: int,
    *,
    with_step: bool,
    with_key: bool,
) -> int:
    """One save into each session; the bytes of JSON that said what to change."""
    sent = 0
    for session in sessions:
        message = messages()
        changes = f'{{"append":{{"/messages":[{message}]}}'
        rows = ("{append}", "{/messages/}", "{null}", array([message]))
        if with_step:
            changes += f',"set":{{"/step":{step + 1}}}'
            rows = ("{append,set}", "{/messages/,/step/}", "{null,-1}", array([message, compact(step + 1)]))
        session.save(*rows, key=f"save {step}" if with_key else None)
        sent += len(changes.encode()) + 1
    return sent


def _size(place: Place) -> int:
    place.superuser.execute(f"vacuum {TABLES}".encode())
    row = place.superuser.execute(SIZE.encode()).fetchone()
    assert row is not None
    return int(row[0])
