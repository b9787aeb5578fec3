"""The deployed functions: which, of what, how large, with what environment."""

from __future__ import annotations

import ast
import re
from dataclasses import asdict
from typing import Any

import pytest
import yaml

from asyouwere.service import api
from asyouwere.service.handlers import turn_streams
from asyouwere.service.routes.registry import FUNCTIONS
from asyouwere.service.settings import VARIABLES, Settings
from asyouwere_infra.configuration import Thresholds
from asyouwere_infra.entry_points import ENTRY_POINTS, LAYOUTS, USERS_FUNCTIONS
from asyouwere_infra.environment import PLACES, config_key
from tests.infra.stack import DIRECT, FULL, POSTGREST, ROOT, Stack, run

VERSION = "secretmanager/secretVersion:SecretVersion"
CLEAN_UP = "cleanup-old-snapshots"
PUBLIC = {"session-snapshot-save", "session-snapshot-restore", "sessions"}


def environment(function: dict[str, Any]) -> dict[str, str]:
    """Plain variables."""
    values: dict[str, str] = function["serviceConfig"]["environmentVariables"]
    return values


def secrets(function: dict[str, Any]) -> dict[str, str]:
    """Secret variables, each with its secret's name."""
    bound = function["serviceConfig"].get("secretEnvironmentVariables", [])
    assert all((item["version"], item["projectId"]) == ("7", "a-project") for item in bound)
    return {item["key"]: item["secret"] for item in bound}


def test_entry_points__are_those_of_main_and_of_the_routes() -> None:
    tree = ast.parse((ROOT / "functions" / "main.py").read_text("utf-8"))
    targets = {
        node.name for node in tree.body if isinstance(node, ast.AsyncFunctionDef) and node.decorator_list
    }
    assert {entry.target for entry in ENTRY_POINTS} == targets
    assert {entry.name for entry in LAYOUTS["four"]} == FUNCTIONS.keys()
    assert {*USERS_FUNCTIONS} == api.USERS_FUNCTIONS == FUNCTIONS.keys() - {CLEAN_UP}
    assert all(entry.target == entry.name.replace("-", "_") for entry in LAYOUTS["four"])
    for entry in LAYOUTS["four"]:
        callers = {route.audience for route in FUNCTIONS[entry.name].routes}
        # people's budgets are set by the service, beside what users ask
        wanted = {"sessions": {"user", "service"}, CLEAN_UP: {"service"}}.get(entry.name, {"user"})
        assert callers == wanted, entry.name
        assert ("user" in callers) == entry.public


def test_functions__are_one_service_and_the_clean_up_or_four(direct: Stack, full: Stack) -> None:
    assert direct.functions.keys() == {"asyouwere", CLEAN_UP}
    assert full.functions.keys() == PUBLIC | {CLEAN_UP}
    targets = {entry.name: entry.target for entry in ENTRY_POINTS}
    for name, function in [*direct.functions.items(), *full.functions.items()]:
        assert function["buildConfig"]["entryPoint"] == targets[name]


def test_functions__are_built_for_https(direct: Stack) -> None:
    for name, function in direct.functions.items():
        assert function["name"] == name
        assert function["location"] == "europe-west1"
        assert function["buildConfig"]["runtime"] == "python313"
        assert "automaticUpdatePolicy" in function["buildConfig"]
        assert "eventTrigger" not in function
        assert function["labels"] == {"app": "asyouwere", "managed-by": "pulumi"}


def test_functions__are_all_built_from_the_one_archive(direct: Stack) -> None:
    (archive,) = direct.of("storage/bucketObject:BucketObject").values()
    (bucket,) = direct.of("storage/bucket:Bucket").values()
    for function in direct.functions.values():
        source = function["buildConfig"]["source"]["storageSource"]
        assert source == {"bucket": bucket["name"], "object": archive["name"]}
    assert bucket["publicAccessPrevention"] == "enforced"
    assert bucket["uniformBucketLevelAccess"] is True


def test_functions__sizes_are_such_as_cloud_run_takes(direct: Stack) -> None:
    for name, function in direct.functions.items():
        service = function["serviceConfig"]
        assert service["maxInstanceRequestConcurrency"] == 1 or float(service["availableCpu"]) >= 1
        assert service["maxInstanceRequestConcurrency"] > 1 or name == CLEAN_UP
        assert 0 <= service["minInstanceCount"] <= service["maxInstanceCount"]
        # A client may take its 30 s to send, wait 5 s for a connection and 20 s for the database.
        assert service["timeoutSeconds"] >= 55
    assert direct.functions[CLEAN_UP]["serviceConfig"]["maxInstanceCount"] == 1


