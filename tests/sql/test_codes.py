"""asyouwere.fail(): status and sentence come from the list of codes, and a code that is not in it is a loud error."""

from __future__ import annotations

import psycopg
import pytest

from asyouwere.errors import CODES
from tests.support.database import Db


def refused(db: Db, arguments: str) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as raised:
        db.superuser.execute(f"select asyouwere.fail({arguments})".encode())
    return raised.value


@pytest.mark.parametrize("code", ["session_not_found", "label_taken", "rate_limited"])
def test_fail__says_status_and_sentence_of_the_code(shared: Db, code: str) -> None:
    error = refused(shared, f"'{code}'")
    assert (error.sqlstate, error.diag.message_hint, error.diag.message_primary, error.diag.message_detail) == (
        f"PT{CODES[code].status}",
        code,
        CODES[code].sentence,
        "{}",
    )


def test_fail__a_sentence_and_data_of_its_own(shared: Db) -> None:
    error = refused(shared, """'too_large', 'Too much.', '{"max_parts": 1}'""")
    assert (error.sqlstate, error.diag.message_primary, error.diag.message_detail) == (
        "PT413",
        "Too much.",
        '{"max_parts": 1}',
    )


@pytest.mark.parametrize("code", ["'no_such_code'", "'Session_Not_Found'", "''", "null"])
def test_fail__an_unknown_code_is_an_error_of_its_own(shared: Db, code: str) -> None:
    error = refused(shared, code)
    assert error.sqlstate == "P0001"
    assert "There is no error code" in str(error)
