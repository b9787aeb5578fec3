"""Identities: one for each function, one for the scheduler, one that builds. None is the project's default
account, none has a role in the project but the one that builds, and that one may only write logs and read the
sources.

What a function may do is given where the thing is: secrets.py. Logs on standard output need no role.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pulumi
from pulumi import ResourceOptions
from pulumi_gcp import artifactregistry, projects, serviceaccount

from asyouwere_infra.configuration import Configuration
from asyouwere_infra.waits import after

__all__ = ["BUILDER", "SCHEDULER", "Accounts", "member"]

BUILDER: Final = "asyouwere-build"
SCHEDULER: Final = "asyouwere-scheduler"


def member(account: serviceaccount.Account) -> pulumi.Output[str]:
    """The account as IAM bindings name it."""
    return account.email.apply(lambda email: f"serviceAccount:{email}")


class Accounts:
    """functions: by the function's name."""

    def __init__(self, configuration: Configuration, apis: Sequence[pulumi.Resource]) -> None:
        enabled = ResourceOptions(depends_on=apis)
        self.functions = {
            entry.name: serviceaccount.Account(
                entry.account,
                account_id=entry.account,
                display_name=f"asyouwere: runs {entry.name}",
                opts=enabled,
            )
            for entry in configuration.entry_points
        }
        self.scheduler = serviceaccount.Account(
            SCHEDULER, account_id=SCHEDULER, display_name="asyouwere: calls the clean-up", opts=enabled
        )
        self.builder = serviceaccount.Account(
            BUILDER, account_id=BUILDER, display_name="asyouwere: builds the functions", opts=enabled
        )

    def let_build(
        self,
        configuration: Configuration,
        project_number: pulumi.Output[str],
        repository: artifactregistry.Repository,
    ) -> list[pulumi.Resource]:
        """What a build needs: to write its log, read the source, push the image, and nothing else."""
        # Cloud Functions copies the source into a bucket of this name, made on the first deployment: a grant
        # on the bucket itself would come too late, so it is the project's and names the bucket.
        sources = project_number.apply(lambda number: f"gcf-v2-sources-{number}-{configuration.region}")
        given: list[pulumi.CustomResource] = [
            projects.IAMMember(
                "build-writes-logs",
                project=configuration.project,
                role="roles/logging.logWriter",
                member=member(self.builder),
            ),
            projects.IAMMember(
                "build-reads-sources",
                project=configuration.project,
                role="roles/storage.objectViewer",
                member=member(self.builder),
                condition=projects.IAMMemberConditionArgs(
                    title="only the functions' sources",
                    expression=sources.apply(
                        lambda bucket: f'resource.name.startsWith("projects/_/buckets/{bucket}")'
                    ),
                ),
            ),
            artifactregistry.RepositoryIamMember(
                "build-pushes-images",
                project=configuration.project,
                location=configuration.region,
                repository=repository.name,
                role="roles/artifactregistry.writer",
                member=member(self.builder),
            ),
        ]
        return after("builder", given)