@pytest.mark.parametrize(("layout", "cores", "connections"), [("one", 6, 41), ("four", 10, 73)])
def test_functions__fit_the_smallest_plans(layout: str, cores: int, connections: int) -> None:
    (stack,) = run({**DIRECT, "services": layout})
    sizes = [function["serviceConfig"] for function in stack.functions.values()]
    assert sum(int(size["availableCpu"]) * size["maxInstanceCount"] for size in sizes) == cores <= 10
    # twice as many while one revision takes over from another
    assert stack.outputs["databaseConnectionsAtMost"] == connections <= 200 / 2


def test_functions__outlast_an_event_stream(direct: Stack, full: Stack) -> None:
    for function in (direct.functions["asyouwere"], full.functions["sessions"]):
        assert function["serviceConfig"]["timeoutSeconds"] >= turn_streams.LIFE_SECONDS + 30


def test_outputs__have_the_base_url_that_clients_and_the_doctor_want(direct: Stack) -> None:
    one = "https://asyouwere-123456789012.europe-west1.run.app/functions/v1"
    (four,) = run({**DIRECT, "services": "four"})
    apart = "https://europe-west1-a-project.cloudfunctions.net"
    for stack, base in ((direct, one), (four, apart)):
        assert stack.outputs["functionsUrl"] == base
        assert stack.outputs["urls"] == {name: f"{base}/{name}" for name in PUBLIC}


def test_functions__sizes_and_labels_follow_the_settings(full: Stack) -> None:
    service = full.functions["sessions"]["serviceConfig"]
    assert (service["minInstanceCount"], service["maxInstanceCount"]) == (1, 3)
    assert service["maxInstanceRequestConcurrency"] == 2
    assert full.functions["sessions"]["labels"]["team"] == "chat"
    # 3 of 4 connections, twice; 3 of 2; the clean-up's one.
    assert full.outputs["databaseConnectionsAtMost"] == 31


def test_places__every_setting_of_the_functions_has_one() -> None:
    assert PLACES.keys() == VARIABLES.keys()
    assert {name for name, place in PLACES.items() if place.kind == "secret"} == {
        name for name, variable in VARIABLES.items() if variable.secret
    }


def test_places__every_setting_and_secret_of_the_stack_is_in_the_example() -> None:
    example = (ROOT / "infra" / "Pulumi.example.yaml").read_text("utf-8")
    for name, place in PLACES.items():
        if place.kind != "derived":
            assert f"asyouwere:{config_key(name)}:" in example, name
    for key in (
        "database",
        "services",
        "poolerClients",
        "domain",
        "alertEmails",
        "notificationChannels",
        "functions",
        "thresholds",
        "labels",
        "invokerCheck",
        "environment",
        "telemetryHeaders",
        "requestsPerMinute",
        "budget",
    ):
        assert f"asyouwere:{key}:" in example, key


def test_example__is_a_stack_that_can_be_deployed() -> None:
    example = yaml.safe_load((ROOT / "infra" / "Pulumi.example.yaml").read_text("utf-8"))["config"]
    settings = {
        key.removeprefix("asyouwere:"): value for key, value in example.items() if key.startswith("asyouwere:")
    }
    (refused, stack) = run(settings, {**POSTGREST, **settings})
    assert "serviceKey" in refused.refused  # secrets are not in files
    assert stack.functions.keys() == {"asyouwere", CLEAN_UP}
    assert environment(stack.functions["asyouwere"])["ASYOUWERE_ALLOWED_ORIGINS"] == "https://app.example.com"


def test_example__shows_the_defaults() -> None:
    text = (ROOT / "infra" / "Pulumi.example.yaml").read_text("utf-8")
    shown = dict(re.findall(r"# +(error_ratio|p99_ms|\w+_\w+): ([\d.]+)", text))
    assert {key: float(value) for key, value in shown.items()} == asdict(Thresholds())
    defaults = Settings("direct", "postgresql://x", jwt_secret="0123456789" * 4, jwt_issuer="x")
    for name in (
        "poolSize",
        "poolTimeoutSeconds",
        "statementTimeoutSeconds",
        "bodyTimeoutSeconds",
        "maxBodyBytes",
    ):
        (value,) = re.findall(rf'asyouwere:{name}: "(\d+)"', text)
        (field,) = [VARIABLES[variable].field for variable in PLACES if config_key(variable) == name]
        assert float(value) == getattr(defaults, field), name


