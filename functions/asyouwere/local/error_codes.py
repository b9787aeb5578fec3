"""What is made from `spec/errors.json`, the one list of error codes: a Python module, an SQL function, a table.

Each entry has code, status (HTTP), title and sentence, and under detail the members of the error's JSON object, if
it has one.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from asyouwere.local.migrations import sql_folder

__all__ = ["codes_raised_in_sql", "error_codes", "python_module", "readme_with_table", "sql_function"]

_PYTHON: Final = '''\
"""The error codes. Made from spec/errors.json by `make generate`: change that file, never this one."""

from typing import Final, NamedTuple

__all__ = ["CODES", "Code"]


class Code(NamedTuple):
    """A stable code: its HTTP status, a title that never changes, the sentence used when there is none, and the
    further members that the problem may have."""

    status: int
    title: str
    sentence: str
    detail: tuple[str, ...] = ()


CODES: Final[dict[str, Code]] = {
%s
}
'''

_SQL: Final = """\
-- The error codes. Made from spec/errors.json by `make generate`: change that file, never this one.
-- Breaks running code: no.

create function asyouwere.error_codes() returns table (code text, status int, sentence text)
language sql immutable parallel safe rows %d set search_path = pg_catalog, pg_temp
as $$
    values
%s
$$;
comment on function asyouwere.error_codes is 'Every error code with its HTTP status and its default sentence.';
revoke execute on function asyouwere.error_codes from public;
grant execute on function asyouwere.error_codes to anon, authenticated, service_role;
"""

_BEGIN: Final = "<!-- Made from spec/errors.json by `make generate`. -->\n"
_END: Final = "<!-- End of what is made. -->\n"


def error_codes() -> list[dict[str, Any]]:
    """The entries of `spec/errors.json`, in order of status."""
    found: list[dict[str, Any]] = json.loads((sql_folder().parent / "spec" / "errors.json").read_text())
    return found


def python_module() -> str:
    """The text of `asyouwere/error_codes.py`."""
    entries = (
        f"    {_quoted(e['code'])}: Code(\n        {e['status']},\n"
        f"        {_quoted(e['title'])},\n        {_quoted(e['sentence'])},\n{_detail(e)}    ),"
        for e in error_codes()
    )
    return _PYTHON % "\n".join(entries)


def sql_function() -> str:
    """The text of `sql/schema/01_error_codes.sql`."""
    codes = error_codes()
    rows = (
        f"        ({_sql_quoted(e['code'])}, {e['status']},\n            {_sql_quoted(e['sentence'])})" for e in codes
    )
    return _SQL % (len(codes), ",\n".join(rows))


def codes_raised_in_sql(folder: Path | None = None) -> set[str]:
    """Every code that `sql/schema` gives to asyouwere.fail()."""
    files = ((folder or sql_folder()) / "schema").glob("*.sql")
    return {code for path in files for code in re.findall(r"asyouwere\.fail\(\s*'(\w+)'", path.read_text())}


def readme_with_table() -> str:
    """The text of `sql/README.md`, its table of the codes that SQL raises written anew."""
    before, rest = (sql_folder() / "README.md").read_text().split(_BEGIN)
    raised = codes_raised_in_sql()
    rows = (
        f"| `{e['code']}` | {e['status']} | {e['sentence']} | {', '.join(e.get('detail', []))} |\n"
        for e in error_codes()
        if e["code"] in raised
    )
    table = "| code | status | sentence | detail |\n|---|---|---|---|\n" + "".join(rows)
    return before + _BEGIN + "\n" + table + "\n" + _END + rest.split(_END)[1]


def _detail(entry: dict[str, Any]) -> str:
    names = ", ".join(map(_quoted, entry.get("detail", ())))
    return f"        ({names},),\n" if names else ""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _sql_quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
