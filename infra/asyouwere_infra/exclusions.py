"""What is not worth keeping in the log: it is paid for by its size, and strangers decide how much of it there is."""

from __future__ import annotations

from collections.abc import Sequence

from pulumi import Resource, ResourceOptions
from pulumi_gcp import logging

from asyouwere_infra.configuration import Configuration

__all__ = ["leave_out"]


def leave_out(configuration: Configuration, apis: Sequence[Resource]) -> logging.ProjectExclusion:
    """Cloud Run's own entry of a request that was refused for want of a token: ours says the same, and why."""
    services = " OR ".join(f'"{entry.name}"' for entry in configuration.entry_points if entry.public)
    return logging.ProjectExclusion(
        "refused-requests",
        name="asyouwere-refused-requests",
        description="Cloud Run's entries of requests without a good token; asyouwere's own lines stay",
        filter=(
            f'resource.type="cloud_run_revision" AND resource.labels.service_name=({services}) '
            "AND httpRequest.status=401"
        ),
        opts=ResourceOptions(depends_on=apis),
    )
