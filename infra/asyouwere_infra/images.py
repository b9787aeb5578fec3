"""Where the built images are kept."""

from __future__ import annotations

from collections.abc import Sequence

from pulumi import Resource, ResourceOptions
from pulumi_gcp import artifactregistry

from asyouwere_infra.configuration import Configuration

__all__ = ["image_repository"]


def image_repository(configuration: Configuration, apis: Sequence[Resource]) -> artifactregistry.Repository:
    """A repository of our own, so that who builds may write here and nowhere else; old images go."""
    return artifactregistry.Repository(
        "images",
        repository_id="asyouwere",
        location=configuration.region,
        format="DOCKER",
        description="Images of asyouwere's functions, built by Cloud Functions",
        labels=configuration.all_labels,
        cleanup_policies=[
            artifactregistry.RepositoryCleanupPolicyArgs(
                id="keep-the-newest",
                action="KEEP",
                most_recent_versions=artifactregistry.RepositoryCleanupPolicyMostRecentVersionsArgs(
                    keep_count=5
                ),
            ),
            artifactregistry.RepositoryCleanupPolicyArgs(
                id="delete-after-30-days",
                action="DELETE",
                condition=artifactregistry.RepositoryCleanupPolicyConditionArgs(
                    older_than="2592000s", tag_state="ANY"
                ),
            ),
        ],
        opts=ResourceOptions(depends_on=apis),
    )
