"""A budget of the billing account's for this project: who pays is written to at half of it, at 90 % and when it is
used up. It stops nothing; what instances can cost at most is their number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pulumi
from pulumi import Resource, ResourceOptions
from pulumi_gcp import Provider, billing

from asyouwere_infra.configuration import Configuration

__all__ = ["watch"]

_SHARES: Final = (0.5, 0.9, 1.0)


def watch(
    configuration: Configuration, project_number: pulumi.Output[str], after: Sequence[Resource]
) -> billing.Budget | None:
    """The budget, in the account's own currency; None if the stack names no billing account."""
    if configuration.budget is None:
        return None
    return billing.Budget(
        "budget",
        billing_account=configuration.budget.billing_account,
        display_name=f"asyouwere in {configuration.project}",
        budget_filter=billing.BudgetBudgetFilterArgs(
            projects=[project_number.apply(lambda number: f"projects/{number}")]
        ),
        amount=billing.BudgetAmountArgs(
            specified_amount=billing.BudgetAmountSpecifiedAmountArgs(units=str(configuration.budget.units))
        ),
        threshold_rules=[billing.BudgetThresholdRuleArgs(threshold_percent=share) for share in _SHARES],
        opts=ResourceOptions(depends_on=after, provider=_counted_here(configuration)),
    )


def _counted_here(configuration: Configuration) -> Provider:
    """The budgets' API refuses a person's credentials (403) that do not say which project the calls count for."""
    return Provider(
        "budget",
        project=configuration.project,
        billing_project=configuration.project,
        user_project_override=True,
    )
