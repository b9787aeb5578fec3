"""Query parameters: text that stands for numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["parse_ints"]


def parse_ints(query: Mapping[str, str], *names: str) -> dict[str, Any]:
    """The parameters, the named ones as int where they are whole numbers; a model refuses the rest."""
    return {
        name: int(value) if name in names and re.fullmatch(r"-?[0-9]{1,10}", value, re.ASCII) else value
        for name, value in query.items()
    }
