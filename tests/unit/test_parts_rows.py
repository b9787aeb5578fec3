from __future__ import annotations

import json
import time

import pytest
from hypothesis import given

from asyouwere.errors import Invalid
from asyouwere.state.exact_json import parse
from asyouwere.state.rows import ChangeRows, open_changes, open_state
from asyouwere.state.tree import join, split
from tests.support import reference_json
from tests.support.documents import state_texts


def rows_of(rows: ChangeRows) -> list[tuple[str, str, int | None, str | None]]:
    return list(zip(rows.ops, rows.paths, rows.items, rows.bodies, strict=True))


def test_open_state__rows() -> None:
    text = (
        '{"messages":[{"role":"user"},[],1],"memory":{"board":{"topic":{"x":{}},"":[1]},"log":[{}]},'
        '"step":-0,"none":{},"nothing":[],"n":null}'
    )
    assert rows_of(open_state(text)) == [
        ("set", "/", -1, "{}"),
        ("in", "/messages/", -1, "[]"),
        ("in", "/messages/", 0, '{"role":"user"}'),
        ("in", "/messages/", 1, "[]"),
        ("in", "/messages/", 2, "1"),
        ("in", "/memory/", -1, "{}"),
        ("in", "/memory/board/", -1, "{}"),
        ("in", "/memory/board/topic/", -1, '{"x":{}}'),
        ("in", "/memory/board//", -1, "[1]"),
        ("in", "/memory/log/", -1, "[]"),
        ("in", "/memory/log/", 0, "{}"),
        ("in", "/step/", -1, "-0"),
        ("in", "/none/", -1, "{}"),
        ("in", "/nothing/", -1, "[]"),
        ("in", "/n/", -1, "null"),
    ]


def test_open_state__empty() -> None:
    assert rows_of(open_state("{}")) == [("set", "/", -1, "{}")]


@given(state_texts)
def test_open_state__opens_by_the_rule(text: str) -> None:
    rows = open_state(parse(text.encode()))
    assert rows_of(rows)[0] == ("set", "/", -1, "{}")
    assert set(rows.ops[1:]) <= {"in"}
    opened = list(zip(rows.paths[1:], rows.items[1:], rows.bodies[1:], strict=True))
    assert {(path, item): body for path, item, body in opened} == reference_json.split(text)
    assert len(opened) == len(reference_json.split(text))
    seen = {"/"}
    for path, item, _ in opened:  # depth first: after its container
        assert (path if item is not None and item >= 0 else path[: path.rindex("/", 0, -1) + 1]) in seen
        seen.add(path)


def test_open_state__refuses_a_key_that_stands_twice_where_it_is_opened() -> None:
    for text, address in [('{"a":1,"a":1}', "/a"), ('{"a":{"b":{"~":1,"~":{}}}}', "/a/b/~0")]:
        with pytest.raises(Invalid) as refused:
            open_state(text)
        assert refused.value.code == "invalid_state"
        assert json.loads(refused.value.data or "") == {"address": address}
    assert open_state('{"a":{"b":{"c":{"~":1,"~":2}}}}').bodies[-1] == '{"~":1,"~":2}'


