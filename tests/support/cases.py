"""The cases in spec/cases: what holds in every language of the project, as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Case", "all_cases"]

_FOLDER = Path(__file__).parents[2] / "spec" / "cases"

Case = dict[str, Any]


def all_cases(file: str) -> pytest.MarkDecorator:
    """A test that takes a ``case``, for each in that file. States, changes and bodies are text where spelling counts."""
    cases = json.loads((_FOLDER / file).read_text("utf-8"))
    return pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in cases])
