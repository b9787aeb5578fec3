"""The Cloud Run functions, one for each entry point of the stack's layout, and who may call each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pulumi
from pulumi import ResourceOptions
from pulumi_gcp import artifactregistry, cloudfunctionsv2, cloudrunv2

from asyouwere_infra.accounts import Accounts, member
from asyouwere_infra.configuration import BUDGET_SECONDS, RUNTIME, Configuration
from asyouwere_infra.entry_points import CLEAN_UP, EntryPoint
from asyouwere_infra.environment import TELEMETRY, readers
from asyouwere_infra.secrets import StoredSecret
from asyouwere_infra.source import Source

__all__ = ["Functions", "address"]

_UPDATES: Final = cloudfunctionsv2.FunctionBuildConfigAutomaticUpdatePolicyArgs()  # type: ignore[no-untyped-call]


def address(name: str, region: str, project_number: pulumi.Output[str]) -> pulumi.Output[str]:
    """The address that Cloud Run gives a service, known before the service is there."""
    return project_number.apply(lambda number: f"https://{name}-{number}.{region}.run.app")


class Functions:
    """by_name: the functions; addresses: theirs on run.app; audience: what the scheduler's token is for."""

    def __init__(
        self,
        configuration: Configuration,
        accounts: Accounts,
        source: Source,
        repository: artifactregistry.Repository,
        secrets: Sequence[StoredSecret],
        project_number: pulumi.Output[str],
        may_build: Sequence[pulumi.Resource],
    ) -> None:
        self._configuration = configuration
        self._accounts = accounts
        self._source = source
        self._repository = repository
        self._secrets = secrets
        self._may_build = may_build
        entries = configuration.entry_points
        self.addresses = {
            entry.name: address(entry.name, configuration.region, project_number) for entry in entries
        }
        self.audience = self.addresses[CLEAN_UP.name]
        self.by_name = {entry.name: self._function(entry) for entry in entries}
        self.invokers = {
            entry.name: self._invoker(entry)
            for entry in entries
            if configuration.invoker_check or not entry.public
        }

    def _function(self, entry: EntryPoint) -> cloudfunctionsv2.Function:
        configuration, account = self._configuration, self._accounts.functions[entry.name]
        sizing = configuration.sizings[entry.name]
        grants = [
            stored.grants[entry.name] for stored in self._secrets if entry.name in stored.grants
        ]
        return cloudfunctionsv2.Function(
            entry.name,
            name=entry.name,
            location=configuration.region,
            description=f"asyouwere: {entry.target} of functions/main.py",
            labels=configuration.all_labels,
            build_config=cloudfunctionsv2.FunctionBuildConfigArgs(
                runtime=RUNTIME,
                entry_point=entry.target,
                source=cloudfunctionsv2.FunctionBuildConfigSourceArgs(
                    storage_source=cloudfunctionsv2.FunctionBuildConfigSourceStorageSourceArgs(
                        bucket=self._source.bucket.name, object=self._source.object.name
                    )
                ),
                docker_repository=self._repository.id,
                service_account=self._accounts.builder.name,
                # Security fixes of Python and the system without a deployment of ours.
                automatic_update_policy=_UPDATES,
            ),
            service_config=cloudfunctionsv2.FunctionServiceConfigArgs(
                service_account_email=account.email,
                available_cpu=sizing.cpu,
                available_memory=sizing.memory,
                max_instance_request_concurrency=sizing.concurrency,
                min_instance_count=sizing.min_instances,
                max_instance_count=sizing.max_instances,
                timeout_seconds=sizing.timeout_seconds,
                # The scheduler of the same project counts as internal, at the address on run.app.
                ingress_settings=configuration.ingress if entry.public else "ALLOW_INTERNAL_ONLY",
                all_traffic_on_latest_revision=True,
                environment_variables=self._environment(entry),
                secret_environment_variables=self._secret_environment(entry),
            ),
            opts=ResourceOptions(depends_on=[*self._may_build, *grants]),
        )

    def _environment(self, entry: EntryPoint) -> dict[str, pulumi.Input[str]]:
        configuration = self._configuration
        derived: dict[str, pulumi.Input[str]] = {
            "ASYOUWERE_DATABASE": configuration.mode,
            "ASYOUWERE_REQUEST_LOG": "on",
            "ASYOUWERE_CLEANUP_BUDGET_SECONDS": str(BUDGET_SECONDS),
            "ASYOUWERE_SCHEDULER_AUDIENCE": self.audience,
            "ASYOUWERE_SCHEDULER_EMAIL": self._accounts.scheduler.email,
            # True because of _invoker below and the ingress above; the token comes without its signature.
            "ASYOUWERE_SCHEDULER_BEHIND_IAM": "on",
        }
        if configuration.telemetry:
            # Between two requests Cloud Run takes the processor away: what waits by then would wait for the next.
            derived["ASYOUWERE_TELEMETRY_FLUSH"] = "on"
        every = {**derived, **configuration.values}
        ours = {name: every[name] for name in sorted(every) if entry.name in readers(name, configuration.mode)}
        others = {**(TELEMETRY if configuration.telemetry else {}), **configuration.environment}
        return {**ours, **others}

    def _secret_environment(
        self, entry: EntryPoint
    ) -> list[cloudfunctionsv2.FunctionServiceConfigSecretEnvironmentVariableArgs]:
        return [
            cloudfunctionsv2.FunctionServiceConfigSecretEnvironmentVariableArgs(
                key=stored.variable,
                project_id=self._configuration.project,
                secret=stored.secret.secret_id,
                version=stored.version.version,
            )
            for stored in sorted(self._secrets, key=lambda stored: stored.variable)
            if entry.name in stored.grants
        ]

    def _invoker(self, entry: EntryPoint) -> cloudrunv2.ServiceIamMember:
        # Public for IAM, not for asyouwere: a user's token is Supabase's, which IAM cannot check; the function
        # does, before anything else. The clean-up's only caller is an account of ours, which IAM can check.
        return cloudrunv2.ServiceIamMember(
            f"{entry.name}-invoker",
            project=self._configuration.project,
            location=self._configuration.region,
            name=self.by_name[entry.name].name,
            role="roles/run.invoker",
            member="allUsers" if entry.public else member(self._accounts.scheduler),
        )
