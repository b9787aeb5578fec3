"""What a function needs to know, read from the environment once and then fixed.

    settings = Settings.from_environment()

On hosted Supabase, ASYOUWERE_SUPABASE_URL and ASYOUWERE_PUBLISHABLE_KEY are enough, none of them a secret: the
functions then go by PostgREST. With ASYOUWERE_DATABASE_URL they connect to Postgres, which is faster;
ASYOUWERE_DATABASE says which if both are there. The issuer and the addresses of the public keys and of PostgREST
follow from ASYOUWERE_SUPABASE_URL.

Each setting is declared once, as a field of ``Settings``: name, type, default, meaning, whether it is a secret, and
which functions of a deployment get it. The reader here, the deployment (infra/asyouwere_infra/environment.py),
docs/settings.md and infra/Pulumi.example.yaml are made of that. Dataclass fields and not pydantic-settings: to
import that takes 240 ms where pydantic is there already, and this module 5.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

from asyouwere.postgres.encryption import NotEncrypted, encrypted, encrypted_or_here
from asyouwere.service.project_keys import role_of_key

__all__ = ["VARIABLES", "Readers", "Settings", "SettingsError", "Variable"]

MEBIBYTE: Final = 1024 * 1024
_THIS_MACHINE: Final = frozenset(
    f"{scheme}://{host}" for scheme in ("http", "https") for host in ("localhost", "127.0.0.1", "[::1]")
)
_PREFIX: Final = "ASYOUWERE_"

#: Which functions get a setting: all, those that users call, the clean-up alone, or none.
Readers = Literal["all", "users", "cleanup", "none"]
_T = TypeVar("_T")


class SettingsError(Exception):
    """The environment lacks something or says something impossible; one line per problem."""


class Variable(NamedTuple):
    """One setting as its environment variable.

    field: of ``Settings``; default: its value if the variable is not set; otherwise: where that value then comes
    from, if not from here; secret: never shown; derived: a deployment says it by itself, nobody sets it;
    direct, postgrest: the functions that get it in that mode of the database.
    """

    field: str
    meaning: str
    default: Any
    otherwise: str
    secret: bool
    derived: bool
    direct: Readers
    postgrest: Readers


def _setting(
    default: _T,
    meaning: str,
    *,
    otherwise: str = "",
    secret: bool = False,
    derived: bool = False,
    to: Readers = "all",
    direct: Readers | None = None,
    postgrest: Readers | None = None,
) -> _T:
    """A field of ``Settings``; the arguments are those of ``Variable``, ``to`` holds for both ways."""
    facts = (meaning, default, otherwise, secret, derived, direct or to, postgrest or to)
    return field(default=default, metadata={"facts": facts})


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """Typed settings. Raises SettingsError if they contradict each other."""

    database: str = _setting(
        "",
        "mode of the database: direct, a Postgres connection; or postgrest, HTTP with the user's own token",
        otherwise="direct if there is ASYOUWERE_DATABASE_URL, else postgrest",
        derived=True,
    )
    database_url: str = _setting(
        "",
        "direct only: postgresql:// address of the database or of a transaction-mode pooler; the login needs "
        "no right but to act as the tokens' roles: asyouwere_api, for the clean-up asyouwere_cleanup "
        "(`asyouwere logins` makes both), never postgres. Off this machine always with TLS: sslmode=require "
        "if it says nothing, verify-full with a CA, and anything below require is refused",
        secret=True,
        postgrest="none",
    )
    database_ca: str | None = _setting(
        None,
        "direct only: PEM text of the CA's certificates, by which the server is verified (sslmode=verify-full); or "
        "write sslrootcert, a file of them, into the address",
        postgrest="none",
    )
    supabase_url: str | None = _setting(
        None, "https://YOUR-PROJECT.supabase.co; gives the issuer, the key address and PostgREST's their defaults"
    )
    postgrest_url: str | None = _setting(
        None,
        "postgrest only: its address",
        otherwise="<ASYOUWERE_SUPABASE_URL>/rest/v1",
        direct="none",
    )
    publishable_key: str | None = _setting(
        None,
        "postgrest only: the project's publishable key (sb_publishable_...) or legacy anon key, which "
        "Supabase's gateway wants to see; no secret",
        direct="none",
    )
    service_key: str | None = _setting(
        None,
        "postgrest only, and only for the clean-up: the project's secret key (sb_secret_...) or legacy "
        "service_role key",
        secret=True,
        direct="none",
        postgrest="cleanup",
    )
    # The clean-up knows its caller by the scheduler's token and gets no key to users' tokens.
    jwt_secret: str | None = _setting(
        None,
        "shared secret of HS256 tokens, at least 32 bytes; or use public keys",
        secret=True,
        to="users",
    )
    jwks_url: str | None = _setting(
        None,
        "address of the public keys of RS256 and ES256 tokens",
        otherwise="<ASYOUWERE_SUPABASE_URL>/auth/v1/.well-known/jwks.json",
    )
    jwt_issuer: str = _setting(
        "", "the exact 'iss' of the tokens", otherwise="<ASYOUWERE_SUPABASE_URL>/auth/v1"
    )
    jwt_audience: str = _setting("authenticated", "the 'aud' of the tokens")
    scheduler_audience: str | None = _setting(
        None,
        "only for the clean-up: the exact 'aud' of the scheduler's OIDC tokens, as a rule its own address",
        derived=True,
        to="cleanup",
    )
    scheduler_email: str | None = _setting(
        None,
        "only for the clean-up: the service account that the scheduler's tokens must be of",
        derived=True,
        to="cleanup",
    )
    scheduler_issuer: str = _setting(
        "https://accounts.google.com", "the exact 'iss' of the scheduler's tokens", to="cleanup"
    )
    scheduler_jwks_url: str = _setting(
        "https://www.googleapis.com/oauth2/v3/certs",
        "address of the public keys of the scheduler's tokens",
        to="cleanup",
    )
    scheduler_behind_iam: bool = _setting(
        False,
        "on or off: Cloud Run lets nobody in but the scheduler, checks its tokens and takes their signatures "
        "away; then those are taken without one",
        derived=True,
        to="cleanup",
    )
    allowed_origins: frozenset[str] = _setting(
        frozenset(),
        "browser origins whose pages may call, exact, separated by commas; on this machine alone the port may be "
        "any: http://localhost:*",
        to="users",
    )
    max_body_bytes: int = _setting(10 * MEBIBYTE, "largest request body, in bytes")
    max_import_bytes: int = _setting(100 * MEBIBYTE, "largest body of an import, in bytes")
    body_timeout_seconds: float = _setting(30.0, "time a client has to send its body")
    max_streams_per_user: int = _setting(
        20, "most event streams that one caller follows turns by, in one process", to="users"
    )
    max_streams: int = _setting(500, "most event streams of one process", to="users")
    pool_size: int = _setting(8, "most database connections of one process", postgrest="none")
    pool_timeout_seconds: float = _setting(5.0, "longest wait for a free connection before a 503")
    # above what a person's devices and tabs ask for together: small reads queue for the caller's connections
    reads_per_caller: int = _setting(
        16,
        "restores, comparisons and changes since a number that one caller may have under way in one process; more "
        "is refused at once with 429",
        to="users",
    )
    large_reads_per_caller: int = _setting(
        2,
        "those of them that are large: old snapshots, comparisons, states above 1 MB",
        to="users",
    )
    large_reads: int = _setting(4, "large ones of all callers in one process", to="users")
    statement_timeout_seconds: float = _setting(20.0, "longest run of one database call before a 504")
    cleanup_budget_seconds: float = _setting(
        50.0, "how long one clean-up request goes on", derived=True, to="cleanup"
    )
    request_log: bool = _setting(
        True,
        "on or off: one JSON line a request on standard output; every metric and alert reads it",
        derived=True,
    )
    telemetry: bool = _setting(
        False, "on or off: OpenTelemetry traces and metrics, for an SDK that is installed and configured"
    )
    telemetry_flush: bool = _setting(
        False,
        "on or off: hand them over before the answer to the last request under way, for platforms that take the "
        "processor away between requests; waits for the collector, at most a second",
        derived=True,
    )

    def __post_init__(self) -> None:
        if not self.database:
            object.__setattr__(self, "database", "direct" if self.database_url else "postgrest")
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
                values[variable.field] = _READERS.get(type(variable.default), str)(text)
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


#: Every setting by its environment variable.
VARIABLES: Final[dict[str, Variable]] = {
    _PREFIX + f.name.upper(): Variable(f.name, *f.metadata["facts"]) for f in fields(Settings)
}


def _origins(text: str) -> frozenset[str]:
    """Exact origins. Any port only where the host is this machine: what serves a page there is its owner's."""
    origins = frozenset(part.strip() for part in text.split(",") if part.strip())
    for origin in origins:
        host = origin.removesuffix(":*")
        if host != origin and host in _THIS_MACHINE:
            continue
        parts = urlsplit(origin)
        exact = f"{parts.scheme}://{parts.netloc}".lower()  # as browsers send it
        if origin != exact or parts.scheme not in ("http", "https") or set("*@") & set(origin):
            raise ValueError(origin)
    return origins


