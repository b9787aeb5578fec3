"""What is refused before it reaches a function: more requests of one address than a minute may bring."""

from __future__ import annotations

from typing import Final

from pulumi import ResourceOptions
from pulumi_gcp import compute

__all__ = ["rate_rule"]

_EVERYBODY: Final = compute.SecurityPolicyRuleMatchArgs(
    versioned_expr="SRC_IPS_V1", config=compute.SecurityPolicyRuleMatchConfigArgs(src_ip_ranges=["*"])
)


def rate_rule(requests_per_minute: int, after: ResourceOptions) -> compute.SecurityPolicy:
    """A Cloud Armor policy for the load balancer: above the rate an address gets 429 for the rest of the minute."""
    return compute.SecurityPolicy(
        "domain",
        name="asyouwere",
        description="asyouwere: requests of one address in a minute",
        rules=[
            compute.SecurityPolicyRuleArgs(
                priority=1000,
                action="throttle",
                match=_EVERYBODY,
                rate_limit_options=compute.SecurityPolicyRuleRateLimitOptionsArgs(
                    conform_action="allow",
                    exceed_action="deny(429)",
                    enforce_on_key="IP",
                    rate_limit_threshold=compute.SecurityPolicyRuleRateLimitOptionsRateLimitThresholdArgs(
                        count=requests_per_minute, interval_sec=60
                    ),
                ),
            ),
            # Every policy has to have this one, of the lowest priority.
            compute.SecurityPolicyRuleArgs(priority=2**31 - 1, action="allow", match=_EVERYBODY),
        ],
        opts=after,
    )
