"""Faults: what is answered while something around asyouwere is broken, and that it recovers by itself.

No connections left, locks held, slow statements, restarts, a full disk, a standby promoted, a standby away, and
migrations while clients save. An answer is a save that is done, or a clear 503 or 504 with Retry-After; what was
answered is there afterwards, once; and nobody has to do anything but to mend the fault.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.trust.faults import contention, disk, failover, migrating, rest, restarts
from tests.trust.report import Outcome, Say

__all__ = ["SCENARIOS", "run"]

SCENARIOS: dict[str, Callable[[Outcome, Path, bool], None]] = {
    "connections": contention.no_connections_left,
    "locks": contention.locks_held,
    "slow": contention.slow_statements,
    "restarts": restarts.restarts,
    "postgrest": rest.over_postgrest,
    "disk": disk.full,
    "log disk": disk.log_full,
    "failover": failover.standby_promoted,
    "standby": failover.standby_away,
    "migrating": migrating.while_clients_save,
}


def run(outcome: Outcome, folder: Path, long: bool, say: Say) -> None:
    """All of them, each in a place of its own."""
    outcome.short = tuple(SCENARIOS)
    for name, scenario in SCENARIOS.items():
        say(name)
        failures = len(outcome.failures)
        (folder / name).mkdir(mode=0o711)
        scenario(outcome, folder / name, long)
        outcome.figures.setdefault(name, "held" if len(outcome.failures) == failures else "DID NOT HOLD")
