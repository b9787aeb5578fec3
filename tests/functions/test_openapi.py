"""The OpenAPI document: valid, complete, served; and the lists that must agree."""

from __future__ import annotations

from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from asyouwere.errors import CODES, AsYouWereError, from_code
from asyouwere.service.openapi import document
from asyouwere.service.routes.registry import FUNCTIONS
from asyouwere.service.settings import VARIABLES, Settings, SettingsError
from tests.functions.api import BASE, Person

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_document__is_valid_and_served_to_anybody(nobody: Person, function: str) -> None:
    OpenAPIV31SpecValidator(document(function)).validate()
    answer = nobody.http.get(f"{BASE}/{function}/openapi.json")
    assert answer.status_code == 200
    assert answer.json() == document(function)
    assert nobody.http.post(f"{BASE}/{function}/openapi.json").status_code == 405


@pytest.mark.parametrize("function", FUNCTIONS)
def test_document__has_every_route(function: str) -> None:
    described = {
        (method.upper(), "" if path == "/" else path)
        for path, operations in document(function)["paths"].items()
        for method in operations
    }
    assert described == {(route.method, route.pattern) for route in FUNCTIONS[function].routes}


def test_document__operation_ids_are_unique() -> None:
    ids = [
        operation["operationId"]
        for function in FUNCTIONS
        for operations in document(function)["paths"].values()
        for operation in operations.values()
    ]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("code", CODES)
def test_codes__make_an_error_of_their_status(code: str) -> None:
    error = AsYouWereError(code) if CODES[code].status in (405, 408, 500) else from_code(code)
    assert (error.code, error.status, str(error)) == (code, CODES[code].status, CODES[code].sentence)
    assert CODES[code].sentence.endswith(".")


# -- settings --------------------------------------------------------------------------------------------

GOOD = {
    "ASYOUWERE_DATABASE_URL": "postgresql://user:hidden@host/db",
    "ASYOUWERE_JWT_SECRET": "s" * 32,
    "ASYOUWERE_JWT_ISSUER": "https://issuer.example",
}


def test_settings__every_variable_fills_a_field() -> None:
    assert {variable.field for variable in VARIABLES.values()} == set(Settings.__dataclass_fields__)


def test_settings__hosted_supabase_needs_two() -> None:
    settings = Settings.from_environment(
        {"ASYOUWERE_DATABASE_URL": "postgresql://x", "ASYOUWERE_SUPABASE_URL": "https://ref.supabase.co/"}
    )
    assert settings.jwt_issuer == "https://ref.supabase.co/auth/v1"
    assert settings.jwks_url == "https://ref.supabase.co/auth/v1/.well-known/jwks.json"


def test_settings__postgrest_needs_no_secret() -> None:
    settings = Settings.from_environment(
        {"ASYOUWERE_DATABASE": "postgrest", "ASYOUWERE_SUPABASE_URL": "https://ref.supabase.co/"}
    )
    assert settings.postgrest_url == "https://ref.supabase.co/rest/v1"
    without_address = {**GOOD, "ASYOUWERE_DATABASE": "postgrest"}
    with pytest.raises(SettingsError, match="ASYOUWERE_POSTGREST_URL"):
        Settings.from_environment(without_address)


def test_settings__scheduler_is_known_by_audience_and_email_together() -> None:
    both = {
        "ASYOUWERE_SCHEDULER_AUDIENCE": "https://clean-up.example",
        "ASYOUWERE_SCHEDULER_EMAIL": "a@b.example",
    }
    assert Settings.from_environment({**GOOD, **both}).scheduler_issuer == "https://accounts.google.com"
    for name, value in both.items():
        with pytest.raises(SettingsError, match="ASYOUWERE_SCHEDULER_AUDIENCE and ASYOUWERE_SCHEDULER_EMAIL"):
            Settings.from_environment({**GOOD, name: value})


def test_settings__say_everything_that_is_missing() -> None:
    with pytest.raises(SettingsError, match="Or set ASYOUWERE_DATABASE_URL"):
        Settings.from_environment({})
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({"ASYOUWERE_DATABASE_URL": "postgresql://x", "ASYOUWERE_JWT_SECRET": "short"})
    assert "ASYOUWERE_JWT_ISSUER" in str(refused.value)
    assert "at least 32 bytes" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ASYOUWERE_DATABASE", "sqlite"),
        ("ASYOUWERE_POSTGREST_URL", "http://rest.example"),
        ("ASYOUWERE_SCHEDULER_JWKS_URL", "http://keys.example"),
        ("ASYOUWERE_TELEMETRY", "perhaps"),
        ("ASYOUWERE_POOL_SIZE", "many"),
        ("ASYOUWERE_POOL_SIZE", "0"),
        ("ASYOUWERE_MAX_BODY_BYTES", "-1"),
        ("ASYOUWERE_REQUEST_LOG", "perhaps"),
        ("ASYOUWERE_ALLOWED_ORIGINS", "https://*.example"),
        ("ASYOUWERE_ALLOWED_ORIGINS", "https://app.example/path"),
        ("ASYOUWERE_ALLOWED_ORIGINS", "app.example"),
        ("ASYOUWERE_JWKS_URL", "http://keys.example/jwks.json"),
        ("ASYOUWERE_STATEMENT_TIMEOUT_SECONDS", "nan"),
    ],
)
def test_settings__refuse_what_cannot_be(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({**GOOD, name: value})
    assert name in str(refused.value)


def test_settings__read_lists_and_switches() -> None:
    settings = Settings.from_environment(
        {
            **GOOD,
            "ASYOUWERE_ALLOWED_ORIGINS": "https://a.example, http://localhost:3000",
            "ASYOUWERE_REQUEST_LOG": "off",
            "ASYOUWERE_SERVICE_KEY": "sb_secret_hidden",
        }
    )
    assert settings.allowed_origins == {"https://a.example", "http://localhost:3000"}
    assert settings.request_log is False
    assert "hidden" not in repr(settings)
    assert "s" * 32 not in repr(settings)
