"""The clean-up's schedule."""

from __future__ import annotations

import base64
from typing import Final

from pulumi import ResourceOptions
from pulumi_gcp import cloudscheduler

from asyouwere_infra.accounts import Accounts
from asyouwere_infra.cloud_functions import Functions
from asyouwere_infra.configuration import Configuration
from asyouwere_infra.entry_points import CLEAN_UP

__all__ = ["EVERY_SECONDS", "JOB", "call_clean_up"]

JOB: Final = "asyouwere-clean-up"
EVERY_SECONDS: Final = 300


def call_clean_up(
    configuration: Configuration, accounts: Accounts, functions: Functions
) -> cloudscheduler.Job:
    """Every five minutes, as an account that may do nothing else.

    An attempt waits a little longer than the platform lets the function run, so that what is reported is what
    the function answered. One retry still ends before the next call is due.
    """
    return cloudscheduler.Job(
        JOB,
        name=JOB,
        region=configuration.region,
        description="Old snapshots go, idle sessions expire",
        schedule=f"*/{EVERY_SECONDS // 60} * * * *",
        time_zone="Etc/UTC",
        attempt_deadline=f"{configuration.sizings[CLEAN_UP.name].timeout_seconds + 10}s",
        retry_config=cloudscheduler.JobRetryConfigArgs(
            retry_count=1, min_backoff_duration="20s", max_backoff_duration="20s", max_doublings=0
        ),
        http_target=cloudscheduler.JobHttpTargetArgs(
            uri=functions.audience,
            http_method="POST",
            headers={"Content-Type": "application/json"},
            body=base64.b64encode(b"{}").decode(),
            oidc_token=cloudscheduler.JobHttpTargetOidcTokenArgs(
                service_account_email=accounts.scheduler.email, audience=functions.audience
            ),
        ),
        opts=ResourceOptions(depends_on=[functions.invokers[CLEAN_UP.name]]),
    )
