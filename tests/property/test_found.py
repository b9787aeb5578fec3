"""What the random sequences have found, as short as it can be said."""

from __future__ import annotations

from typing import Any

import pytest

from tests.property.checks import Storage, caught_up
from tests.property.drivers import Driver
from tests.property.exact import messages_in, render, state_of
from tests.property.http_driver import HttpDriver
from tests.property.model import Operation
from tests.property.sequences import play
from tests.property.sql_driver import SqlDriver


@pytest.fixture(params=["sql", "http"])
def driver(request: pytest.FixtureRequest, sql_driver: SqlDriver) -> Driver:
    """Each driver in turn."""
    if request.param == "sql":
        return sql_driver
    functions: HttpDriver = request.getfixturevalue("functions")
    return functions


def save(changes: str | None = None, **fields: Any) -> Operation:
    """A save operation without what does not matter."""
    defaults = {"base": None, "key": None, "label": None, "on_conflict": "merge", "way": 1}
    return {"do": "save", "on": 0, "changes": changes, **defaults, **fields}


def message(item: str, way: int = 0) -> Operation:
    """One message; way 1: inserted into session_messages."""
    return {"do": "messages", "on": 0, "items": [item], "key": None, "way": way}


@pytest.mark.parametrize(
    "inside", [r'{"\u0000":[1]}', r'["\ud800"]', r'{"\u0001\u0003":"\\u0000"}', '{"a":{"b":1}}']
)
@pytest.mark.parametrize("key", ["12", r"\u0001\u0003/0", r"\u0000/7"])
def test_set__any_container_at_a_member_whose_name_is_a_number(
    driver: Driver, storage: Storage, key: str, inside: str
) -> None:
    outer = key.rpartition("/")[0]
    first = f'{{"set":{{"/{outer}":{{}}}}}}' if outer else "{}"
    play(driver, storage, [save(first), save(f'{{"set":{{"/{key}":{inside}}}}}')])


@pytest.mark.parametrize(
    "changes",
    [
        '{"append":{"/l":["x"]},"set":{"/l/2":"c"}}',
        '{"append":{"/l":["x"]},"set":{"/l/0":"c"}}',
        '{"append":{"/l":["x"]},"remove":["/l/1"]}',
        '{"append":{"/l":["x"]},"set":{"/l/0":"c"},"remove":["/l/1"]}',
    ],
)
def test_append__beside_other_changes_of_the_list_comes_last(
    driver: Driver, storage: Storage, changes: str
) -> None:
    play(driver, storage, [save(state='{"l":["a","b"],"s":1}'), save(changes)])
    play(
        driver,
        storage,
        [save(state='{"l":["a","b"],"s":1}'), save('{"set":{"/s":2}}'), save(changes, base=1)],
    )


def test_message_inserted__is_the_same_as_saved(driver: Driver, storage: Storage) -> None:
    inserted = '{"role":"user","content":"hi"}'
    play(driver, storage, [message(inserted, way=1), save(state=f'{{"messages":[{inserted}]}}')])


@pytest.mark.parametrize("changes", ['{"remove":[""]}', '{"append":{"":[1]}}', '{"set":{"":[]}}'])
@pytest.mark.parametrize("way", [0, 1])
def test_changes__the_state_itself_is_only_set(
    driver: Driver, storage: Storage, changes: str, way: int
) -> None:
    play(driver, storage, [save(state='{"a":1}'), save(changes, way=way)])


def test_label__taken_away_from_a_snapshot_that_the_cleanup_has_passed(
    driver: Driver, storage: Storage
) -> None:
    prune = {"do": "prune", "keep": 1, "batch": 10}
    operations = [save(f'{{"set":{{"/n":{n}}}}}', label="two" if n == 2 else None) for n in range(1, 5)]
    play(driver, storage, [*operations, prune, {"do": "label", "on": 0, "number": 2, "label": None}, prune])


def test_retry__tells_what_leads_to_its_number_and_no_further(driver: Driver, storage: Storage) -> None:
    session = driver.new_session()
    driver.save(session, save(state='{"messages":[],"step":0}'))
    driver.save(session, save('{"set":{"/step":1}}'))
    mine = save('{"append":{"/messages":["mine"]}}', base=1, key="lost answer")
    first = driver.save(session, mine)
    driver.append_messages(session, message('"theirs"'))
    again = driver.save(session, mine)
    assert again == {**first, "replayed": True}

    # The client goes on from what it was told. With the message of the others taken for part of number 3, it would
    # be saved twice.
    copy = caught_up(state_of('{"messages":[],"step":0}'), again["others"])
    messages_in(copy).append('"next"')
    driver.save(session, save(state=render(copy), base=again["number"]))
    assert messages_in(state_of(driver.restore(session).state)) == ['"mine"', '"theirs"', '"next"']
    storage.drop([session])


def test_merge__no_cut_from_the_middle_though_others_have_cut_the_end(
    driver: Driver, storage: Storage
) -> None:
    operations = [
        save(state='{"l":[0,1,2,3]}'),
        save('{"remove":["/l/3"]}'),
        save('{"remove":["/l/2"]}', base=1),
    ]
    play(driver, storage, operations)
