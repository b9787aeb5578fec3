"""Time that Google needs before what was just made is known everywhere, waited once, when it is made.

An API that was just switched on refuses its first calls, a right that was just given is not yet held, and a metric
that was just made cannot be named by an alert policy; Google says a minute or two, a few minutes, and up to ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pulumi import CustomResource, Resource, ResourceOptions
from pulumiverse_time import Sleep

__all__ = ["after"]

#: Seconds, by what was made.
_SECONDS: Final = {"apis": 90, "builder": 120, "metrics": 600}


def after(what: str, made: Sequence[CustomResource]) -> list[Resource]:
    """What to depend on instead of ``made``: those, and that their time has passed. what: a key of the table above.

    Nothing waits a second time, unless one of them is new or was made anew."""
    wait = Sleep(
        f"wait-for-{what}",
        create_duration=f"{_SECONDS[what]}s",
        # Waited for again when any of these is another: by itself it would be slept through once and for all.
        triggers={resource.pulumi_resource_name: resource.id for resource in made},
        opts=ResourceOptions(depends_on=made),
    )
    return [*made, wait]
