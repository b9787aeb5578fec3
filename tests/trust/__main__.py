"""The command: `python -m tests.trust crash [--long]`, or `make crash`."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from asyouwere.local.stack import data_folder
from tests.trust import report
from tests.trust.place import folder_of_a_run
from tests.trust.report import Outcome

RUNS = {
    **dict.fromkeys(("crash", "lines", "convergence", "faults", "cleanup", "turns", "clients", "killed"), "tests.trust"),
    **dict.fromkeys(("tokens", "oracles", "fuzz", "bombs", "privacy", "neighbours"), "tests.security"),
}
SAY_EVERY_SECONDS = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it, report; 0 if everything held."""
    parser = argparse.ArgumentParser(prog="python -m tests.trust", description=__doc__)
    parser.add_argument("run", choices=RUNS)
    parser.add_argument("--long", action="store_true", help="as long as the figures of the claim need")
    parser.add_argument("--output", type=Path, help="folder for the report (default: .asyouwere/trust)")
    options = parser.parse_args(arguments)
    begin = time.monotonic()
    say = _Progress(begin)
    outcome = Outcome(options.run)
    try:
        with folder_of_a_run() as folder:
            importlib.import_module(f"{RUNS[options.run]}.{options.run}").run(
                outcome, folder, options.long, say
            )
    except Exception:  # noqa: BLE001 - a run that broke off has not held, and its report says where
        outcome.failures.append(traceback.format_exc())
        traceback.print_exc()
    took = report.spoken(time.monotonic() - begin)
    outcome.facts["run"] = f"{'long' if options.long else 'short'} form, {took}"
    path = report.write(outcome, options.output or data_folder() / "trust")
    print(f"{outcome.summary()}; {took}; {path}")
    return 0 if outcome.held else 1


class _Progress:
    """Prints a line on stderr, at most every few seconds."""

    def __init__(self, begin: float) -> None:
        self._begin = begin
        self._next = 0.0

    def __call__(self, line: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + SAY_EVERY_SECONDS
            print(f"asyouwere: {report.spoken(now - self._begin)}: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
