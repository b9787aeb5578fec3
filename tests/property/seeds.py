"""How many sequences to play, and which."""

from __future__ import annotations

import os

BATCH = 20


def batches() -> list[range]:
    """The seeds of each test: LEFTOFF_SEQUENCES of them (default 160), from LEFTOFF_SEED (default 0) on."""
    count = int(os.environ.get("LEFTOFF_SEQUENCES") or 160)
    first = int(os.environ.get("LEFTOFF_SEED") or 0)
    return [range(at, min(at + BATCH, first + count)) for at in range(first, first + count, BATCH)]
