"""spec/errors.json, and what is made from it and says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from asyouwere import errors
from asyouwere.errors import CODES, AsYouWereError, MethodNotAllowed, from_code
from asyouwere.local import error_codes

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("functions/asyouwere/error_codes.py", error_codes.python_module()),
        ("sql/schema/01_error_codes.sql", error_codes.sql_function()),
        ("sql/README.md", error_codes.readme_with_table()),
    ],
    ids=["python", "sql", "readme"],
)
def test_made_file__is_what_the_list_says(name: str, made: str) -> None:
    assert (ROOT / name).read_text() == made, "run `make generate` and commit what it wrote"


def test_list__is_well_formed() -> None:
    codes = error_codes.error_codes()
    assert [entry["status"] for entry in codes] == sorted(entry["status"] for entry in codes)
    assert len({entry["code"] for entry in codes}) == len(codes)
    for entry in codes:
        assert entry.keys() - {"detail"} == {"code", "status", "title", "sentence"}, entry
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", entry["code"]), entry
        assert 400 <= entry["status"] <= 599, entry
        assert re.fullmatch(r"[A-Z][^|]*[^.]", entry["title"]), entry
        assert re.fullmatch(r"[A-Z][^|]*\.", entry["sentence"]), entry


def test_codes__are_those_of_the_list() -> None:
    assert [(code, *entry) for code, entry in CODES.items()] == [  # type: ignore[comparison-overlap]
        (e["code"], e["status"], e["title"], e["sentence"], tuple(e.get("detail", ())))
        for e in error_codes.error_codes()
    ]


def test_codes_raised_in_sql__are_known() -> None:
    raised = error_codes.codes_raised_in_sql()
    assert raised - CODES.keys() == set()
    assert len(raised) > 20


def test_exception_tree__is_true() -> None:
    """The drawing in errors.py: each class with its status, and every code in the line of its class and status."""
    drawn: dict[str, tuple[str, int]] = {}
    others: set[tuple[str, int]] = set()
    drawing = re.sub(r"\n│ +", " ", errors.__doc__ or "")
    for line in re.findall(r"^[├└]── (.+)$", drawing, re.MULTILINE):
        name = re.match(r"\(?(\w+)", line)
        assert name
        for status, names in re.findall(r"(\d{3}) +([^;]+)", line):
            known = re.findall(r"\b[a-z]+(?:_[a-z]+)*\b", names)
            if set(known) <= CODES.keys():
                drawn |= {code: (name[1], int(status)) for code in known}
            else:
                others.add((name[1], int(status)))
    actual = {code: (type(from_code(code)).__name__, entry.status) for code, entry in CODES.items()}
    actual["method_not_allowed"] = (MethodNotAllowed.__name__, MethodNotAllowed("GET").status)
    assert {code: place for code, place in actual.items() if place not in others} == drawn
    assert others <= set(actual.values())


def test_from_code__unknown_is_an_error() -> None:
    with pytest.raises(KeyError):
        from_code("no_such_code")


def test_from_code__every_code_says_its_sentence() -> None:
    for code, entry in CODES.items():
        error = from_code(code)
        assert isinstance(error, AsYouWereError)
        assert (error.code, error.status, str(error)) == (code, entry.status, entry.sentence)
