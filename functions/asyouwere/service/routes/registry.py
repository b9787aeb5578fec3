"""The functions by name, each with its table of routes: for routing and for the OpenAPI document alike."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Final

from asyouwere.service.http.routing import RouteTable

__all__ = ["FUNCTIONS"]


class _Functions(Mapping[str, RouteTable]):
    """Imports a function's routes when first asked for them: others' would only make a cold start longer."""

    _modules: Final = {
        "session-snapshot-save": "save",
        "session-snapshot-restore": "restore",
        "sessions": "sessions",
        "cleanup-old-snapshots": "cleanup",
    }

    def __init__(self) -> None:
        self._tables: dict[str, RouteTable] = {}

    def __getitem__(self, function: str) -> RouteTable:
        table = self._tables.get(function)
        if table is None:
            routes = importlib.import_module(f"asyouwere.service.routes.{self._modules[function]}").ROUTES
            table = self._tables[function] = RouteTable(routes)
        return table

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


FUNCTIONS: Final = _Functions()
