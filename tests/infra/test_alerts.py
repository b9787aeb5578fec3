"""Metrics and alerts: their filters find what the real functions log, and nothing else."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from asyouwere.service.database.direct import DirectDatabase
from tests.functions.api import Person, serving, settings_for, token_for
from tests.infra.logging_filter import matches
from tests.infra.stack import Stack
from tests.support.database import Db

USER = "logging.googleapis.com/user/"


@pytest.fixture(scope="session")
def metrics(direct: Stack) -> dict[str, dict[str, Any]]:
    """The log-based metrics by their name at Google."""
    return {metric["name"]: metric for metric in direct.of("logging/metric:Metric").values()}


@pytest.fixture(scope="session")
def policies(full: Stack) -> dict[str, dict[str, Any]]:
    """The alert policies by their name in the program."""
    return full.of("monitoring/alertPolicy:AlertPolicy")


@pytest.fixture
def entries(
    database: Db, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, Any]]:
    """What Cloud Logging would have of these requests: saves (small, large, refused), a restore, two errors, a
    clean-up. A function's line on standard output becomes the payload, its severity the entry's."""

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("not foreseen")

    user = str(database.user("ada"))
    with serving(settings_for(database.api_dsn, request_log=True)) as url:
        ada = Person(url, user, token_for(user))
        service = Person(url, None, token_for("cron", "service_role"))
        with ada.http, service.http:
            session_id = ada.session()
            ada.saved(session_id, state={"text": "small"})
            ada.saved(session_id, state={"text": "x" * 1_100_000})
            ada.save(session_id, state=[])
            ada.restore(session_id)
            assert service.post("cleanup-old-snapshots", {}).status_code == 200
            with monkeypatch.context() as patch:
                patch.setattr(DirectDatabase, "rows", broken)
                assert ada.request("GET", "sessions").status_code == 500
                assert service.post("cleanup-old-snapshots", {}).status_code == 500
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = {line["request_id"]: line["function"] for line in lines if "function" in line}
    return [
        {
            "severity": line["severity"],
            "resource": {
                "type": "cloud_run_revision",
                "labels": {"service_name": names[line["request_id"]], "location": "europe-west1"},
            },
            "jsonPayload": {name: value for name, value in line.items() if name != "severity"},
        }
        for line in lines
    ]


def test_metrics__count_what_the_functions_really_log(
    metrics: dict[str, dict[str, Any]], entries: list[dict[str, Any]]
) -> None:
    counted = Counter(
        name for name, metric in metrics.items() for entry in entries if matches(metric["filter"], entry)
    )
    assert counted == {
        "asyouwere/requests": 8,
        "asyouwere/errors": 2,
        "asyouwere/unexpected_errors": 2,
        "asyouwere/request_ms": 8,
        "asyouwere/snapshot_bytes": 2,
        "asyouwere/large_snapshots": 1,
        "asyouwere/clean_ups": 1,
    }


def test_exclusions__leave_out_the_platforms_entries_of_refused_requests_and_no_line_of_ours(
    direct: Stack, entries: list[dict[str, Any]]
) -> None:
    (exclusion,) = direct.of("logging/projectExclusion:ProjectExclusion").values()
    resource = {"type": "cloud_run_revision", "labels": {"service_name": "asyouwere"}}
    of_platform = {
        status: {"severity": "WARNING", "resource": resource, "httpRequest": {"status": status}}
        for status in (200, 401, 403, 429, 500)
    }
    assert [status for status, entry in of_platform.items() if matches(exclusion["filter"], entry)] == [401]
    for entry in entries:
        entry["resource"] = resource
        entry["jsonPayload"]["status"] = 401
        assert not matches(exclusion["filter"], entry)
    other = {**of_platform[401], "resource": {**resource, "labels": {"service_name": "somebody-elses"}}}
    assert not matches(exclusion["filter"], other)


def test_metrics__do_not_count_other_services_lines(
    metrics: dict[str, dict[str, Any]], entries: list[dict[str, Any]]
) -> None:
    for entry in entries:
        entry["resource"]["labels"]["service_name"] = "somebody-elses"
        assert not any(matches(metric["filter"], entry) for metric in metrics.values())


def test_metrics__distributions_take_their_value_from_a_field_of_the_line(
    metrics: dict[str, dict[str, Any]], entries: list[dict[str, Any]]
) -> None:
    taken = {}
    for name, metric in metrics.items():
        assert (metric["metricDescriptor"]["valueType"] == "DISTRIBUTION") == ("valueExtractor" in metric)
        if "valueExtractor" in metric:
            field = re.fullmatch(r"EXTRACT\(jsonPayload\.(\w+)\)", metric["valueExtractor"])
            assert field is not None
            found = [entry["jsonPayload"] for entry in entries if matches(metric["filter"], entry)]
            taken[name] = [payload[field.group(1)] for payload in found]
    assert taken.keys() == {"asyouwere/request_ms", "asyouwere/snapshot_bytes"}
    assert all(value > 0 for values in taken.values() for value in values)
    small, large = sorted(taken["asyouwere/snapshot_bytes"])
    assert small < 200
    assert large > 1_100_000
    buckets = metrics["asyouwere/snapshot_bytes"]["bucketOptions"]["exponentialBuckets"]
    assert buckets["scale"] * buckets["growthFactor"] ** buckets["numFiniteBuckets"] > 64 * 1024 * 1024


def test_metrics__failed_calls_are_the_schedulers_own_lines(metrics: dict[str, dict[str, Any]]) -> None:
    # As Cloud Scheduler logs the end of an attempt.
    entry = {
        "severity": "ERROR",
        "resource": {"type": "cloud_scheduler_job", "labels": {"job_id": "asyouwere-clean-up"}},
        "jsonPayload": {"status": "DEADLINE_EXCEEDED"},
    }
    query = metrics["asyouwere/clean_up_failures"]["filter"]
    assert matches(query, entry)
    assert not matches(query, {**entry, "severity": "INFO"})
    other = {"type": "cloud_scheduler_job", "labels": {"job_id": "another"}}
    assert not matches(query, {**entry, "resource": other})


def conditions(policy: dict[str, Any]) -> list[dict[str, Any]]:
    """The part of each condition that says what is looked at."""
    return [
        next(part for name, part in condition.items() if name.startswith("condition"))
        for condition in policy["conditions"]
    ]


def test_alerts__there_is_one_for_each_thing_that_can_go_wrong(policies: dict[str, dict[str, Any]]) -> None:
    assert policies.keys() == {"alert-errors", "alert-latency", "alert-large-snapshots", "alert-clean-up"}
    for policy in policies.values():
        assert policy["notificationChannels"] == [
            "projects/a-project/notificationChannels/1",
            "NotificationChannel/email-1",
        ]
        assert policy["combiner"] == "OR"
        assert policy["documentation"]["content"]
        assert policy.get("enabled") is not False


def test_alerts__look_at_metrics_that_are_there(
    policies: dict[str, dict[str, Any]], metrics: dict[str, dict[str, Any]]
) -> None:
    used = set()
    for policy in policies.values():
        for condition in conditions(policy):
            for query in (condition["filter"], condition.get("denominatorFilter", "")):
                for metric, resource in re.findall(
                    r'metric\.type="([^"]+)" AND resource\.type="(\w+)"', query
                ):
                    used.add(metric)
                    if metric.startswith(USER):
                        assert resource in metrics[metric.removeprefix(USER)]["filter"]
    assert used == {
        "run.googleapis.com/request_count",
        *(
            f"{USER}asyouwere/{name}"
            for name in (
                "requests",
                "errors",
                "request_ms",
                "large_snapshots",
                "clean_ups",
                "clean_up_failures",
            )
        ),
    }


def test_alerts__errors_and_p99(policies: dict[str, dict[str, Any]]) -> None:
    logged, platform = conditions(policies["alert-errors"])
    assert logged["thresholdValue"] == platform["thresholdValue"] == 0.01
    assert "errors" in logged["filter"]
    assert "requests" in logged["denominatorFilter"]
    assert 'response_code_class="5xx"' in platform["filter"]
    assert platform["filter"].startswith(platform["denominatorFilter"])
    (p99,) = conditions(policies["alert-latency"])
    assert p99["aggregations"][0]["crossSeriesReducer"] == "REDUCE_PERCENTILE_99"
    assert p99["thresholdValue"] == 500


def test_alerts__the_clean_up_is_late_after_three_missed_calls(policies: dict[str, dict[str, Any]]) -> None:
    late, failing = conditions(policies["alert-clean-up"])
    assert late["duration"] == "1200s"
    assert "clean_ups" in late["filter"]
    assert "cloud_scheduler_job" in failing["filter"]


def test_alerts__without_channels_are_there_all_the_same(direct: Stack) -> None:
    policies = direct.of("monitoring/alertPolicy:AlertPolicy").values()
    assert len(policies) == 4
    assert not any(policy.get("notificationChannels") for policy in policies)
