"""The deployed functions: what functions/main.py has, who may call each, and how large each is.

A test compares this table with main.py and with the functions' own routes.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

__all__ = ["API", "CLEAN_UP", "ENTRY_POINTS", "LAYOUTS", "USERS_FUNCTIONS", "EntryPoint", "Layout", "Sizing"]

Layout = Literal["one", "four"]


class Sizing(NamedTuple):
    """cpu: cores (a concurrency above 1 needs at least 1); memory: as Kubernetes writes it; concurrency:
    requests in one instance at once; timeout_seconds: the platform cuts a request off then."""

    cpu: str
    memory: str
    concurrency: int
    min_instances: int
    max_instances: int
    timeout_seconds: int


class EntryPoint(NamedTuple):
    """name: of the function and of its Cloud Run service; target: in main.py; account: id of its identity;
    public: whether anybody may reach it (and then has to show a user's token to the function itself)."""

    name: str
    target: str
    account: str
    public: bool
    sizing: Sizing


# Why these sizes. The functions wait for the database most of the time, so that one core serves many requests
# at once, and event streams wait for even less: they hold no connection. What bounds them is memory, which
# the functions keep to themselves (large bodies and reads one or a few at a time), and the connections of the
# pool (ASYOUWERE_POOL_SIZE, 8), for which the rest queue. Where streams are, the platform's limit is above
# their life of 300 s. A save ends within 30 s for the body, 5 for a connection and 20 for the database; an
# import or export may be long; the clean-up is alone on purpose. All instances together fit the smallest
# plans: 6 or 10 cores, 41 or 73 connections (a test counts).
API: Final = EntryPoint(
    "asyouwere",
    "asyouwere_api",
    "asyouwere-api",
    public=True,
    sizing=Sizing("1", "2Gi", 80, 0, 5, 360),
)
CLEAN_UP: Final = EntryPoint(
    "cleanup-old-snapshots",
    "cleanup_old_snapshots",
    "asyouwere-cleanup",
    public=False,
    sizing=Sizing("1", "512Mi", 1, 0, 1, 120),
)
_APART: Final = (
    EntryPoint(
        "session-snapshot-save",
        "session_snapshot_save",
        "asyouwere-save",
        public=True,
        sizing=Sizing("1", "1Gi", 16, 0, 3, 60),
    ),
    EntryPoint(
        "session-snapshot-restore",
        "session_snapshot_restore",
        "asyouwere-restore",
        public=True,
        sizing=Sizing("1", "1Gi", 16, 0, 3, 60),
    ),
    EntryPoint(
        "sessions",
        "sessions",
        "asyouwere-sessions",
        public=True,
        sizing=Sizing("1", "2Gi", 80, 0, 3, 360),
    ),
)
#: What a stack has: all that users call as one service, or each function apart; the clean-up is by itself in both.
LAYOUTS: Final[dict[Layout, tuple[EntryPoint, ...]]] = {"one": (API, CLEAN_UP), "four": (*_APART, CLEAN_UP)}
ENTRY_POINTS: Final = (API, *_APART, CLEAN_UP)
#: What users call, by the name in an address.
USERS_FUNCTIONS: Final = tuple(entry.name for entry in _APART)
