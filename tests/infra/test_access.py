"""Who may do what in the project: least privilege, and no public way to the clean-up."""

from __future__ import annotations

from typing import Any

import pytest

from tests.infra.stack import DIRECT, Stack, run
from tests.infra.test_cloud_functions import CLEAN_UP, PUBLIC, secrets

ACCOUNT = "serviceAccount:{}@a-project.iam.gserviceaccount.com"
SCHEDULER = ACCOUNT.format("asyouwere-scheduler")
BUILDER = ACCOUNT.format("asyouwere-build")


@pytest.fixture(params=["direct", "postgrest", "full"])
def stack(request: pytest.FixtureRequest, stacks: dict[str, Stack]) -> Stack:
    """Each of them."""
    return stacks[request.param]


def bindings(stack: Stack) -> list[dict[str, Any]]:
    """All grants, of whatever kind."""
    found = [made for made in stack.made if "member" in made["inputs"] or "members" in made["inputs"]]
    assert all(made["type"].lower().endswith("iammember") for made in found)
    return [{"on": made["type"], **made["inputs"]} for made in found]


def test_roles__only_those_that_are_needed(stack: Stack) -> None:
    granted = {(binding["on"].split("/")[0], binding["role"]) for binding in bindings(stack)}
    assert granted == {
        ("gcp:projects", "roles/logging.logWriter"),
        ("gcp:projects", "roles/storage.objectViewer"),
        ("gcp:artifactregistry", "roles/artifactregistry.writer"),
        ("gcp:secretmanager", "roles/secretmanager.secretAccessor"),
        ("gcp:cloudrunv2", "roles/run.invoker"),
    }


def test_roles__in_the_project_only_the_builder_has_any(stack: Stack) -> None:
    in_project = [binding for binding in bindings(stack) if binding["on"].startswith("gcp:projects/")]
    assert {binding["member"] for binding in in_project} == {BUILDER}
    for binding in in_project:
        if binding["role"] == "roles/storage.objectViewer":
            sources = "projects/_/buckets/gcf-v2-sources-123456789012-europe-west1"
            assert binding["condition"]["expression"] == f'resource.name.startsWith("{sources}")'


def test_accounts__every_function_has_its_own(stack: Stack) -> None:
    accounts = {account["accountId"] for account in stack.of("serviceaccount/account:Account").values()}
    running = [function["serviceConfig"]["serviceAccountEmail"] for function in stack.functions.values()]
    assert len(set(running)) == len(running)
    assert accounts == {email.split("@")[0] for email in running} | {"asyouwere-scheduler", "asyouwere-build"}
    assert all(6 <= len(account) <= 30 for account in accounts)
    for function in stack.functions.values():
        builder = "projects/a-project/serviceAccounts/asyouwere-build@a-project.iam.gserviceaccount.com"
        assert function["buildConfig"]["serviceAccount"] == builder
        assert function["buildConfig"]["dockerRepository"] == "Repository/images"


def test_secrets__each_is_read_by_the_functions_that_have_it_and_no_other(stack: Stack) -> None:
    may_read = {
        (binding["secretId"], binding["member"])
        for binding in bindings(stack)
        if binding["role"] == "roles/secretmanager.secretAccessor"
    }
    needed = {
        (secret, "serviceAccount:" + function["serviceConfig"]["serviceAccountEmail"])
        for function in stack.functions.values()
        for secret in secrets(function).values()
    }
    assert may_read == needed
    assert needed


def test_clean_up__is_not_public(stack: Stack) -> None:
    assert stack.functions[CLEAN_UP]["serviceConfig"]["ingressSettings"] == "ALLOW_INTERNAL_ONLY"
    invokers = {
        binding["name"]: binding["member"]
        for binding in bindings(stack)
        if binding["role"] == "roles/run.invoker"
    }
    assert invokers == {CLEAN_UP: SCHEDULER, **dict.fromkeys(stack.public, "allUsers")}
    others = [binding for binding in bindings(stack) if binding["role"] != "roles/run.invoker"]
    assert not any(binding["member"].startswith("all") for binding in others)
    assert {binding["role"] for binding in bindings(stack) if binding["member"] == SCHEDULER} == {
        "roles/run.invoker"
    }