def test_environment__every_plain_setting_reaches_the_functions_that_need_it() -> None:
    given = {
        config_key(name): f"{name.lower()}.example" if name != "ASYOUWERE_TELEMETRY" else "off"
        for name, place in PLACES.items()
        if place.kind == "setting" and not name.endswith(("_BYTES", "_SECONDS", "_SIZE"))
    }
    (stack,) = run({**POSTGREST, **given})
    seen = {name for function in stack.functions.values() for name in environment(function)}
    expected = {name for name, place in PLACES.items() if place.kind != "secret" and place.postgrest}
    expected.remove("ASYOUWERE_TELEMETRY_FLUSH")  # only with telemetry
    optional = {name for name in expected if name.endswith(("_BYTES", "_SECONDS", "_SIZE"))}
    assert seen | optional == expected
    assert environment(stack.functions["asyouwere"])["ASYOUWERE_JWT_ISSUER"] == "asyouwere_jwt_issuer.example"


@pytest.mark.parametrize(
    ("which", "settings"), [("direct", DIRECT), ("postgrest", POSTGREST), ("full", FULL)]
)
def test_environment__the_functions_start_with_it(
    which: str, settings: dict[str, Any], stacks: dict[str, Stack]
) -> None:
    planted = {"ASYOUWERE_JWT_SECRET": "0123456789" * 4, "ASYOUWERE_DATABASE_URL": "postgresql://u:planted@x/d"}
    for name, function in stacks[which].functions.items():
        bound = {key: planted.get(key, f"planted-{key}") for key in secrets(function)}
        read = Settings.from_environment({**environment(function), **bound})
        assert read.database == settings.get("database", "direct")
        assert read.request_log is True
        assert read.max_import_bytes < 32 * 1024 * 1024
        assert read.jwt_issuer == "https://abc.supabase.co/auth/v1"
        if name == CLEAN_UP:
            assert read.scheduler_email == "asyouwere-scheduler@a-project.iam.gserviceaccount.com"
            assert read.scheduler_behind_iam is True
            assert read.allowed_origins == frozenset()
        else:
            assert read.scheduler_audience is None
            assert read.allowed_origins == frozenset(settings.get("allowedOrigins", ()))


def test_environment__no_secret_is_plain(direct: Stack, postgrest: Stack, full: Stack) -> None:
    for stack in (direct, postgrest, full):
        for made in stack.made:
            if made["type"] != "gcp:secretmanager/secretVersion:SecretVersion":
                assert "planted" not in str(made), made["name"]
        for function in stack.functions.values():
            plain = environment(function).keys() & VARIABLES.keys()
            assert not {name for name in plain if VARIABLES[name].secret}


def test_environment__with_postgrest_only_the_clean_up_holds_a_secret(postgrest: Stack) -> None:
    held = {name: secrets(function) for name, function in postgrest.functions.items()}
    assert held.pop(CLEAN_UP) == {"ASYOUWERE_SERVICE_KEY": "asyouwere-service-key"}
    assert not any(held.values())
    assert postgrest.of("secretmanager/secret:Secret").keys() == {"asyouwere-service-key"}
    for function in postgrest.functions.values():
        assert "ASYOUWERE_DATABASE_URL" not in str(function)
    assert postgrest.outputs["databaseConnectionsAtMost"] == 0


def test_environment__the_clean_up_logs_in_by_itself(direct: Stack, full: Stack) -> None:
    values = {name: version["secretData"] for name, version in direct.of(VERSION).items()}
    for stack in (direct, full):
        for name, function in stack.functions.items():
            secret = secrets(function)["ASYOUWERE_DATABASE_URL"]
            which = "cleanupDatabaseUrl" if name == CLEAN_UP else "databaseUrl"
            assert DIRECT[which] in str(values[secret])


def test_environment__the_clean_up_has_no_key_to_users_tokens(full: Stack) -> None:
    assert "ASYOUWERE_JWT_SECRET" not in secrets(full.functions[CLEAN_UP])
    assert all("ASYOUWERE_JWT_SECRET" in secrets(full.functions[name]) for name in PUBLIC)


