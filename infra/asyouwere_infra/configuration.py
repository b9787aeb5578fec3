"""The stack's settings, read once and checked before anything is made.

    configuration = Configuration.of_stack()

Pulumi.example.yaml shows every one of them with its meaning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

import pulumi

from asyouwere.service.project_keys import role_of_key
from asyouwere_infra.entry_points import CLEAN_UP, LAYOUTS, EntryPoint, Layout, Sizing
from asyouwere_infra.environment import CLEAN_UP_LOGIN, PLACES, Mode, config_key, of_kind, readers

__all__ = ["Budget", "Configuration", "ConfigurationError", "Thresholds"]

RUNTIME: Final = "python313"
#: Of one clean-up request; what it has not done by then, the next one does.
BUDGET_SECONDS: Final = 50
#: Between the end of the budget and the answer: the last statement, and a cold start before the budget began.
_COLD_START_SECONDS: Final = 15
_LABEL: Final = re.compile(r"[a-z0-9_-]{1,63}")


class ConfigurationError(Exception):
    """The stack's settings lack something or contradict each other; one line for each problem."""


@dataclass(frozen=True)
class Thresholds:
    """When somebody is told. error_ratio: of all answers in five minutes; p99_ms: of five minutes, for each
    function; snapshot_bytes: a snapshot is large from here on; large_snapshots: of them in an hour."""

    error_ratio: float = 0.01
    p99_ms: float = 2000
    snapshot_bytes: int = 1_000_000
    large_snapshots: int = 100
    clean_up_late_minutes: int = 20


@dataclass(frozen=True)
class Budget:
    """What a month may cost before somebody is told; units: whole ones of the billing account's currency."""

    billing_account: str
    units: int


