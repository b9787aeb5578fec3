"""The functions by name, each with its table of routes: for routing and for the OpenAPI document alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

from asyouwere.service.http.routing import Route, RouteTable

__all__ = ["FUNCTIONS"]

_Routes: TypeAlias = tuple[Route, ...]

# A function imports its own routes only. All four take 8 % longer (207 ms of processor time against 190 for what
# `import main` and the routes of one function take after the framework).


def _save() -> _Routes:
    from asyouwere.service.routes.save import ROUTES

    return ROUTES


def _restore() -> _Routes:
    from asyouwere.service.routes.restore import ROUTES

    return ROUTES


def _sessions() -> _Routes:
    from asyouwere.service.routes.sessions import ROUTES

    return ROUTES


def _cleanup() -> _Routes:
    from asyouwere.service.routes.cleanup import ROUTES

    return ROUTES


class _Functions(Mapping[str, RouteTable]):
    """Makes a function's table when first asked for it."""

    _routes: Final[dict[str, Callable[[], _Routes]]] = {
        "session-snapshot-save": _save,
        "session-snapshot-restore": _restore,
        "sessions": _sessions,
        "cleanup-old-snapshots": _cleanup,
    }

    def __init__(self) -> None:
        self._tables: dict[str, RouteTable] = {}

    def __getitem__(self, function: str) -> RouteTable:
        table = self._tables.get(function)
        if table is None:
            table = self._tables[function] = RouteTable(self._routes[function]())
        return table

    def __iter__(self) -> Iterator[str]:
        return iter(self._routes)

    def __len__(self) -> int:
        return len(self._routes)


FUNCTIONS: Final = _Functions()