#: Settings that can't be deployed, each with what the error names.
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "serviceKey"),
    ({"databaseUrl": "x"}, "supabaseUrl"),
    ({"supabaseUrl": "https://x", "databaseUrl": "x"}, "cleanupDatabaseUrl"),
    ({"database": "postgrest", "supabaseUrl": "https://x"}, "serviceKey"),
    ({**POSTGREST, "publishableKey": ""}, "publishableKey"),
    ({**POSTGREST, "publishableKey": "sb_secret_planted"}, "publishableKey is a secret key"),
    ({"database": "mysql"}, "direct or postgrest"),
    ({**DIRECT, "allowedOrigins": ["*"]}, "allowedOrigins"),
    ({**DIRECT, "functions": {"nobody": {}}}, "nobody"),
    ({**DIRECT, "functions": {"asyouwere": {"cpus": 1}}}, "cpus"),
    ({**DIRECT, "functions": {"asyouwere": {"cpu": "0.5"}}}, "whole core"),
    ({**DIRECT, "functions": {CLEAN_UP: {"timeout_seconds": 60}}}, "timeout"),
    ({**DIRECT, "functions": {"asyouwere": {"min_instances": 30}}}, "min_instances"),
    ({**DIRECT, "services": "two"}, "one or four"),
    ({**DIRECT, "functions": {"sessions": {}}}, "sessions"),  # no part of the one service's stack
    ({**DIRECT, "functions": {"asyouwere": {"max_instances": 25}}}, "201 connections"),
    ({**DIRECT, "poolSize": "50"}, "251 connections"),
    ({**DIRECT, "services": "four", "poolerClients": "72"}, "73 connections"),
    ({**DIRECT, "labels": {"Team": "Chat"}}, "labels"),
    ({**DIRECT, "telemetry": "on"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ({**DIRECT, "environment": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel.example"}}, "https://"),
    ({**DIRECT, "environment": {"OTEL_EXPORTER_OTLP_HEADERS": "x-key=1"}}, "telemetryHeaders"),
    ({**DIRECT, "environment": {"ASYOUWERE_POOL_SIZE": "9"}}, "ASYOUWERE_POOL_SIZE"),
    ({**DIRECT, "requestsPerMinute": "600"}, "requestsPerMinute"),
    ({**DIRECT, "domain": "a.example", "requestsPerMinute": "0"}, "requestsPerMinute"),
    ({**DIRECT, "budget": {"billing_account": "x", "units": 0}}, "budget"),
]


def test_database__is_postgrest_unless_there_is_a_login() -> None:
    by_itself = {key: value for key, value in POSTGREST.items() if key not in ("database", "databaseUrl")}
    (postgrest, direct) = run(by_itself, DIRECT)
    assert environment(postgrest.functions["asyouwere"])["ASYOUWERE_DATABASE"] == "postgrest"
    assert environment(direct.functions["asyouwere"])["ASYOUWERE_DATABASE"] == "direct"


def test_telemetry__has_an_exporter_its_key_as_a_secret_and_no_sleep_before_the_answer(full: Stack, direct: Stack) -> None:
    (with_it,), (without,) = (stack.of("storage/bucketObject:BucketObject").values() for stack in (full, direct))
    assert with_it["name"] != without["name"]  # another archive: its requirements.txt has the exporter
    for function in full.functions.values():
        variables = environment(function)
        assert variables["ASYOUWERE_TELEMETRY_FLUSH"] == variables["ASYOUWERE_TELEMETRY"] == "on"
        assert variables["OTEL_TRACES_EXPORTER"] == variables["OTEL_METRICS_EXPORTER"] == "otlp"
        assert variables["OTEL_EXPORTER_OTLP_ENDPOINT"] == "https://otel.example"
        assert variables["OTEL_SERVICE_NAME"] == "chat"  # what the stack says goes before what we say
        assert secrets(function)["OTEL_EXPORTER_OTLP_HEADERS"] == "asyouwere-telemetry-headers"
    for function in direct.functions.values():
        assert not {name for name in environment(function) if name.startswith(("OTEL_", "ASYOUWERE_TELEMETRY"))}


def test_environment__reaches_every_function() -> None:
    (stack,) = run({**DIRECT, "environment": {"TZ": "UTC", "LOG_LEVEL": 3}})
    for function in stack.functions.values():
        assert (environment(function)["TZ"], environment(function)["LOG_LEVEL"]) == ("UTC", "3")


def test_configuration__says_what_is_wrong_before_anything_is_made() -> None:
    stacks = run(*(settings for settings, _ in REFUSED))
    for (settings, named), stack in zip(REFUSED, stacks, strict=True):
        assert named in stack.refused, settings
        assert stack.made == []
