"""Time that Google needs before what was just made is known everywhere, waited once, when it is made.

An API that was just switched on refuses its first calls, a right that was just given is not yet held, and a metric
that was just made cannot be named by an alert policy; Google says a minute or two, a few minutes, and up to ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pulumi import Resource, ResourceOptions
from pulumiverse_time import Sleep

__all__ = ["after"]

#: Seconds, by what was made.
_SECONDS: Final = {"apis": 90, "builder": 120, "metrics": 600}


def after(what: str, made: Sequence[Resource]) -> list[Resource]:
    """What to depend on instead of ``made``: those, and that their time has passed. what: a key of the table above.

    Nothing waits a second time: only a stack that is new, or one of whose pieces was made anew."""
    seconds = _SECONDS[what]
    return [*made, Sleep(f"wait-for-{what}", create_duration=f"{seconds}s", opts=ResourceOptions(depends_on=made))]
