"""What each function finds in its environment: all settings that functions/asyouwere/service/settings.py declares."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from asyouwere.service.settings import VARIABLES, Readers, Variable
from asyouwere_infra.entry_points import CLEAN_UP, ENTRY_POINTS

__all__ = [
    "CLEAN_UP_LOGIN",
    "DATABASE_URL",
    "PLACES",
    "TELEMETRY",
    "TELEMETRY_HEADERS",
    "Kind",
    "Mode",
    "Place",
    "config_key",
    "of_kind",
    "readers",
    "secret_id",
]

Mode = Literal["direct", "postgrest"]
Kind = Literal["setting", "secret", "derived"]

_ALL: Final = frozenset(entry.name for entry in ENTRY_POINTS)
_CLEAN_UP: Final = frozenset({CLEAN_UP.name})
_FUNCTIONS: Final[dict[Readers, frozenset[str]]] = {
    "all": _ALL,
    "users": _ALL - _CLEAN_UP,
    "cleanup": _CLEAN_UP,
    "none": frozenset(),
}
#: Where Google Cloud needs another value than the function's own default.
_DEFAULTS: Final[dict[str, str]] = {
    # Cloud Run refuses requests above 32 MiB (HTTP/1) before they reach the function, which says it better.
    "ASYOUWERE_MAX_IMPORT_BYTES": str(31 * 1024 * 1024),
}


class Place(NamedTuple):
    """Where a variable's value comes from and which functions get it.

    kind: a setting of the stack (left out if the stack does not set it: the function's own default holds), a
    secret of the stack (kept in Secret Manager), or derived from the deployment itself.
    direct, postgrest: the functions that get it in that mode of the database.
    default: the value if the stack sets none, where Google Cloud needs another one than the function's own.
    """

    kind: Kind
    direct: frozenset[str]
    postgrest: frozenset[str]
    default: str | None


def _place(name: str, variable: Variable) -> Place:
    kind: Kind = "derived" if variable.derived else "secret" if variable.secret else "setting"
    return Place(kind, _FUNCTIONS[variable.direct], _FUNCTIONS[variable.postgrest], _DEFAULTS.get(name))


PLACES: Final[dict[str, Place]] = {name: _place(name, variable) for name, variable in VARIABLES.items()}


def config_key(variable: str) -> str:
    """The stack's setting for a variable: ASYOUWERE_POOL_SIZE is poolSize."""
    first, *others = variable.removeprefix("ASYOUWERE_").lower().split("_")
    return first + "".join(word.capitalize() for word in others)


def readers(variable: str, mode: Mode) -> frozenset[str]:
    """Names of the functions that get the variable in that mode of the database."""
    place = PLACES[variable]
    return place.direct if mode == "direct" else place.postgrest


def secret_id(variable: str) -> str:
    """Its name in Secret Manager: ASYOUWERE_DATABASE_URL is asyouwere-database-url."""
    return re.sub("_", "-", variable).lower()


#: What OpenTelemetry's SDK is told where telemetry is on; the stack's `environment` may say otherwise.
TELEMETRY: Final = {
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_METRICS_EXPORTER": "otlp",
    "OTEL_SERVICE_NAME": "asyouwere",
    "OTEL_TRACES_EXPORTER": "otlp",
}
#: The exporter's headers, with the collector's key in them: the secret telemetryHeaders of the stack.
TELEMETRY_HEADERS: Final = "OTEL_EXPORTER_OTLP_HEADERS"
#: The stack's setting that is the clean-up's own DATABASE_URL: it logs in as somebody else than the others.
CLEAN_UP_LOGIN: Final = "cleanupDatabaseUrl"
DATABASE_URL: Final = "ASYOUWERE_DATABASE_URL"


def of_kind(kind: Kind) -> Iterable[str]:
    """The variables of one kind, in order."""
    return (name for name, place in PLACES.items() if place.kind == kind)
