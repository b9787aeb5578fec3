"""The sequences would notice: each kind of damage, done behind the functions' back, fails a check."""

from __future__ import annotations

import pytest

from tests.property.checks import Storage
from tests.property.model import Operation
from tests.property.sequences import Game
from tests.property.sql_driver import SqlDriver
from tests.property.test_found import message, save

SEQUENCE: list[Operation] = [
    save(state='{"a":{"b":[1,2.0]},"s":"x","messages":[]}', key="one", label="first"),
    message('{"role":"user","content":"hi"}'),
    save('{"set":{"/s":"y","/a/b/0":-0}}', base=1),
    {"do": "label", "on": 0, "number": 1, "label": None},
    save('{"remove":["/a"]}'),
    {"do": "prune", "keep": 2, "batch": 10},
]
OF_SESSION = "where session = (select internal_id from free_agent_sessions where id = %s)"


@pytest.mark.parametrize(
    "damage",
    [
        f"update asyouwere.parts set body = '2.00' {OF_SESSION} and path = '/a/b/' and item = 1",
        f"update asyouwere.parts set body = '\"z\"' {OF_SESSION} and path = '/s/'",
        f"update asyouwere.parts set until = since + 1 {OF_SESSION} and path = '/messages/' and item = 0",
        f"update asyouwere.parts set size = size + 1 {OF_SESSION} and path = '/s/'",
        f"delete from asyouwere.parts {OF_SESSION} and path = '/a/' and item = -1",
        f"delete from asyouwere.save_keys {OF_SESSION}",
        "insert into asyouwere.parts (session, created_at, since, until, ord, size, depth, kind, path, body)"
        " select internal_id, now(), 1, 2, 99, 1, 1, 'v', '/orphan/', '1' from free_agent_sessions where id = %s",
        "update session_snapshots set size_bytes = size_bytes + 1 where number = 3 and session_id = %s",
        "update session_snapshots set label = 'x' where number = 3 and session_id = %s",
        "delete from session_snapshots where number = 3 and session_id = %s",
        "update free_agent_sessions set message_count = 2 where id = %s",
    ],
    ids=lambda damage: damage[:60],
)
def test_sequences__notice(sql_driver: SqlDriver, storage: Storage, damage: str) -> None:
    game = Game(sql_driver, storage, seed=1)
    for op in SEQUENCE:
        game.play(op)
    changed = storage.connection.execute(damage.encode(), [game.handles[0]]).rowcount
    assert changed > 0, "no damage was done"
    with pytest.raises(Exception):  # noqa: B017, PT011 - an assertion of ours or a refusal, as it happens
        game.finish()
    game.drop()


def test_sequences__notice_nothing_without_damage(sql_driver: SqlDriver, storage: Storage) -> None:
    game = Game(sql_driver, storage, seed=1)
    for op in SEQUENCE:
        game.play(op)
    game.finish()
