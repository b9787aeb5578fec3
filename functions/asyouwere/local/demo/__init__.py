"""`asyouwere demo`: a long conversation, crashes, an answer that outlives them, and proof that nothing was lost.

    main()                            as `make demo` does
    main(messages=60, keep=True)      shorter, and the data folder stays

Where to look: `conversation` writes what is played, `play` has the acts, `crash` kills, `streaming` has an answer
that a `runner` makes and a `reader` reads, `checks` judges, `documents` is what it is compared with, `report` and
`picture` show it.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["MESSAGES", "main"]

MESSAGES = 320


def main(*, messages: int = MESSAGES, keep: bool = False, folder: Path | None = None) -> int:
    """Play the demo; the exit code: 0 if all held, 1 if not. Takes 20 to 40 seconds on two free cores.

    messages: how long the conversation is, at least 60 (default 320); keep: leave the data folder;
    folder: where the picture goes and the data live, default `demo` in asyouwere's data folder.
    """
    # Here, so that `asyouwere --help` does not wait for what only the demo needs.
    from asyouwere.local.demo.run import run

    return run(messages=messages, keep=keep, folder=folder)
