"""The first `pulumi up`: what waits until Google knows what was made before, and what it then costs at most."""

from __future__ import annotations

from tests.infra.stack import DIRECT, Stack, run

SLEEP = "time:index/sleep:Sleep"


def waits(stack: Stack) -> dict[str, int]:
    """Seconds, by the wait's name."""
    found = {item["name"]: item["inputs"] for item in stack.made if item["type"] == SLEEP}
    return {name: int(inputs["createDuration"].rstrip("s")) for name, inputs in found.items()}


def test_waits__are_as_long_as_google_says(full: Stack) -> None:
    found = waits(full)
    assert found.keys() == {"wait-for-apis", "wait-for-builder", "wait-for-metrics"}
    assert found["wait-for-metrics"] >= 600
    assert min(found.values()) >= 60


def test_waits__come_again_with_what_is_new(full: Stack, direct: Stack) -> None:
    for stack in (full, direct):
        sleeps = {item["name"]: item for item in stack.made if item["type"] == SLEEP}
        for sleep in sleeps.values():
            assert sleep["inputs"]["triggers"].keys() == set(sleep["after"])
            assert all(sleep["inputs"]["triggers"].values())
    apis = [dict(next(i for i in s.made if i["name"] == "wait-for-apis")["inputs"]["triggers"]) for s in (full, direct)]
    assert apis[0].keys() - apis[1].keys() == {"compute", "certificatemanager", "billingbudgets"}


def test_waits__what_needs_an_api_comes_after_all_of_them_and_their_time(full: Stack, direct: Stack) -> None:
    for stack in (full, direct):
        services = set(stack.of("projects/service:Service"))
        assert services == set(stack.after(SLEEP)["wait-for-apis"])
        for kind in ("serviceaccount/account:Account", "storage/bucket:Bucket", "logging/metric:Metric"):
            for name, after in stack.after(f"gcp:{kind}").items():
                assert {"wait-for-apis", *services} <= set(after), name


def test_waits__functions_come_after_the_builders_rights_and_alerts_after_the_metrics(full: Stack) -> None:
    grants = {"build-writes-logs", "build-reads-sources", "build-pushes-images"}
    assert set(full.after(SLEEP)["wait-for-builder"]) == grants
    for name, after in full.after("gcp:cloudfunctionsv2/function:Function").items():
        assert {"wait-for-builder", *grants} <= set(after), name
    metrics = set(full.of("logging/metric:Metric"))
    assert set(full.after(SLEEP)["wait-for-metrics"]) == metrics
    for name, after in full.after("gcp:monitoring/alertPolicy:AlertPolicy").items():
        assert {"wait-for-metrics", *metrics} <= set(after), name


def test_invoker_check__is_kept_for_the_clean_up_whatever_the_users_functions_do() -> None:
    (asked, not_asked) = run(DIRECT, {**DIRECT, "invokerCheck": "false"})
    kind = "cloudrunv2/serviceIamMember:ServiceIamMember"
    members = {name: binding["member"] for name, binding in asked.of(kind).items()}
    assert members["asyouwere-invoker"] == "allUsers"
    (left,) = not_asked.of(kind).values()
    assert "allUsers" not in str(not_asked.made)
    assert left["member"] == members["cleanup-old-snapshots-invoker"]


def test_rate__is_counted_at_the_edge_of_every_public_function(full: Stack, direct: Stack) -> None:
    (policy,) = full.of("compute/securityPolicy:SecurityPolicy").values()
    throttle, rest = policy["rules"]
    assert (throttle["action"], rest["action"]) == ("throttle", "allow")
    assert throttle["rateLimitOptions"]["rateLimitThreshold"] == {"count": 600, "intervalSec": 60}
    assert throttle["rateLimitOptions"]["exceedAction"] == "deny(429)"
    assert throttle["priority"] < rest["priority"] == 2**31 - 1
    backends = full.of("compute/backendService:BackendService").values()
    assert {backend["securityPolicy"] for backend in backends} == {"SecurityPolicy/domain"}
    assert not direct.of("compute/securityPolicy:SecurityPolicy")


def test_budget__is_of_this_project_alone(full: Stack, direct: Stack) -> None:
    (budget,) = full.of("billing/budget:Budget").values()
    assert budget["budgetFilter"] == {"projects": ["projects/123456789012"]}
    assert budget["amount"] == {"specifiedAmount": {"units": "50"}}
    assert [rule["thresholdPercent"] for rule in budget["thresholdRules"]] == [0.5, 0.9, 1.0]
    # a person's credentials are refused unless the calls count for a project
    (provider,) = (item for item in full.made if item["type"] == "pulumi:providers:gcp" and item["name"] == "budget")
    assert provider["inputs"]["billingProject"] == provider["inputs"]["project"] == "a-project"
    assert provider["inputs"]["userProjectOverride"] in (True, "true")
    assert not direct.of("billing/budget:Budget")
    assert "billingbudgets" not in direct.of("projects/service:Service")
