"""What each function finds in its environment: every variable of functions/asyouwere/service/settings.py has a place.

A test compares ``PLACES`` with ``asyouwere.settings.VARIABLES``: a new setting fails it until it is placed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from asyouwere_infra.entry_points import CLEAN_UP, ENTRY_POINTS

__all__ = ["PLACES", "Kind", "Place", "Way", "config_key", "of_kind", "readers", "secret_id"]

Way = Literal["direct", "postgrest"]
Kind = Literal["setting", "secret", "derived"]

_ALL: Final = frozenset(entry.name for entry in ENTRY_POINTS)
_CLEAN_UP: Final = frozenset({CLEAN_UP.name})
_NONE: Final[frozenset[str]] = frozenset()


class Place(NamedTuple):
    """Where a variable's value comes from and which functions get it.

    kind: a setting of the stack (left out if the stack does not set it: the function's own default holds), a
    secret of the stack (kept in Secret Manager), or derived from the deployment itself.
    direct, postgrest: the functions that get it on that way to the database.
    default: the value if the stack sets none, where Google Cloud needs another one than the function's own.
    """

    kind: Kind
    direct: frozenset[str] = _ALL
    postgrest: frozenset[str] = _ALL
    default: str | None = None


PLACES: Final[dict[str, Place]] = {
    "ASYOUWERE_DATABASE": Place("derived"),
    # With PostgREST no function has a login to the database, and only the clean-up has a key of any kind.
    "ASYOUWERE_DATABASE_URL": Place("secret", postgrest=_NONE),
    "ASYOUWERE_SERVICE_KEY": Place("secret", direct=_NONE, postgrest=_CLEAN_UP),
    "ASYOUWERE_SUPABASE_URL": Place("setting"),
    "ASYOUWERE_POSTGREST_URL": Place("setting", direct=_NONE),
    "ASYOUWERE_PUBLISHABLE_KEY": Place("setting", direct=_NONE),
    # The clean-up knows its caller by the scheduler's token and gets no key to users' tokens.
    "ASYOUWERE_JWT_SECRET": Place("secret", _ALL - _CLEAN_UP, _ALL - _CLEAN_UP),
    "ASYOUWERE_JWKS_URL": Place("setting"),
    "ASYOUWERE_JWT_ISSUER": Place("setting"),
    "ASYOUWERE_JWT_AUDIENCE": Place("setting"),
    "ASYOUWERE_SCHEDULER_AUDIENCE": Place("derived", _CLEAN_UP, _CLEAN_UP),
    "ASYOUWERE_SCHEDULER_EMAIL": Place("derived", _CLEAN_UP, _CLEAN_UP),
    "ASYOUWERE_SCHEDULER_ISSUER": Place("setting", _CLEAN_UP, _CLEAN_UP),
    "ASYOUWERE_SCHEDULER_JWKS_URL": Place("setting", _CLEAN_UP, _CLEAN_UP),
    "ASYOUWERE_SCHEDULER_BEHIND_IAM": Place("derived", _CLEAN_UP, _CLEAN_UP),
    "ASYOUWERE_ALLOWED_ORIGINS": Place("setting", _ALL - _CLEAN_UP, _ALL - _CLEAN_UP),
    "ASYOUWERE_MAX_BODY_BYTES": Place("setting"),
    # Cloud Run refuses requests above 32 MiB (HTTP/1) before they reach the function, which says it better.
    "ASYOUWERE_MAX_IMPORT_BYTES": Place("setting", default=str(31 * 1024 * 1024)),
    "ASYOUWERE_BODY_TIMEOUT_SECONDS": Place("setting"),
    "ASYOUWERE_POOL_SIZE": Place("setting", postgrest=_NONE),
    "ASYOUWERE_POOL_TIMEOUT_SECONDS": Place("setting"),
    "ASYOUWERE_STATEMENT_TIMEOUT_SECONDS": Place("setting"),
    "ASYOUWERE_CLEANUP_BUDGET_SECONDS": Place("derived", _CLEAN_UP, _CLEAN_UP),
    # Every metric and alert reads the request log.
    "ASYOUWERE_REQUEST_LOG": Place("derived"),
    "ASYOUWERE_TELEMETRY": Place("setting"),
}


def config_key(variable: str) -> str:
    """The stack's setting for a variable: ASYOUWERE_POOL_SIZE is poolSize."""
    first, *others = variable.removeprefix("ASYOUWERE_").lower().split("_")
    return first + "".join(word.capitalize() for word in others)


def readers(variable: str, way: Way) -> frozenset[str]:
    """Names of the functions that get the variable on that way to the database."""
    place = PLACES[variable]
    return place.direct if way == "direct" else place.postgrest


def secret_id(variable: str) -> str:
    """Its name in Secret Manager: ASYOUWERE_DATABASE_URL is asyouwere-database-url."""
    return re.sub("_", "-", variable).lower()


def of_kind(kind: Kind) -> Iterable[str]:
    """The variables of one kind, in order."""
    return (name for name, place in PLACES.items() if place.kind == kind)
