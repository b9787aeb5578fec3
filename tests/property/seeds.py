"""How many sequences to play, and which."""

from __future__ import annotations

import os

BATCH = 20


def batches() -> list[range]:
    """The seeds of each test: ASYOUWERE_SEQUENCES of them (default 160), from ASYOUWERE_SEED (default 0) on."""
    count = int(os.environ.get("ASYOUWERE_SEQUENCES") or 160)
    first = int(os.environ.get("ASYOUWERE_SEED") or 0)
    return [range(at, min(at + BATCH, first + count)) for at in range(first, first + count, BATCH)]