@dataclass(frozen=True)
class Configuration:
    """What one stack is to be. values: plain settings by variable; secrets: secret ones, never shown.
    clean_up_login: the clean-up's database address, which is none of the others'; None with PostgREST.
    pooler_clients: how many connections the pooler takes from its clients; 200 with Supabase's smallest plans.
    invoker_check: whether Cloud Run asks IAM who calls, where everybody may; environment: other variables of the
    functions, such as OTEL_…; telemetry_headers: the exporter's, secret; requests_per_minute: of one address, above
    which the domain's load balancer refuses."""

    project: str
    region: str
    mode: Mode
    layout: Layout
    values: Mapping[str, str]
    secrets: Mapping[str, pulumi.Input[str]]
    clean_up_login: pulumi.Input[str] | None
    sizings: Mapping[str, Sizing]
    thresholds: Thresholds
    pooler_clients: int = 200
    domain: str | None = None
    emails: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    labels: Mapping[str, str] | None = None
    invoker_check: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    telemetry_headers: pulumi.Input[str] | None = None
    requests_per_minute: int | None = None
    budget: Budget | None = None

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise ConfigurationError("\n".join(problems))

    @classmethod
    def of_stack(cls) -> Configuration:
        """Read the stack's configuration. Raises ConfigurationError, or pulumi.ConfigMissingError."""
        google, ours = pulumi.Config("gcp"), pulumi.Config()
        # On Supabase the way that needs no login and no pooler; the fast one where somebody gave a login.
        by_itself = "postgrest" if ours.get_secret("databaseUrl") is None else "direct"
        mode = cast(Mode, ours.get("database") or by_itself)
        if mode not in ("direct", "postgrest"):
            raise ConfigurationError("asyouwere:database must be direct or postgrest.")
        layout = cast(Layout, ours.get("services") or "one")
        if layout not in LAYOUTS:
            raise ConfigurationError("asyouwere:services must be one or four.")
        values = {}
        for name in of_kind("setting"):
            text = _text(ours, config_key(name)) or PLACES[name].default
            if text is not None and readers(name, mode):
                values[name] = text
        secrets = {}
        for name in of_kind("secret"):
            secret = ours.get_secret(config_key(name))
            if secret is not None and readers(name, mode):
                secrets[name] = secret
        return cls(
            project=google.require("project"),
            region=google.require("region"),
            mode=mode,
            layout=layout,
            values=values,
            secrets=secrets,
            clean_up_login=ours.get_secret(CLEAN_UP_LOGIN) if mode == "direct" else None,
            sizings=_sizings(LAYOUTS[layout], ours.get_object("functions") or {}),
            thresholds=Thresholds(**(ours.get_object("thresholds") or {})),
            pooler_clients=ours.get_int("poolerClients") or cls.pooler_clients,
            domain=ours.get("domain"),
            emails=tuple(ours.get_object("alertEmails") or ()),
            channels=tuple(ours.get_object("notificationChannels") or ()),
            labels=ours.get_object("labels"),
            invoker_check=ours.get_bool("invokerCheck") is not False,
            environment={name: str(value) for name, value in (ours.get_object("environment") or {}).items()},
            telemetry_headers=ours.get_secret("telemetryHeaders"),
            requests_per_minute=ours.get_int("requestsPerMinute"),
            budget=Budget(**budget) if (budget := ours.get_object("budget")) else None,
        )

    def seconds(self, variable: str, default: float) -> float:
        """A plain setting in seconds; default: the function's own."""
        return float(self.values.get(variable, default))

    @property
    def entry_points(self) -> tuple[EntryPoint, ...]:
        """What the stack has."""
        return LAYOUTS[self.layout]

    @property
    def all_labels(self) -> dict[str, str]:
        """On everything that takes labels."""
        return {"app": "asyouwere", "managed-by": "pulumi", **(self.labels or {})}

    @property
    def ingress(self) -> Literal["ALLOW_ALL", "ALLOW_INTERNAL_AND_GCLB"]:
        """Of the public functions: with a domain only its load balancer, so that nothing goes round it."""
        return "ALLOW_INTERNAL_AND_GCLB" if self.domain else "ALLOW_ALL"

    @property
    def telemetry(self) -> bool:
        """Whether the functions are deployed with an exporter, and make spans and figures."""
        return self.values.get("ASYOUWERE_TELEMETRY", "off").lower() in ("on", "true", "1")

    @property
    def most_connections(self) -> int:
        """To the database or its pooler, if every function has all its instances; 0 with PostgREST."""
        if self.mode == "postgrest":
            return 0
        pool = int(self.values.get("ASYOUWERE_POOL_SIZE", "8"))
        return sum(sizing.max_instances * min(pool, sizing.concurrency) for sizing in self.sizings.values())


def _text(config: pulumi.Config, key: str) -> str | None:
    """A setting as text; a list (of origins) joined by commas."""
    text = config.get(key)
    if text and text.lstrip().startswith("["):
        return ",".join(config.require_object(key))
    return text


def _sizings(
    entries: tuple[EntryPoint, ...], changes: Mapping[str, Mapping[str, Any]]
) -> dict[str, Sizing]:
    names = {entry.name for entry in entries}
    for name, change in changes.items():
        if name not in names or not set(change) <= set(Sizing._fields):
            known = f"functions {sorted(names)}, fields {list(Sizing._fields)}"
            raise ConfigurationError(
                f"asyouwere:functions: unknown name in {name}: {dict(change)}; known: {known}."
            )
    return {entry.name: entry.sizing._replace(**changes.get(entry.name, {})) for entry in entries}


