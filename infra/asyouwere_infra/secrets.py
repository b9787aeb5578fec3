"""Secrets in Secret Manager, each readable by the functions that need it and by no other account of ours.

The values come from the stack's encrypted settings. A function is bound to one version, so that a changed
secret is a new revision: rolled out like a deployment, and back like one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pulumi
from pulumi import ResourceOptions
from pulumi_gcp import secretmanager

from asyouwere_infra.accounts import Accounts, member
from asyouwere_infra.configuration import Configuration
from asyouwere_infra.entry_points import CLEAN_UP
from asyouwere_infra.environment import DATABASE_URL, TELEMETRY_HEADERS, readers, secret_id

__all__ = ["StoredSecret", "store"]


class StoredSecret(NamedTuple):
    """The secret that a variable is bound to.

    grants: the bindings that its readers need before they start, by function."""

    variable: str
    secret: secretmanager.Secret
    version: secretmanager.SecretVersion
    grants: dict[str, pulumi.Resource]


def store(
    configuration: Configuration, accounts: Accounts, apis: Sequence[pulumi.Resource]
) -> list[StoredSecret]:
    """The stack's secrets. Two may be of one variable, for different functions: each logs in as itself."""
    stored = []
    for variable, name, value, functions in _secrets(configuration):
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
        for function in sorted(functions & accounts.functions.keys()):
            grants[function] = secretmanager.SecretIamMember(
                f"{function}-reads-{name}",
                project=configuration.project,
                secret_id=secret.secret_id,
                role="roles/secretmanager.secretAccessor",
                member=member(accounts.functions[function]),
            )
        stored.append(StoredSecret(variable, secret, version, grants))
    return stored


def _secrets(
    configuration: Configuration,
) -> Iterator[tuple[str, str, pulumi.Input[str], frozenset[str]]]:
    """Each secret's variable, name, value and readers."""
    for variable, value in configuration.secrets.items():
        functions = readers(variable, configuration.mode)
        if variable == DATABASE_URL and configuration.clean_up_login is not None:
            name, mine = secret_id("ASYOUWERE_CLEANUP_DATABASE_URL"), frozenset({CLEAN_UP.name})
            yield variable, name, configuration.clean_up_login, mine
            functions -= mine
        yield variable, secret_id(variable), value, functions
    if configuration.telemetry_headers is not None:
        everybody = frozenset(entry.name for entry in configuration.entry_points)
        yield TELEMETRY_HEADERS, "asyouwere-telemetry-headers", configuration.telemetry_headers, everybody