@pytest.mark.parametrize("text", ["[]", "1", '"{}"', "null"])
def test_open_state__refuses_what_is_no_object(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        open_state(text)
    assert refused.value.code == "invalid_state"


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(("before", "after", "above"), [
    ('{"a":', "}", 1), ('{"a":[', "]}", 2), ('{"a":[0,', ',"[["]}', 2), ('{"a":{"b":', "}}", 2),
    ('{"a":{"b":{"c":', "}}}", 3), ('{"a":{"b":[', "]}}", 3), ('{"a":{"0":{"c":[', "]}}}", 4),
])  # fmt: skip
def test_open_state__64_levels_and_no_more(before: str, after: str, above: int) -> None:
    state = before + deep(64 - above) + after
    assert reference_json.same_state(join(split(state)), state)
    with pytest.raises(Invalid) as refused:
        open_state(before + deep(65 - above) + after)
    assert refused.value.code == "nesting_too_deep"


def test_open_changes__rows() -> None:
    changes = (
        '{"append":{"/messages":[{"a":1},2],"/memory/log":[[]],"/none":[]},'
        '"set":{"/step":4,"/memory/board":{"topic":[1],"t":{"u":{}}},"/messages2/12":{"a":{}},"/x/007":{"a":1},'
        '"/x/1234567890":{},"/y":[0,{}]},"remove":["/old","/items/3","/a~1b/~0"]}'
    )
    assert rows_of(open_changes(changes)) == [
        ("remove", "/old/", -1, None),
        ("remove", "/items/3/", None, None),
        ("remove", "/a~1b/~0/", -1, None),
        ("set", "/step/", -1, "4"),
        ("set", "/memory/board/", -1, "{}"),
        ("in", "/memory/board/topic/", -1, "[1]"),
        ("in", "/memory/board/t/", -1, '{"u":{}}'),
        ("set", "/messages2/12/", None, '{"a":{}}'),
        ("set", "/x/007/", -1, "{}"),
        ("in", "/x/007/a/", -1, "1"),
        ("set", "/x/1234567890/", -1, "{}"),
        ("set", "/y/", -1, "[]"),
        ("in", "/y/", 0, "0"),
        ("in", "/y/", 1, "{}"),
        ("append", "/messages/", None, '{"a":1}'),
        ("append", "/messages/", None, "2"),
        ("append", "/memory/log/", None, "[]"),
    ]


def test_open_changes__addresses_spelled_as_strings_are() -> None:
    changes = parse(
        rb'{"set": {"\/\u0061\u007e1\u0022\u0000\ud800": 1},'
        rb' "remove": ["\/\u002f", "/b\n"], "append": {"/\u00e9": [1]}}'
    )
    assert list(open_changes(changes).paths) == ["///", "/b\\n/", '/a~1\\"\\u0000\\ud800/', "/é/"]


def test_open_changes__a_whole_state() -> None:
    state = '{"a":[1],"b":{"c":{}}}'
    assert rows_of(open_changes(f'{{"set":{{"":{state}}}}}')) == rows_of(open_state(state))


@pytest.mark.parametrize("changes", ["{}", '{"set":{},"append":{},"remove":[]}', '{"append":{"/a":[]}}'])
def test_open_changes__none(changes: str) -> None:
    assert len(open_changes(changes)) == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ("[]", "invalid_changes"),
        ("null", "invalid_changes"),
        ('"set"', "invalid_changes"),
        ('{"sets":{}}', "invalid_changes"),
        ('{"set":[]}', "invalid_changes"),
        ('{"set":null}', "invalid_changes"),
        ('{"append":[]}', "invalid_changes"),
        ('{"append":{"/a":{}}}', "invalid_changes"),
        ('{"append":{"/a":null}}', "invalid_changes"),
        ('{"append":{"/a":"b"}}', "invalid_changes"),
        ('{"remove":{}}', "invalid_changes"),
        ('{"remove":"/a"}', "invalid_changes"),
        ('{"remove":["/a",1]}', "invalid_changes"),
        ('{"remove":[["/a"]]}', "invalid_changes"),
        ('{"set":{"a":1}}', "invalid_address"),
        ('{"set":{"/~":1}}', "invalid_address"),
        ('{"append":{"a":[]}}', "invalid_address"),
        ('{"remove":["a"]}', "invalid_address"),
        ('{"remove":[""]}', "invalid_address"),
        ('{"set":{"":[]}}', "invalid_state"),
        ('{"set":{"":null}}', "invalid_state"),
        ('{"append":{"":[1]}}', "not_a_list"),
        ('{"set":{"/a":1},"remove":["/a"]}', "overlapping_addresses"),
        ('{"set":{"/a/b":1,"/a":1}}', "overlapping_addresses"),
        ('{"set":{"/a":1,"/a!":1,"/a/b":1}}', "overlapping_addresses"),
        ('{"set":{"":{},"/a":1}}', "overlapping_addresses"),
        ('{"remove":["/a","/a"]}', "overlapping_addresses"),
        ('{"remove":["/a/b/c","/a"]}', "overlapping_addresses"),
        ('{"set":{"/a":[]},"append":{"/a":[1]}}', "overlapping_addresses"),
        ('{"set":{"/a/b":1},"append":{"/a":[1]}}', "overlapping_addresses"),
        ('{"remove":["/a/01"],"append":{"/a":[1]}}', "overlapping_addresses"),
        ('{"set":{"/a/0/b":1},"append":{"/a":[1]}}', "overlapping_addresses"),
        ('{"append":{"/a":[1],"/a/0":[1]}}', "overlapping_addresses"),
        ('{"append":{"/a":[1],"/a/b":[1]}}', "overlapping_addresses"),
        ('{"set":{"/a":{}},"append":{"/a/b":[1]}}', "overlapping_addresses"),
    ],
)
def test_open_changes__refuses(changes: str, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        open_changes(changes)
    assert refused.value.code == code


def test_open_changes__items_beside_an_append() -> None:
    rows = open_changes('{"set":{"/a/0":1},"append":{"/a":[2]},"remove":["/a/12"]}')
    assert list(zip(rows.ops, rows.paths, rows.items, rows.bodies, strict=True)) == [
        ("remove", "/a/12/", None, None),
        ("set", "/a/0/", None, "1"),
        ("append", "/a/", None, "2"),
    ]


def test_open_changes__neighbours_do_not_overlap() -> None:
    changes = '{"set":{"/a":1,"/ab":1,"/a!":1,"/b/0":1,"/b/1":1,"/b/10":1,"/":1},"append":{"/c":[1],"/c2":[1]}}'
    assert len(open_changes(changes)) == 9


@pytest.mark.parametrize(
    ("changes", "levels"),
    [
        ('{"set":{"/a":%s}}', 63),
        ('{"set":{"/a/b":%s}}', 62),
        ('{"set":{"/a/7":%s}}', 62),
        ('{"set":{"/a/b/c":%s}}', 61),
        ('{"set":{"/a":{"b":%s}}}', 62),
        ('{"set":{"":{"a":%s}}}', 63),
        ('{"append":{"/a":[0,%s]}}', 62),
        ('{"append":{"/a/b":[%s]}}', 61),
    ],
)
def test_open_changes__64_levels_counted_from_the_root(changes: str, levels: int) -> None:
    assert open_changes(changes % deep(levels)).ops
    with pytest.raises(Invalid) as refused:
        open_changes(changes % deep(levels + 1))
    assert refused.value.code == "nesting_too_deep"


def test_open_changes__addresses_below_parts_are_left_to_the_database() -> None:
    pointer = "/a" * 70
    for value in ("1", "[{}]"):
        assert rows_of(open_changes(f'{{"set":{{"{pointer}":{value}}}}}')) == [("set", f"{pointer}/", -1, value)]


@pytest.mark.slow
def test_open_changes__many_addresses_take_linear_time() -> None:
    changes = "{" + ",".join(f'"/m/k{number}":{{"a":1}}' for number in range(30_000)) + "}"
    started = time.process_time()
    assert len(open_changes(f'{{"set":{changes}}}')) == 60_000
    assert time.process_time() - started < 10


@given(state_texts)
@pytest.mark.slow
def test_join__is_the_way_back(text: str) -> None:
    state = parse(text.encode())
    parts = split(state)
    again = join(parts)
    assert parse(again.encode()) == again
    assert reference_json.same_state(again, state)
    assert split(again) == parts
    assert join((path, item, body) for (path, item), body in reversed(parts.items())) == again


def test_join__members_in_byte_order_of_their_paths() -> None:
    # "!" comes before the "/" that ends a path, and U+FFFD before the emoji, unlike in UTF-16.
    assert join(split('{"é":1,"a":{"b":1},"a!":{},"😀":2,"\ufffd":3,"a/":4,"~":5,"Z":[1,2]}')) == (
        '{"Z":[1,2],"a!":{},"a":{"b":1},"a/":4,"~":5,"é":1,"\ufffd":3,"😀":2}'
    )


@pytest.mark.parametrize(
    "parts",
    [
        [("/a/b/", -1, "1")],
        [("/a/", -1, "1"), ("/a/b/", -1, "1")],
        [("/a/", -1, "[]"), ("/a/b/", -1, "1")],
        [("/a/", 0, "1")],
        [("/a/", -1, "{}"), ("/a/", 0, "1")],
        [("/a/", -1, "[]"), ("/a/", 1, "1")],
        [("/a/", -1, "[]"), ("/a/", 0, "1"), ("/a/", 0, "1")],
        [("/a/", -1, "[]"), ("/a/", 0, "1"), ("/a/", 2, "1")],
        [("/a/", -1, "1"), ("/a/", -1, "1")],
        [("/", -1, "{}")],
        [("/a/", -1, "{}"), ("/a/b/", -1, "{}"), ("/a/b/c/", -1, "{}"), ("/a/b/c/d/", -1, "{}")],
    ],
)
def test_join__refuses_what_is_not_the_parts_of_a_state(parts: list[tuple[str, int, str]]) -> None:
    with pytest.raises(Invalid) as refused:
        join(parts)
    assert refused.value.code == "invalid_state"