def _problems(configuration: Configuration) -> list[str]:
    found = []
    values, secrets = configuration.values, configuration.secrets
    if configuration.mode == "direct" and "ASYOUWERE_DATABASE_URL" not in secrets:
        found.append(
            "pulumi config set --secret databaseUrl: database is direct, and its address is missing."
        )
    if configuration.mode == "direct" and configuration.clean_up_login is None:
        found.append(
            f"pulumi config set --secret {CLEAN_UP_LOGIN}: the clean-up logs in as asyouwere_cleanup "
            "(asyouwere logins), which the others may not."
        )
    if configuration.mode == "postgrest":
        if "ASYOUWERE_SERVICE_KEY" not in secrets:
            found.append("pulumi config set --secret serviceKey: the clean-up needs it with PostgREST.")
        if "ASYOUWERE_PUBLISHABLE_KEY" not in values:
            found.append("pulumi config set publishableKey: Supabase's gateway asks for it with PostgREST.")
        if not {"ASYOUWERE_SUPABASE_URL", "ASYOUWERE_POSTGREST_URL"} & values.keys():
            found.append("pulumi config set supabaseUrl: the address of PostgREST is missing.")
    if (
        not {"ASYOUWERE_SUPABASE_URL", "ASYOUWERE_JWKS_URL"} & values.keys()
        and "ASYOUWERE_JWT_SECRET" not in secrets
    ):
        found.append("Set supabaseUrl, jwksUrl or the secret jwtSecret: tokens could not be verified.")
    if not {"ASYOUWERE_SUPABASE_URL", "ASYOUWERE_JWT_ISSUER"} & values.keys():
        found.append("Set jwtIssuer: there is no supabaseUrl that would give it.")
    if role_of_key(values.get("ASYOUWERE_PUBLISHABLE_KEY", "")) == "service_role":
        found.append("publishableKey is a secret key, and would be plain: change it, and take the publishable one.")
    if "*" in values.get("ASYOUWERE_ALLOWED_ORIGINS", ""):
        found.append("allowedOrigins: name every origin; * is not one.")
    for name, sizing in configuration.sizings.items():
        if sizing.concurrency > 1 and float(sizing.cpu) < 1:
            found.append(f"functions.{name}: a concurrency above 1 needs a whole core.")
        if not 0 <= sizing.min_instances <= sizing.max_instances or sizing.max_instances < 1:
            found.append(
                f"functions.{name}: min_instances must be at most max_instances, which is at least 1."
            )
    if configuration.most_connections > configuration.pooler_clients:
        found.append(
            f"All instances together may open {configuration.most_connections} connections, and the pooler takes "
            f"{configuration.pooler_clients} (poolerClients): lower max_instances or poolSize, or say what it takes."
        )
    work = configuration.seconds("ASYOUWERE_STATEMENT_TIMEOUT_SECONDS", 20)
    work += configuration.seconds("ASYOUWERE_POOL_TIMEOUT_SECONDS", 5)
    if BUDGET_SECONDS + work + _COLD_START_SECONDS > configuration.sizings[CLEAN_UP.name].timeout_seconds:
        found.append("The clean-up's timeout is too short for its budget, one statement and a cold start.")
    for name in configuration.environment:
        if name.startswith(("ASYOUWERE_", "GOOGLE_", "K_")) or not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            found.append(f"environment.{name}: asyouwere's own are settings by themselves; others are A-Z0-9_.")
        elif re.search(r"HEADERS|KEY|TOKEN|SECRET|PASSWORD", name):
            found.append(f"environment.{name} looks like a secret, and would be plain there: see telemetryHeaders.")
    for name, value in configuration.environment.items():
        if "ENDPOINT" in name and not value.startswith("https://"):
            found.append(f"environment.{name} must start with https://: figures and a key would go there in clear.")
    if configuration.telemetry and not any("ENDPOINT" in name for name in configuration.environment):
        found.append("telemetry is on: say where to, environment: {OTEL_EXPORTER_OTLP_ENDPOINT: https://…}.")
    if configuration.requests_per_minute is not None and configuration.domain is None:
        found.append("requestsPerMinute: only the load balancer of a domain can count requests before they cost.")
    if configuration.requests_per_minute is not None and configuration.requests_per_minute < 1:
        found.append("requestsPerMinute must be above zero.")
    if configuration.budget is not None and configuration.budget.units < 1:
        found.append("budget.units must be above zero.")
    for key, value in (configuration.labels or {}).items():
        if not _LABEL.fullmatch(key) or not _LABEL.fullmatch(value):
            found.append(f"labels: {key}={value} is none: lower-case letters, digits, - and _.")
    return found
