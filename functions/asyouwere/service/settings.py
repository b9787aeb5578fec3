"""What a function needs to know, read from the environment once and then fixed.

    settings = Settings.from_environment()

ASYOUWERE_DATABASE chooses the way to the database. On hosted Supabase the direct one needs ASYOUWERE_DATABASE_URL
and ASYOUWERE_SUPABASE_URL; PostgREST needs ASYOUWERE_DATABASE=postgrest, ASYOUWERE_SUPABASE_URL and
ASYOUWERE_PUBLISHABLE_KEY, none of them a secret. The issuer and the addresses of the public keys and of
PostgREST follow from ASYOUWERE_SUPABASE_URL. ``VARIABLES`` lists every variable with its meaning, so that a
deployment can be checked against it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

__all__ = ["VARIABLES", "Settings", "SettingsError", "Variable"]

MEBIBYTE: Final = 1024 * 1024
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class SettingsError(Exception):
    """The environment lacks something or says something impossible; one line per problem."""


class Variable(NamedTuple):
    """One environment variable: the field it fills, what it means, and whether it must not be shown."""

    field: str
    meaning: str
    secret: bool = False


VARIABLES: Final[dict[str, Variable]] = {
    "ASYOUWERE_DATABASE": Variable(
        "database",
        "the way to the database: direct (default), a Postgres connection; or postgrest, HTTP with the "
        "user's own token",
    ),
    "ASYOUWERE_DATABASE_URL": Variable(
        "database_url",
        "direct only: postgresql:// address of the database or of a transaction-mode pooler; the login role "
        "must be a member of authenticated and service_role",
        secret=True,
    ),
    "ASYOUWERE_SUPABASE_URL": Variable(
        "supabase_url",
        "https://<project>.supabase.co; gives the issuer, the key address and PostgREST's their defaults",
    ),
    "ASYOUWERE_POSTGREST_URL": Variable(
        "postgrest_url", "postgrest only: its address; default <ASYOUWERE_SUPABASE_URL>/rest/v1"
    ),
    "ASYOUWERE_PUBLISHABLE_KEY": Variable(
        "publishable_key",
        "postgrest only: the project's publishable key (sb_publishable_...) or legacy anon key, which "
        "Supabase's gateway wants to see; no secret",
    ),
    "ASYOUWERE_SERVICE_KEY": Variable(
        "service_key",
        "postgrest only, and only for the clean-up: the project's secret key (sb_secret_...) or legacy "
        "service_role key",
        secret=True,
    ),
    "ASYOUWERE_JWT_SECRET": Variable(
        "jwt_secret", "shared secret of HS256 tokens, at least 32 bytes; or use public keys", secret=True
    ),
    "ASYOUWERE_JWKS_URL": Variable("jwks_url", "address of the public keys of RS256 and ES256 tokens"),
    "ASYOUWERE_JWT_ISSUER": Variable("jwt_issuer", "the exact 'iss' of the tokens"),
    "ASYOUWERE_JWT_AUDIENCE": Variable("jwt_audience", "the 'aud' of the tokens; default authenticated"),
    "ASYOUWERE_SCHEDULER_AUDIENCE": Variable(
        "scheduler_audience",
        "only for the clean-up: the exact 'aud' of the scheduler's OIDC tokens, as a rule its own address",
    ),
    "ASYOUWERE_SCHEDULER_EMAIL": Variable(
        "scheduler_email", "only for the clean-up: the service account that the scheduler's tokens must be of"
    ),
    "ASYOUWERE_SCHEDULER_ISSUER": Variable(
        "scheduler_issuer", "the exact 'iss' of the scheduler's tokens; default https://accounts.google.com"
    ),
    "ASYOUWERE_SCHEDULER_JWKS_URL": Variable(
        "scheduler_jwks_url", "address of the public keys of the scheduler's tokens; default Google's"
    ),
    "ASYOUWERE_SCHEDULER_BEHIND_IAM": Variable(
        "scheduler_behind_iam",
        "on or off (default): Cloud Run lets nobody in but the scheduler, checks its tokens and takes their "
        "signatures away; then those are taken without one",
    ),
    "ASYOUWERE_ALLOWED_ORIGINS": Variable(
        "allowed_origins", "browser origins that may call, exact, separated by commas; default none"
    ),
    "ASYOUWERE_MAX_BODY_BYTES": Variable("max_body_bytes", "largest request body; default 10 MiB"),
    "ASYOUWERE_MAX_IMPORT_BYTES": Variable("max_import_bytes", "largest body of an import; default 100 MiB"),
    "ASYOUWERE_BODY_TIMEOUT_SECONDS": Variable(
        "body_timeout_seconds", "time a client has to send its body; default 30"
    ),
    "ASYOUWERE_POOL_SIZE": Variable("pool_size", "most database connections of one process; default 8"),
    "ASYOUWERE_POOL_TIMEOUT_SECONDS": Variable(
        "pool_timeout_seconds", "longest wait for a free connection before a 503; default 5"
    ),
    "ASYOUWERE_STATEMENT_TIMEOUT_SECONDS": Variable(
        "statement_timeout_seconds", "longest run of one database call before a 504; default 20"
    ),
    "ASYOUWERE_CLEANUP_BUDGET_SECONDS": Variable(
        "cleanup_budget_seconds", "how long one clean-up request goes on; default 50"
    ),
    "ASYOUWERE_REQUEST_LOG": Variable(
        "request_log", "on (default) or off: one JSON line a request on standard output"
    ),
    "ASYOUWERE_TELEMETRY": Variable(
        "telemetry",
        "on or off (default): OpenTelemetry traces and metrics, for an SDK that is installed and configured",
    ),
}


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """Typed settings; see ``VARIABLES`` for meanings and units. Raises SettingsError if they contradict."""

    database: str = "direct"
    database_url: str = ""
    supabase_url: str | None = None
    postgrest_url: str | None = None
    publishable_key: str | None = None
    service_key: str | None = None
    jwt_secret: str | None = None
    jwks_url: str | None = None
    jwt_issuer: str = ""
    jwt_audience: str = "authenticated"
    scheduler_audience: str | None = None
    scheduler_email: str | None = None
    scheduler_issuer: str = "https://accounts.google.com"
    scheduler_jwks_url: str = "https://www.googleapis.com/oauth2/v3/certs"
    scheduler_behind_iam: bool = False
    allowed_origins: frozenset[str] = field(default_factory=frozenset)
    max_body_bytes: int = 10 * MEBIBYTE
    max_import_bytes: int = 100 * MEBIBYTE
    body_timeout_seconds: float = 30.0
    pool_size: int = 8
    pool_timeout_seconds: float = 5.0
    statement_timeout_seconds: float = 20.0
    cleanup_budget_seconds: float = 50.0
    request_log: bool = True
    telemetry: bool = False

    def __post_init__(self) -> None:
        if self.supabase_url:
            project = self.supabase_url.rstrip("/")
            base = project + "/auth/v1"
            if self.database == "postgrest" and not self.postgrest_url:
                object.__setattr__(self, "postgrest_url", project + "/rest/v1")
            # A project on the old shared secret has no public keys; asking for them would only cost time.
            if not self.jwt_secret and not self.jwks_url:
                object.__setattr__(self, "jwks_url", base + "/.well-known/jwks.json")
            if not self.jwt_issuer:
                object.__setattr__(self, "jwt_issuer", base)
        problems = list(_problems(self))
        if problems:
            raise SettingsError("\n".join(problems))

    @property
    def small_body_bytes(self) -> int:
        """The limit of requests without a session's content in them."""
        return min(MEBIBYTE, self.max_body_bytes)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read every variable of ``VARIABLES``; an empty one counts as missing. Raises SettingsError."""
        values: dict[str, Any] = {}
        problems = []
        for name, variable in VARIABLES.items():
            text = environ.get(name, "").strip()
            if not text:
                continue
            try:
                values[variable.field] = _READERS.get(variable.field, str)(text)
            except ValueError:
                problems.append(f"{name} cannot be read: {variable.meaning}.")
        if problems:
            raise SettingsError("\n".join(problems))
        return cls(**values)

    def __repr__(self) -> str:
        secret = {variable.field for variable in VARIABLES.values() if variable.secret}
        shown = (
            f"{f.name}={'***' if f.name in secret and getattr(self, f.name) else repr(getattr(self, f.name))}"
            for f in fields(self)
        )
        return f"Settings({', '.join(shown)})"


def _origins(text: str) -> frozenset[str]:
    origins = frozenset(part.strip() for part in text.split(",") if part.strip())
    for origin in origins:
        parts = urlsplit(origin)
        if (
            origin != f"{parts.scheme}://{parts.netloc}"
            or parts.scheme not in ("http", "https")
            or "*" in origin
        ):
            raise ValueError(origin)
    return origins


def _switch(text: str) -> bool:
    word = text.lower()
    if word not in ("on", "true", "1", "off", "false", "0"):
        raise ValueError(text)
    return word in ("on", "true", "1")


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "allowed_origins": _origins,
    "max_body_bytes": int,
    "max_import_bytes": int,
    "body_timeout_seconds": float,
    "pool_size": int,
    "pool_timeout_seconds": float,
    "statement_timeout_seconds": float,
    "cleanup_budget_seconds": float,
    "request_log": _switch,
    "scheduler_behind_iam": _switch,
    "telemetry": _switch,
}


def _problems(settings: Settings) -> list[str]:
    found = []
    if settings.database not in ("direct", "postgrest"):
        found.append("ASYOUWERE_DATABASE must be direct or postgrest.")
    if settings.database == "direct" and not settings.database_url:
        found.append(f"ASYOUWERE_DATABASE_URL is missing: {VARIABLES['ASYOUWERE_DATABASE_URL'].meaning}.")
    if settings.database == "postgrest" and not settings.postgrest_url:
        found.append("Set ASYOUWERE_SUPABASE_URL or ASYOUWERE_POSTGREST_URL: PostgREST's address is missing.")
    # A clean-up that only the scheduler calls needs no keys to users' tokens.
    if not settings.jwt_secret and not settings.jwks_url and not settings.scheduler_audience:
        found.append(
            "Set ASYOUWERE_SUPABASE_URL, ASYOUWERE_JWKS_URL or ASYOUWERE_JWT_SECRET: tokens could not be verified."
        )
    if settings.jwt_secret is not None and len(settings.jwt_secret.encode()) < 32:
        found.append("ASYOUWERE_JWT_SECRET is too short: at least 32 bytes.")
    if not settings.jwt_issuer:
        found.append("ASYOUWERE_JWT_ISSUER is missing (ASYOUWERE_SUPABASE_URL would give it).")
    if not settings.jwt_audience:
        found.append("ASYOUWERE_JWT_AUDIENCE is empty.")
    if settings.database == "postgrest" and settings.scheduler_audience and not settings.service_key:
        found.append("ASYOUWERE_SERVICE_KEY is missing: PostgREST does not know the scheduler's tokens.")
    if (settings.scheduler_audience is None) != (settings.scheduler_email is None):
        found.append("Set both ASYOUWERE_SCHEDULER_AUDIENCE and ASYOUWERE_SCHEDULER_EMAIL, or neither.")
    for name in ("ASYOUWERE_JWKS_URL", "ASYOUWERE_SCHEDULER_JWKS_URL", "ASYOUWERE_POSTGREST_URL"):
        address = getattr(settings, VARIABLES[name].field)
        parts = urlsplit(address or "https://")
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            found.append(f"{name} must start with https:// (http:// only on this machine).")
    for name, variable in VARIABLES.items():
        value = getattr(settings, variable.field)
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 < value < 2**31:
            found.append(f"{name} must be above zero.")
    return found
