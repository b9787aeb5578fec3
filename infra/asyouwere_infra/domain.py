"""One domain for what users call: a global load balancer; where the functions are apart, it picks one by the path.

Not Cloud Run's domain mapping: that maps a domain to one service, in some regions, as a preview; the
functions share one address, /functions/v1/<name>, which is also where Supabase's clients look for them.
"""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi import ResourceOptions
from pulumi_gcp import certificatemanager, compute

from asyouwere_infra.cloud_functions import Functions
from asyouwere_infra.configuration import Configuration
from asyouwere_infra.edge import rate_rule
from asyouwere_infra.entry_points import API

__all__ = ["Domain"]


class Domain:
    """address: for the domain's A record; proof: the record that lets Google issue the certificate."""

    def __init__(
        self, configuration: Configuration, domain: str, functions: Functions, apis: Sequence[pulumi.Resource]
    ) -> None:
        after = ResourceOptions(depends_on=apis)
        address = compute.GlobalAddress("domain", name="asyouwere", opts=after)
        rate = configuration.requests_per_minute
        edge = rate_rule(rate, after).id if rate else None
        backends = {
            entry.name: _backend(entry.name, configuration, functions, edge, after)
            for entry in configuration.entry_points
            if entry.public
        }
        certificate_map, self.proof = _certificate(configuration, domain, after)
        proxy = compute.TargetHttpsProxy(
            "domain",
            name="asyouwere",
            url_map=_paths(domain, backends).id,
            certificate_map=certificate_map.id.apply(
                lambda name: f"//certificatemanager.googleapis.com/{name}"
            ),
            ssl_policy=compute.SSLPolicy(
                "domain", name="asyouwere", profile="MODERN", min_tls_version="TLS_1_2", opts=after
            ).id,
        )
        # 443 only: a token must not travel in clear once before it is told to use https.
        compute.GlobalForwardingRule(
            "domain",
            name="asyouwere",
            target=proxy.id,
            ip_address=address.id,
            port_range="443",
            load_balancing_scheme="EXTERNAL_MANAGED",
            labels=configuration.all_labels,
        )
        self.address = address.address


def _backend(
    name: str,
    configuration: Configuration,
    functions: Functions,
    edge: pulumi.Output[str] | None,
    after: ResourceOptions,
) -> compute.BackendService:
    group = compute.RegionNetworkEndpointGroup(
        f"domain-{name}",
        name=f"asyouwere-{name}",
        region=configuration.region,
        network_endpoint_type="SERVERLESS",
        cloud_run=compute.RegionNetworkEndpointGroupCloudRunArgs(service=functions.by_name[name].name),
        opts=after,
    )
    return compute.BackendService(
        f"domain-{name}",
        name=f"asyouwere-{name}",
        load_balancing_scheme="EXTERNAL_MANAGED",
        protocol="HTTPS",
        backends=[compute.BackendServiceBackendArgs(group=group.id)],
        enable_cdn=False,  # every answer is somebody's own
        security_policy=edge,
    )


def _paths(domain: str, backends: dict[str, compute.BackendService]) -> compute.URLMap:
    rules = [
        compute.URLMapPathMatcherPathRuleArgs(
            paths=[f"/functions/v1/{name}", f"/functions/v1/{name}/*"], service=backend.id
        )
        for name, backend in backends.items()
        if name != API.name
    ]
    # Any other path: 404 in our words. Any other host gets no certificate.
    rest = backends[API.name if API.name in backends else "sessions"].id
    return compute.URLMap(
        "domain",
        name="asyouwere",
        default_service=rest,
        host_rules=[compute.URLMapHostRuleArgs(hosts=[domain], path_matcher="functions")],
        path_matchers=[
            compute.URLMapPathMatcherArgs(name="functions", default_service=rest, path_rules=rules)
        ],
    )


def _certificate(
    configuration: Configuration, domain: str, after: ResourceOptions
) -> tuple[certificatemanager.CertificateMap, pulumi.Output[str]]:
    """Proved by DNS: it can be issued before the domain points here, so that no visitor meets a gap."""
    proof = certificatemanager.DnsAuthorization(
        "domain", name="asyouwere", domain=domain, labels=configuration.all_labels, opts=after
    )
    certificate = certificatemanager.Certificate(
        "domain",
        name="asyouwere",
        labels=configuration.all_labels,
        managed=certificatemanager.CertificateManagedArgs(domains=[domain], dns_authorizations=[proof.id]),
    )
    certificate_map = certificatemanager.CertificateMap(
        "domain", name="asyouwere", labels=configuration.all_labels, opts=after
    )
    certificatemanager.CertificateMapEntry(
        "domain",
        name="asyouwere",
        map=certificate_map.name,
        certificates=[certificate.id],
        hostname=domain,
        labels=configuration.all_labels,
    )
    record = proof.dns_resource_records.apply(
        lambda records: f"{records[0].name} {records[0].type} {records[0].data}" if records else ""
    )
    return certificate_map, record
