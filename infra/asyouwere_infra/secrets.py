"""Secrets in Secret Manager, each readable by the functions that need it and by no other account of ours.

The values come from the stack's encrypted settings. A function is bound to one version, so that a changed
secret is a new revision: rolled out like a deployment, and back like one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pulumi
from pulumi import ResourceOptions
from pulumi_gcp import secretmanager

from asyouwere_infra.accounts import Accounts, member
from asyouwere_infra.configuration import Configuration
from asyouwere_infra.environment import readers, secret_id

__all__ = ["StoredSecret", "store"]


class StoredSecret(NamedTuple):
    """One variable's secret; grants: the bindings that its readers need before they start, by function."""

    secret: secretmanager.Secret
    version: secretmanager.SecretVersion
    grants: dict[str, pulumi.Resource]


def store(
    configuration: Configuration, accounts: Accounts, apis: Sequence[pulumi.Resource]
) -> dict[str, StoredSecret]:
    """The stack's secrets by variable."""
    stored = {}
    for variable, value in configuration.secrets.items():
        name = secret_id(variable)
        secret = secretmanager.Secret(
            name,
            secret_id=name,
            replication=secretmanager.SecretReplicationArgs(
                user_managed=secretmanager.SecretReplicationUserManagedArgs(
                    replicas=[
                        secretmanager.SecretReplicationUserManagedReplicaArgs(location=configuration.region)
                    ]
                )
            ),
            labels=configuration.all_labels,
            opts=ResourceOptions(depends_on=apis),
        )
        version = secretmanager.SecretVersion(
            name,
            secret=secret.id,
            secret_data=pulumi.Output.secret(value),
            # The old version stays until the functions have the new one.
            opts=ResourceOptions(delete_before_replace=False),
        )
        grants: dict[str, pulumi.Resource] = {}
        for function in sorted(readers(variable, configuration.mode) & accounts.functions.keys()):
            grants[function] = secretmanager.SecretIamMember(
                f"{function}-reads-{name}",
                project=configuration.project,
                secret_id=secret.secret_id,
                role="roles/secretmanager.secretAccessor",
                member=member(accounts.functions[function]),
            )
        stored[variable] = StoredSecret(secret, version, grants)
    return stored
