"""The Google APIs that the deployment needs, switched on."""

from __future__ import annotations

from typing import Final

from pulumi import Resource
from pulumi_gcp import projects

from asyouwere_infra.waits import after

__all__ = ["APIS", "BUDGET_APIS", "DOMAIN_APIS", "enable"]

APIS: Final = (
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudscheduler.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
)
#: Only for a domain of one's own.
DOMAIN_APIS: Final = ("certificatemanager.googleapis.com", "compute.googleapis.com")
#: Only for a budget.
BUDGET_APIS: Final = ("billingbudgets.googleapis.com",)


def enable(*, domain: bool, budget: bool) -> list[Resource]:
    """They stay on when the stack is destroyed: other things in the project may use them."""
    wanted = (*APIS, *(DOMAIN_APIS if domain else ()), *(BUDGET_APIS if budget else ()))
    services = [projects.Service(name.split(".")[0], service=name, disable_on_destroy=False) for name in wanted]
    return after("apis", services)
