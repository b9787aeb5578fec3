"""Who is told when: errors, slowness, large snapshots, a clean-up that is late or fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pulumi
from pulumi import ResourceOptions
from pulumi_gcp import logging, monitoring

from asyouwere_infra.configuration import Configuration
from asyouwere_infra.entry_points import ENTRY_POINTS
from asyouwere_infra.metrics import metric_type
from asyouwere_infra.waits import after

__all__ = ["make_policies"]

Condition = monitoring.AlertPolicyConditionArgs
Threshold = monitoring.AlertPolicyConditionConditionThresholdArgs
Aggregation = monitoring.AlertPolicyConditionConditionThresholdAggregationArgs
DenominatorAggregation = monitoring.AlertPolicyConditionConditionThresholdDenominatorAggregationArgs

_BY_FUNCTION: Final = ("resource.label.service_name",)


def make_policies(
    configuration: Configuration, metrics: Mapping[str, logging.Metric], apis: Sequence[pulumi.Resource]
) -> list[monitoring.AlertPolicy]:
    """The policies; they name the channels that the stack has, or none."""
    thresholds = configuration.thresholds
    channels: list[pulumi.Input[str]] = [*configuration.channels, *_email_channels(configuration, apis)]

    known = after("metrics", list(metrics.values()))

    def policy(
        name: str, title: str, conditions: Sequence[Condition], what_to_do: str, severity: str
    ) -> monitoring.AlertPolicy:
        return monitoring.AlertPolicy(
            f"alert-{name}",
            display_name=f"asyouwere: {title}",
            combiner="OR",
            conditions=conditions,
            severity=severity,
            notification_channels=channels,
            documentation=monitoring.AlertPolicyDocumentationArgs(
                content=what_to_do, mime_type="text/markdown"
            ),
            alert_strategy=monitoring.AlertPolicyAlertStrategyArgs(auto_close="86400s"),
            user_labels=configuration.all_labels,
            # A policy over a metric that is not there yet is refused.
            opts=ResourceOptions(depends_on=known),
        )

    return [
        policy(
            "errors",
            "functions answer with errors",
            [_error_ratio(thresholds.error_ratio), _platform_errors(thresholds.error_ratio)],
            "Look for `severity>=ERROR` in the functions' logs. `code` says which error; a line `unexpected "
            "error` says where. 503 and 504 mean the database: is it up, are connections left, is a lock "
            "held? If only the second condition is met, the instance itself ended: memory or timeout.",
            "ERROR",
        ),
        policy(
            "latency",
            f"p99 above {thresholds.p99_ms:g} ms",
            [_p99(thresholds.p99_ms)],
            "Compare with the database's own times. Cold starts: raise `min_instances`. Waiting for "
            "connections: raise `poolSize` or `max_instances`, within what the pooler takes.",
            "WARNING",
        ),
        policy(
            "large-snapshots",
            f"{thresholds.large_snapshots} snapshots of over {thresholds.snapshot_bytes} bytes in an hour",
            [_large_snapshots(thresholds.large_snapshots)],
            "Sessions grow: old messages belong into a summary or a file, not into every restore. Nothing is "
            "broken; a state is refused only above its limit.",
            "WARNING",
        ),
        policy(
            "clean-up",
            "the clean-up is late or fails",
            [_late(thresholds.clean_up_late_minutes), _failing()],
            "Look at the job asyouwere-clean-up in Cloud Scheduler and at the log of cleanup-old-snapshots. "
            "401 or 403: audience or account. 504: the database is slow. Nothing is lost meanwhile: old "
            "snapshots stay longer.",
            "ERROR",
        ),
    ]


def _email_channels(
    configuration: Configuration, apis: Sequence[pulumi.Resource]
) -> list[pulumi.Output[str]]:
    return [
        monitoring.NotificationChannel(
            f"email-{number}",
            display_name=f"asyouwere: e-mail {number}",
            type="email",
            labels={"email_address": address},
            opts=ResourceOptions(depends_on=apis),
        ).id
        for number, address in enumerate(configuration.emails, 1)
    ]


def _of(metric: str, resource: str = "cloud_run_revision") -> str:
    return f'metric.type="{metric_type(metric)}" AND resource.type="{resource}"'


def _sum(period: str, by: Sequence[str] = _BY_FUNCTION) -> Aggregation:
    return Aggregation(
        alignment_period=period,
        per_series_aligner="ALIGN_DELTA",
        cross_series_reducer="REDUCE_SUM",
        group_by_fields=list(by),
    )


def _ratio(title: str, part: str, whole: str, above: float) -> Condition:
    summed = _sum("300s")
    return Condition(
        display_name=title,
        condition_threshold=Threshold(
            filter=part,
            aggregations=[summed],
            denominator_filter=whole,
            denominator_aggregations=[
                DenominatorAggregation(
                    alignment_period="300s",
                    per_series_aligner="ALIGN_DELTA",
                    cross_series_reducer="REDUCE_SUM",
                    group_by_fields=list(_BY_FUNCTION),
                )
            ],
            comparison="COMPARISON_GT",
            threshold_value=above,
            duration="300s",  # two windows: one bad moment is over before somebody looks
        ),
    )


def _error_ratio(above: float) -> Condition:
    return _ratio(f"answers of 500 and above: over {above:.1%}", _of("errors"), _of("requests"), above)


def _platform_errors(above: float) -> Condition:
    """Crashes, timeouts and memory, of which a function can log nothing itself."""
    services = "|".join(entry.name for entry in ENTRY_POINTS)
    requests = (
        'metric.type="run.googleapis.com/request_count" AND resource.type="cloud_run_revision" AND '
        f'resource.labels.service_name=monitoring.regex.full_match("{services}")'
    )
    failed = f'{requests} AND metric.labels.response_code_class="5xx"'
    return _ratio(f"5xx as Cloud Run counts them: over {above:.1%}", failed, requests, above)


def _p99(above_ms: float) -> Condition:
    return Condition(
        display_name=f"p99 of five minutes above {above_ms:g} ms",
        condition_threshold=Threshold(
            filter=_of("request_ms"),
            aggregations=[
                Aggregation(
                    alignment_period="300s",
                    per_series_aligner="ALIGN_DELTA",
                    cross_series_reducer="REDUCE_PERCENTILE_99",
                    group_by_fields=list(_BY_FUNCTION),
                )
            ],
            comparison="COMPARISON_GT",
            threshold_value=above_ms,
            duration="600s",
        ),
    )


def _large_snapshots(most: int) -> Condition:
    return Condition(
        display_name=f"over {most} in an hour",
        condition_threshold=Threshold(
            filter=_of("large_snapshots"),
            aggregations=[_sum("3600s")],
            comparison="COMPARISON_GT",
            threshold_value=most,
            duration="0s",
        ),
    )


def _late(minutes: int) -> Condition:
    return Condition(
        display_name=f"none ended well for {minutes} minutes",
        condition_absent=monitoring.AlertPolicyConditionConditionAbsentArgs(
            filter=_of("clean_ups"),
            aggregations=[
                monitoring.AlertPolicyConditionConditionAbsentAggregationArgs(
                    alignment_period="300s",
                    per_series_aligner="ALIGN_DELTA",
                    cross_series_reducer="REDUCE_SUM",
                )
            ],
            duration=f"{minutes * 60}s",
        ),
    )


def _failing() -> Condition:
    return Condition(
        display_name="two calls failed in 15 minutes",
        condition_threshold=Threshold(
            filter=_of("clean_up_failures", "cloud_scheduler_job"),
            aggregations=[_sum("900s", ("resource.label.job_id",))],
            comparison="COMPARISON_GT",
            threshold_value=1,
            duration="0s",
        ),
    )
