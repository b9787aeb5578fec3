from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyouwere.errors import TooLarge
from asyouwere.service.database.text_array import TextArray
from asyouwere.state.exact_json import as_text, as_view
from asyouwere.state.rows import MAX_ROWS, open_changes, open_state
from tests.support.database import Db

LETTERS = "é😀"
SOME = ["", '{"a":"\\u0000"}', None, LETTERS, "x" * 600_000]


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]))))
def test_texts__are_the_texts(texts: list[str | None]) -> None:
    column = TextArray(texts)
    assert (len(column), list(column), column[1:]) == (len(texts), texts, texts[1:])
    assert column == texts
    assert column != [*texts, "more"]


def test_texts__never_show_what_they_say() -> None:
    assert "secret" not in repr(TextArray(["secret"]))


@pytest.mark.parametrize("texts", [[], SOME, [None], ["a"]])
def test_texts__as_postgres_takes_them(db: Db, texts: list[Any]) -> None:
    connection = db.superuser.pgconn
    result = connection.exec_params(
        b"select to_json($1::text[])", [bytes(TextArray(texts).wire())], param_formats=[1]
    )
    assert result.error_message == b""
    assert json.loads(result.get_value(0, 0) or b"") == texts


def test_texts__a_piece_of_a_view() -> None:
    view = as_view("<" + LETTERS * 200_000 + ">")
    column = TextArray()
    column.append_view(view, 1, len(view) - 1)
    assert column[0] == LETTERS * 200_000
    assert struct.unpack_from("!i", column.wire(), 20)[0] == len(view) - 2


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_view__and_back(text: str) -> None:
    view = as_view(text)
    assert len(view) == len(text.encode())
    assert as_text(view) == text


def test_open__at_most_so_many_parts() -> None:
    items = "1," * (MAX_ROWS - 3) + "1"
    assert len(open_state(f'{{"a":[{items}]}}')) == MAX_ROWS
    tries: tuple[Callable[[], object], ...] = (
        lambda: open_state(f'{{"a":[1,{items}]}}'),
        lambda: open_changes(f'{{"append":{{"/a":[1,1,1,{items}]}}}}'),
        lambda: open_changes('{"remove":[' + '"/a",' * MAX_ROWS + '"/a"]}'),
        lambda: open_changes('{"set":{' + ",".join(f'"/k{n}":1' for n in range(MAX_ROWS + 1)) + "}}"),
    )
    for too_many in tries:
        with pytest.raises(TooLarge) as refused:
            too_many()
        assert (refused.value.code, refused.value.data) == ("too_large", '{"max_parts":125000}')
