from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyouwere.errors import Invalid
from asyouwere.state.addresses import check_path, path_of, pointer_of
from asyouwere.state.exact_json import parse
from asyouwere.state.rows import open_state
from asyouwere.state.tree import split
from tests.support.documents import state_texts

_texts = st.text(st.characters() | st.sampled_from('~/"\\\x00\n\ud800\udc00é😀'))


@pytest.mark.parametrize(
    ("pointer", "path"),
    [
        ("", "/"),
        ("/", "//"),
        ("//", "///"),
        ("/memory/topic", "/memory/topic/"),
        ("/a~1b/m~0n", "/a~1b/m~0n/"),
        ("/~01", "/~01/"),
        ("/a.b", "/a.b/"),
        ("/é😀", "/é😀/"),
        ("/\x00", "/\\u0000/"),
        ("/\\u0000", "/\\\\u0000/"),
        ("/\ud800", "/\\ud800/"),
        ("/\ud83d\ude00", "/😀/"),
        ('/"\\\n\x1f\x7f', '/\\"\\\\\\n\\u001f\x7f/'),
    ],
)
def test_path_of__and_back(pointer: str, path: str) -> None:
    assert path_of(pointer) == path
    assert pointer_of(path) == pointer.replace("\ud83d\ude00", "😀")


def test_pointer_of__item() -> None:
    assert pointer_of("/messages/", 12) == "/messages/12"
    assert pointer_of('/a\\"/', 0) == '/a"/0'


@given(st.lists(_texts, max_size=3))
def test_path_of__pointers_of_any_keys(keys: list[str]) -> None:
    pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
    path = path_of(pointer)
    assert path.count("/") == len(keys) + 1
    assert pointer_of(path) == json.loads(json.dumps(pointer))
    assert path_of(pointer_of(path)) == path
    assert path.encode()  # nothing that UTF-8 can't hold


@pytest.mark.parametrize("pointer", ["a", "a/b", " /a", "~", "/~", "/a~", "/a~2", "/~~0", "#/a", "~0/"])
def test_path_of__refuses_what_is_no_pointer(pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        path_of(pointer)
    assert refused.value.code == "invalid_address"


@pytest.mark.parametrize("unit", ["a", "é", "😀", "\x00"])
def test_path_of__length_counts_in_bytes_as_stored(unit: str) -> None:
    room = 2_000 - len("/a/") - 1
    size = 6 if unit == "\x00" else len(unit.encode())
    longest = "/a/" + unit * (room // size) + "x" * (room % size)
    assert len(path_of(longest).encode()) == 2_000
    with pytest.raises(Invalid) as refused:
        path_of(longest + "x")
    assert refused.value.code == "address_too_long"


@pytest.mark.parametrize("text", ['{"%s":1}', '{"a":{"%s":[]}}', '{"a":{"b":{"%s":{"deep":1}}}}'])
def test_open_state__length_of_every_path(text: str) -> None:
    room = 2_000 - len(open_state(text % "").paths[-1])
    assert len(open_state(text % ("k" * room))) == len(open_state(text % ""))
    with pytest.raises(Invalid) as refused:
        open_state(text % ("k" * (room + 1)))
    assert refused.value.code == "address_too_long"


def test_open_state__keys_inside_parts_may_be_long() -> None:
    key = "k" * 5_000
    assert open_state(f'{{"list":[{{"{key}":1}}]}}').bodies[-1] == f'{{"{key}":1}}'


@given(state_texts)
def test_check_path__takes_all_paths_that_are_made(text: str) -> None:
    for path, _ in split(parse(text.encode())):
        assert check_path(path) == path.count("/") - 1


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "a/",
        "/a",
        "/a/b",
        "/a/b/c/d/",
        "/~/",
        "/~2/",
        "/a~/",
        '/"/',
        "/\\/",
        "/\x00/",
        "/\n/",
        "/\ud800/",
        "/\\u000a/",
        "/\\u0008/",
        "/\\u0009/",
        "/\\u000c/",
        "/\\u0022/",
        "/\\u0041/",
        "/\\U0000/",
        "/\\uD800/",
        "/\\u001F/",
        "/\\ud83d\\ude00/",
        "/\\/b/",
        "/\\u00/",
        "/a/\n",
    ],
)
def test_check_path__refuses_other_spellings(path: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_path(path)
    assert refused.value.code == "invalid_address"


def test_check_path__length() -> None:
    assert check_path("/" + "a" * 1_998 + "/") == 1
    with pytest.raises(Invalid) as refused:
        check_path("/" + "a" * 1_999 + "/")
    assert refused.value.code == "address_too_long"
