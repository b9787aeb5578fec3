"""The whole deployment, in the order in which its pieces need each other."""

from __future__ import annotations

import pulumi
from pulumi_gcp import organizations

from asyouwere_infra import alerts, apis, metrics, schedule, secrets
from asyouwere_infra.accounts import Accounts
from asyouwere_infra.cloud_functions import Functions
from asyouwere_infra.configuration import Configuration
from asyouwere_infra.domain import Domain
from asyouwere_infra.entry_points import CLEAN_UP, ENTRY_POINTS
from asyouwere_infra.images import image_repository
from asyouwere_infra.source import Source

__all__ = ["deploy", "export"]


def deploy(configuration: Configuration) -> dict[str, object]:
    """Declare everything; what comes back are the stack's outputs."""
    enabled = apis.enable(domain=configuration.domain is not None)
    number = organizations.get_project_output(project_id=configuration.project).number
    accounts = Accounts(enabled)
    repository = image_repository(configuration, enabled)
    functions = Functions(
        configuration,
        accounts,
        Source(configuration, enabled),
        repository,
        secrets.store(configuration, accounts, enabled),
        number,
        accounts.let_build(configuration, number, repository),
    )
    schedule.call_clean_up(configuration, accounts, functions)
    alerts.make_policies(configuration, metrics.make(configuration.thresholds, enabled), enabled)
    outputs: dict[str, object] = {
        "urls": {entry.name: functions.addresses[entry.name] for entry in ENTRY_POINTS if entry.public},
        "cleanUpUrl": functions.addresses[CLEAN_UP.name],
        "databaseConnectionsAtMost": configuration.most_connections,
    }
    if configuration.domain is not None:
        domain = Domain(configuration, configuration.domain, functions, enabled)
        outputs["functionsUrl"] = f"https://{configuration.domain}/functions/v1"
        outputs["domainAddress"] = domain.address
        outputs["domainProof"] = domain.proof
    return outputs


def export(outputs: dict[str, object]) -> None:
    """Show them with `pulumi stack output`."""
    for name, value in outputs.items():
        pulumi.export(name, value)
