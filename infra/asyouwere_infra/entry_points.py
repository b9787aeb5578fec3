"""The deployed functions: what functions/main.py has, who may call each, and how large each is.

A test compares this table with main.py and with the functions' own routes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["CLEAN_UP", "ENTRY_POINTS", "EntryPoint", "Sizing"]


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


# Why these sizes. The functions wait for the database most of the time, so that one core serves many
# requests at once; what bounds their number is memory (a body of 10 MB costs several times that while it is
# read) and the connections of the pool (ASYOUWERE_POOL_SIZE, 8), for which the rest queue. A save ends within
# 30 s for the body, 5 for a connection and 20 for the database; an import or export may be long; the
# clean-up is alone on purpose.
ENTRY_POINTS: Final = (
    EntryPoint(
        "session-snapshot-save",
        "session_snapshot_save",
        "asyouwere-save",
        public=True,
        sizing=Sizing("1", "1Gi", 16, 0, 20, 60),
    ),
    EntryPoint(
        "session-snapshot-restore",
        "session_snapshot_restore",
        "asyouwere-restore",
        public=True,
        sizing=Sizing("1", "1Gi", 16, 0, 20, 60),
    ),
    EntryPoint(
        "sessions",
        "sessions",
        "asyouwere-sessions",
        public=True,
        sizing=Sizing("1", "2Gi", 8, 0, 20, 120),
    ),
    EntryPoint(
        "cleanup-old-snapshots",
        "cleanup_old_snapshots",
        "asyouwere-cleanup",
        public=False,
        sizing=Sizing("1", "512Mi", 1, 0, 1, 120),
    ),
)

CLEAN_UP: Final = next(entry for entry in ENTRY_POINTS if not entry.public)
