"""What is wrong with a request is said in a sentence for each field, whatever pydantic calls it."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from typing import Any

import pytest

from asyouwere.errors import Invalid
from asyouwere.service import handlers
from asyouwere.service.http.bodies import _PROBLEMS, read_model, validated
from asyouwere.service.models import RequestModel

SENTENCE = re.compile(r"[A-Z][^\\^$()|]+\.")
WRONG: list[Any] = [
    None, 5, -5, 10**30, 1.5, True, "", "x" * 5_000, "\0", "\ud800", "no-uuid", [], {}, "2", "true",
]  # fmt: skip


def models() -> list[type[RequestModel]]:
    for module in pkgutil.iter_modules(handlers.__path__):
        importlib.import_module(f"{handlers.__name__}.{module.name}")
    return sorted(RequestModel.__subclasses__(), key=lambda model: model.__name__)


def problems(refused: pytest.ExceptionInfo[Invalid]) -> list[dict[str, str]]:
    assert refused.value.code == "invalid_request"
    found: list[dict[str, str]] = json.loads(refused.value.data or "")["errors"]
    return found


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_validated__every_field_of_every_request(model: type[RequestModel]) -> None:
    for name in [*model.model_fields, "unknown"]:
        for value in WRONG:
            try:
                validated(model, {name: value})
            except Invalid as invalid:
                for error in json.loads(invalid.data or "")["errors"]:
                    assert SENTENCE.fullmatch(error["problem"]), error
                    assert error["problem"] != "Is not as it should be.", (name, value)


def test_read_model__a_field_twice() -> None:
    class Asked(RequestModel):
        limit: int

    with pytest.raises(Invalid) as refused:
        read_model(Asked, bytearray(b'{"limit":1,"limit":1}'))
    assert problems(refused) == [{"field": "limit", "problem": "Is there twice."}]
    with pytest.raises(Invalid) as refused:
        read_model(Asked, bytearray(b'{"limit":"1"}'))
    assert problems(refused) == [{"field": "limit", "problem": "Must be a whole number."}]
    assert _PROBLEMS["missing"] == "Is required."
