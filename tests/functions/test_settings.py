"""Settings: one declaration each, what is made of it, and which origins a page may have."""

from __future__ import annotations

from dataclasses import fields

import pytest

from asyouwere.service.http.cors import cors_headers
from asyouwere.service.settings import VARIABLES, Settings, SettingsError
from scripts import settings_pages

GOOD = {
    "ASYOUWERE_DATABASE_URL": "postgresql://user:hidden@host/db",
    "ASYOUWERE_JWT_SECRET": "s" * 32,
    "ASYOUWERE_JWT_ISSUER": "https://issuer.example",
}
STALE = "run `make generate` and commit what it wrote"


def with_origins(text: str) -> frozenset[str]:
    return Settings.from_environment({**GOOD, "ASYOUWERE_ALLOWED_ORIGINS": text}).allowed_origins


# -- one declaration -----------------------------------------------------------------------------------------


def test_variables__every_field_is_one_with_its_default_and_a_meaning() -> None:
    assert [variable.field for variable in VARIABLES.values()] == [f.name for f in fields(Settings)]
    made = Settings.from_environment(GOOD)
    for name, variable in VARIABLES.items():
        assert name == f"ASYOUWERE_{variable.field.upper()}"
        assert len(variable.meaning) > 10, name
        if name not in GOOD and not variable.otherwise:
            assert getattr(made, variable.field) == variable.default, name


def test_database__is_postgrest_unless_there_is_an_address_of_postgres() -> None:
    supabase = {"ASYOUWERE_SUPABASE_URL": "https://ref.supabase.co", "ASYOUWERE_PUBLISHABLE_KEY": "sb_publishable_1"}
    address = {"ASYOUWERE_DATABASE_URL": "postgresql://u@127.0.0.1/d"}
    for given, mode in (
        (supabase, "postgrest"),
        ({**supabase, **address}, "direct"),
        ({**supabase, **address, "ASYOUWERE_DATABASE": "postgrest"}, "postgrest"),
    ):
        made = Settings.from_environment(given)
        assert (made.database, made.jwt_issuer) == (mode, "https://ref.supabase.co/auth/v1")
        assert made.jwks_url == "https://ref.supabase.co/auth/v1/.well-known/jwks.json"
    for given, named in (({}, "ASYOUWERE_DATABASE_URL"), ({**supabase, "ASYOUWERE_DATABASE": "direct"}, "DATABASE_URL is")):
        with pytest.raises(SettingsError, match=named):
            Settings.from_environment(given)


def test_from_environment__the_projects_keys_in_each_others_place__are_refused() -> None:
    for given, named in (
        ({"ASYOUWERE_PUBLISHABLE_KEY": "sb_secret_planted"}, "PUBLISHABLE_KEY is a secret key"),
        ({"ASYOUWERE_SERVICE_KEY": "sb_publishable_planted"}, "SERVICE_KEY is a publishable key"),
    ):
        with pytest.raises(SettingsError, match=named) as refused:
            Settings.from_environment({"ASYOUWERE_SUPABASE_URL": "https://ref.supabase.co", **given})
        assert "planted" not in str(refused.value)


def test_repr__shows_every_field_and_no_secret() -> None:
    planted = {name: f"planted-{name}-{'x' * 32}" for name, variable in VARIABLES.items() if variable.secret}
    planted["ASYOUWERE_DATABASE_URL"] = "postgresql://user:planted@host/db"
    text = repr(Settings.from_environment({**GOOD, **planted}))
    assert "planted" not in text
    assert all(f"{variable.field}=" in text for variable in VARIABLES.values())


@pytest.mark.parametrize("name", [name for name, v in VARIABLES.items() if type(v.default) in (int, float, bool)])
def test_from_environment__what_is_no_number_or_switch__is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment({**GOOD, name: "neither"})


def test_settings_page__is_what_the_declarations_say() -> None:
    page = (settings_pages.ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == settings_pages.settings_page(), STALE
    assert all(f"| `{name}` | " in page for name in VARIABLES)


def test_example_stack__is_what_the_declarations_say() -> None:
    assert settings_pages.EXAMPLE.read_text(encoding="utf-8") == settings_pages.example_stack(), STALE


# -- origins -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "listed", ["http://localhost:*", "https://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"]
)
def test_origins__any_port_of_this_machine(listed: str) -> None:
    origins = with_origins(f"https://app.example, {listed}")
    host = listed.removesuffix(":*")
    for origin in (host, f"{host}:1", f"{host}:3000", f"{host}:65535", "https://app.example"):
        assert cors_headers(origin, origins)["Access-Control-Allow-Origin"] == origin


@pytest.mark.parametrize(
    "origin",
    ["http://localhost.evil.example:3000", "http://localhost:3000.evil.example", "http://evil.example:3000", "http://localhost:*",
     "https://localhost:3000", "http://localhost:", "http://localhost:３", "http://localhost:3000/", "http://x@localhost:3000",
     "localhost:3000", "http:3000", "null", "*", ":3000", "", "http://LOCALHOST:3000"],
)  # fmt: skip
def test_origins__any_port_of_this_machine__lets_no_other_in(origin: str) -> None:
    found = cors_headers(origin, with_origins("http://localhost:*"))
    if origin == "http://localhost:*":  # no browser sends it, and it names this machine
        assert found["Access-Control-Allow-Origin"] == origin
    else:
        assert found == {"Vary": "Origin"}


@pytest.mark.parametrize(
    "text",
    ["*", "https://app.example:*", "http://*:3000", "http://*.localhost:*", "http://*", "*:*", "http://localhost:*:*",
     "http://localhost.evil.example:*", "http://127.0.0.2:*", "http://localhost:3000:*", "ftp://localhost:*", "http://user@localhost:*",
     "http://localhost:**", "http://localhost:3*", "http://localhost:*/", "//localhost:*", "localhost:*", "http://LOCALHOST:*"],
)  # fmt: skip
def test_origins__any_other_pattern__is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="ASYOUWERE_ALLOWED_ORIGINS"):
        with_origins(text)