def test_schedule__every_five_minutes_with_a_token_for_the_clean_up_alone(stack: Stack) -> None:
    ((name, job),) = stack.of("cloudscheduler/job:Job").items()
    assert (name, job["name"], job["schedule"], job["timeZone"]) == (
        "asyouwere-clean-up",
        "asyouwere-clean-up",
        "*/5 * * * *",
        "Etc/UTC",
    )
    target = job["httpTarget"]
    address = "https://cleanup-old-snapshots-123456789012.europe-west1.run.app"
    assert (target["uri"], target["httpMethod"]) == (address, "POST")
    assert target["oidcToken"] == {
        "serviceAccountEmail": "asyouwere-scheduler@a-project.iam.gserviceaccount.com",
        "audience": address,
    }
    service = stack.functions[CLEAN_UP]["serviceConfig"]
    assert service["environmentVariables"]["ASYOUWERE_SCHEDULER_AUDIENCE"] == address
    # Cloud Run gives that address if its first label is short enough.
    assert len(address.split("//")[1].split(".")[0]) <= 63


def test_schedule__attempts_outlast_the_function_and_end_before_the_next_call(stack: Stack) -> None:
    (job,) = stack.of("cloudscheduler/job:Job").values()
    service = stack.functions[CLEAN_UP]["serviceConfig"]
    budget = float(service["environmentVariables"]["ASYOUWERE_CLEANUP_BUDGET_SECONDS"])
    attempt = float(job["attemptDeadline"].rstrip("s"))
    retry = job["retryConfig"]
    assert budget + 20 + 5 < service["timeoutSeconds"] < attempt
    pause = float(retry["maxBackoffDuration"].rstrip("s"))
    assert attempt + retry["retryCount"] * (attempt + pause) < 300


def test_domain__leads_to_the_public_functions_and_is_the_only_way_to_them(
    full: Stack, direct: Stack
) -> None:
    reached = {
        group["cloudRun"]["service"]
        for group in full.of("compute/regionNetworkEndpointGroup:RegionNetworkEndpointGroup").values()
    }
    assert reached == PUBLIC
    (paths,) = full.of("compute/uRLMap:URLMap").values()
    rules = {
        path: rule["service"] for rule in paths["pathMatchers"][0]["pathRules"] for path in rule["paths"]
    }
    assert rules == {
        path: f"BackendService/domain-{name}"
        for name in PUBLIC
        for path in (f"/functions/v1/{name}", f"/functions/v1/{name}/*")
    }
    for name in PUBLIC:
        assert full.functions[name]["serviceConfig"]["ingressSettings"] == "ALLOW_INTERNAL_AND_GCLB"
    assert direct.functions["asyouwere"]["serviceConfig"]["ingressSettings"] == "ALLOW_ALL"
    (rule,) = full.of("compute/globalForwardingRule:GlobalForwardingRule").values()
    assert rule["portRange"] == "443"
    assert full.outputs["functionsUrl"] == "https://api.example.com/functions/v1"
    assert full.outputs["domainProof"] == "_acme.x. CNAME y."
    assert not direct.of("compute/globalForwardingRule:GlobalForwardingRule")


def test_domain__of_the_one_service_leads_to_it_alone() -> None:
    (stack,) = run({**DIRECT, "domain": "api.example.com"})
    (group,) = stack.of("compute/regionNetworkEndpointGroup:RegionNetworkEndpointGroup").values()
    assert group["cloudRun"]["service"] == "asyouwere"
    (paths,) = stack.of("compute/uRLMap:URLMap").values()
    assert paths["pathMatchers"][0]["defaultService"] == "BackendService/domain-asyouwere"
    assert not paths["pathMatchers"][0].get("pathRules")
    assert stack.functions["asyouwere"]["serviceConfig"]["ingressSettings"] == "ALLOW_INTERNAL_AND_GCLB"
    assert stack.outputs["functionsUrl"] == "https://api.example.com/functions/v1"


def test_apis__are_on_and_stay_on(full: Stack, direct: Stack) -> None:
    for stack in (full, direct):
        services = stack.of("projects/service:Service")
        assert all(service["disableOnDestroy"] is False for service in services.values())
        # Every provider that the program uses has its API.
        used = {made["type"].split(":")[1].split("/")[0] for made in stack.made if made["type"].startswith("gcp:")}
        used -= {"projects", "serviceaccount"}
        renamed = {"cloudfunctionsv2": "cloudfunctions", "cloudrunv2": "run", "billing": "billingbudgets"}
        assert {renamed.get(name, name) for name in used} <= services.keys()