def _switch(text: str) -> bool:
    word = text.lower()
    if word not in ("on", "true", "1", "off", "false", "0"):
        raise ValueError(text)
    return word in ("on", "true", "1")


#: How a variable's text is read, by the type of the default; other settings are text themselves.
_READERS: Final[dict[type, Callable[[str], Any]]] = {
    int: int,
    float: float,
    bool: _switch,
    frozenset: _origins,
}


def _problems(settings: Settings) -> list[str]:
    found = []
    if settings.database not in ("direct", "postgrest"):
        found.append("ASYOUWERE_DATABASE must be direct or postgrest.")
    if settings.database == "direct" and not settings.database_url:
        found.append(f"ASYOUWERE_DATABASE_URL is missing: {VARIABLES['ASYOUWERE_DATABASE_URL'].meaning}.")
    elif settings.database == "direct":
        try:
            encrypted(settings.database_url, settings.database_ca)
        except NotEncrypted as exc:
            found.append(f"ASYOUWERE_DATABASE_URL: {exc}.")
    if settings.database == "postgrest" and not settings.postgrest_url:
        found.append(
            "Set ASYOUWERE_SUPABASE_URL or ASYOUWERE_POSTGREST_URL: PostgREST's address is missing. Or set "
            "ASYOUWERE_DATABASE_URL, to connect to Postgres itself."
        )
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
    if role_of_key(settings.publishable_key or "") == "service_role":
        found.append("ASYOUWERE_PUBLISHABLE_KEY is a secret key: take the publishable one (sb_publishable_...).")
    if role_of_key(settings.service_key or "") == "anon":
        found.append("ASYOUWERE_SERVICE_KEY is a publishable key: take the secret one (sb_secret_...).")
    if (settings.scheduler_audience is None) != (settings.scheduler_email is None):
        found.append("Set both ASYOUWERE_SCHEDULER_AUDIENCE and ASYOUWERE_SCHEDULER_EMAIL, or neither.")
    for name in ("ASYOUWERE_JWKS_URL", "ASYOUWERE_SCHEDULER_JWKS_URL", "ASYOUWERE_POSTGREST_URL"):
        address = getattr(settings, VARIABLES[name].field)
        if address and not encrypted_or_here(address):
            found.append(f"{name} must start with https:// (http:// only on this machine).")
    for name, variable in VARIABLES.items():
        value = getattr(settings, variable.field)
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 < value < 2**31:
            found.append(f"{name} must be above zero.")
    return found
