"""The whole deployment, in the order in which its pieces need each other."""

from __future__ import annotations

import pulumi
from pulumi_gcp import organizations

from asyouwere_infra import alerts, apis, budget, exclusions, metrics, schedule, secrets
from asyouwere_infra.accounts import Accounts
from asyouwere_infra.cloud_functions import Functions
from asyouwere_infra.configuration import Configuration
from asyouwere_infra.domain import Domain
from asyouwere_infra.entry_points import API, CLEAN_UP, USERS_FUNCTIONS
from asyouwere_infra.images import image_repository
from asyouwere_infra.source import Source

__all__ = ["deploy", "export"]


def deploy(configuration: Configuration) -> dict[str, object]:
    """Declare everything; what comes back are the stack's outputs."""
    enabled = apis.enable(domain=configuration.domain is not None, budget=configuration.budget is not None)
    number = organizations.get_project_output(project_id=configuration.project).number
    accounts = Accounts(configuration, enabled)
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
    exclusions.leave_out(configuration, enabled)
    budget.watch(configuration, number, enabled)
    alerts.make_policies(configuration, metrics.make(configuration.thresholds, enabled), enabled)
    base = _base(configuration, functions)
    outputs: dict[str, object] = {
        "functionsUrl": base,
        "urls": {name: pulumi.Output.concat(base, "/", name) for name in USERS_FUNCTIONS},
        "cleanUpUrl": functions.addresses[CLEAN_UP.name],
        "databaseConnectionsAtMost": configuration.most_connections,
    }
    if configuration.domain is not None:
        domain = Domain(configuration, configuration.domain, functions, enabled)
        outputs["domainAddress"] = domain.address
        outputs["domainProof"] = domain.proof
    return outputs


def _base(configuration: Configuration, functions: Functions) -> pulumi.Output[str]:
    """The address before the functions' names: for clients and for `asyouwere doctor --functions-url`."""
    if configuration.domain is not None:
        return pulumi.Output.from_input(f"https://{configuration.domain}/functions/v1")
    if API.name in functions.addresses:
        return pulumi.Output.concat(functions.addresses[API.name], "/functions/v1")
    # Each has an address of its own on run.app; this one, which the platform keeps beside it, they share.
    return pulumi.Output.from_input(f"https://{configuration.region}-{configuration.project}.cloudfunctions.net")


def export(outputs: dict[str, object]) -> None:
    """Show them with `pulumi stack output`."""
    for name, value in outputs.items():
        pulumi.export(name, value)
