"""Log-based metrics, made of the request log (functions/asyouwere/service/http/log.py) and of the scheduler's own.

A test runs the real functions and matches what they log against these filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pulumi import Resource, ResourceOptions
from pulumi_gcp import logging

from asyouwere_infra.configuration import Thresholds
from asyouwere_infra.entry_points import CLEAN_UP, ENTRY_POINTS
from asyouwere_infra.schedule import JOB

__all__ = ["LogMetric", "define", "make", "metric_type"]

_SERVICES: Final = " OR ".join(f'"{entry.name}"' for entry in ENTRY_POINTS)
#: What the functions write on standard output, a JSON line each.
_LINES: Final = f'resource.type="cloud_run_revision" AND resource.labels.service_name=({_SERVICES})'
_REQUESTS: Final = f'{_LINES} AND jsonPayload.message="request"'


@dataclass(frozen=True)
class LogMetric:
    """name: below asyouwere/; value: of a distribution, a field of the log line; None: lines are counted."""

    name: str
    description: str
    filter: str
    resource: str = "cloud_run_revision"
    value: str | None = None
    unit: str = "1"


def define(thresholds: Thresholds) -> tuple[LogMetric, ...]:
    """All of them."""
    return (
        LogMetric("requests", "Requests answered", _REQUESTS),
        LogMetric("errors", "Answers of 500 and above", f"{_REQUESTS} AND jsonPayload.status>=500"),
        LogMetric(
            "unexpected_errors",
            "Errors that the code did not foresee; the line says where",
            f'{_LINES} AND jsonPayload.message="unexpected error"',
        ),
        LogMetric(
            "request_ms",
            "Time of a request in the function",
            f"{_REQUESTS} AND jsonPayload.ms>=0",
            value="jsonPayload.ms",
            unit="ms",
        ),
        LogMetric(
            "snapshot_bytes",
            "Size of saved snapshots",
            f"{_REQUESTS} AND jsonPayload.snapshot_bytes>=0",
            value="jsonPayload.snapshot_bytes",
            unit="By",
        ),
        LogMetric(
            "large_snapshots",
            f"Saved snapshots of {thresholds.snapshot_bytes} bytes or more",
            f"{_REQUESTS} AND jsonPayload.snapshot_bytes>={thresholds.snapshot_bytes}",
        ),
        LogMetric(
            "clean_ups",
            "Clean-ups that ended well",
            f'{_REQUESTS} AND jsonPayload.function="{CLEAN_UP.name}" AND jsonPayload.status=200',
        ),
        LogMetric(
            "clean_up_failures",
            "Calls of the clean-up that the scheduler counts as failed, whatever answered",
            f'resource.type="cloud_scheduler_job" AND resource.labels.job_id="{JOB}" AND severity>=ERROR',
            resource="cloud_scheduler_job",
        ),
    )


def metric_type(name: str) -> str:
    """As Cloud Monitoring knows it."""
    return f"logging.googleapis.com/user/asyouwere/{name}"


def make(thresholds: Thresholds, apis: Sequence[Resource]) -> dict[str, logging.Metric]:
    """Made, by name."""
    return {metric.name: _make(metric, apis) for metric in define(thresholds)}


def _make(metric: LogMetric, apis: Sequence[Resource]) -> logging.Metric:
    descriptor = logging.MetricMetricDescriptorArgs(
        metric_kind="DELTA",
        value_type="DISTRIBUTION" if metric.value else "INT64",
        unit=metric.unit,
        display_name=f"asyouwere: {metric.description}",
    )
    # From 1 upwards by a quarter each: the figures read off it are right to about 12 %, up to 300,000,000.
    buckets = logging.MetricBucketOptionsArgs(
        exponential_buckets=logging.MetricBucketOptionsExponentialBucketsArgs(
            num_finite_buckets=88, growth_factor=1.25, scale=1
        )
    )
    return logging.Metric(
        f"metric-{metric.name}".replace("_", "-"),
        name=f"asyouwere/{metric.name}",
        description=metric.description,
        filter=metric.filter,
        metric_descriptor=descriptor,
        value_extractor=f"EXTRACT({metric.value})" if metric.value else None,
        bucket_options=buckets if metric.value else None,
        opts=ResourceOptions(depends_on=apis),
    )
