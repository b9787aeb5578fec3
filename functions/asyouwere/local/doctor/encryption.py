"""Which lines out of the process others could read, and whether it is known who is at their end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import psycopg

from asyouwere.local.doctor.finding import Finding
from asyouwere.postgres.encryption import encrypted_or_here

__all__ = ["check_encryption", "check_telemetry"]

_VERIFY = (
    "sslmode=verify-full with sslrootcert=…, or ASYOUWERE_DATABASE_CA; Supabase's certificate is under "
    "Database → Settings → SSL Configuration"
)
_ENDPOINTS = ("", "_TRACES", "_METRICS", "_LOGS")


def check_encryption(connection: psycopg.Connection[Any]) -> Finding:
    """What holds of this connection; that it is not in clear to another machine was seen to before it was made."""
    if not connection.pgconn.ssl_in_use:
        return Finding("encryption", "ok", "none: the connection stays on this machine")
    options = {option.keyword: option.val or b"" for option in connection.pgconn.info}
    mode, ca = options[b"sslmode"].decode(), options[b"sslrootcert"]
    if mode == "verify-full":
        return Finding("encryption", "ok", "TLS, and the server is the one asked for (sslmode=verify-full)")
    if mode == "verify-ca" or (mode == "require" and ca):
        return Finding(
            "encryption", "warn", "TLS, but any server with a certificate of this CA could answer", _VERIFY
        )
    return Finding("encryption", "warn", f"TLS, but nobody verifies who answers (sslmode={mode})", _VERIFY)


def check_telemetry(environ: Mapping[str, str]) -> Iterator[Finding]:
    """OpenTelemetry's exporters have settings of their own; figures and an API key may go there in clear."""
    names = [f"OTEL_EXPORTER_OTLP{signal}_ENDPOINT" for signal in _ENDPOINTS]
    given = [name for name in names if environ.get(name)]
    insecure = [name for name in given if not encrypted_or_here(environ[name].strip())]
    if insecure:
        yield Finding(
            "telemetry",
            "warn",
            f"{', '.join(insecure)} is not https://: figures, and OTEL_EXPORTER_OTLP_HEADERS, go out in clear",
            "https://, or a collector on this machine",
        )
    elif given:
        yield Finding("telemetry", "ok", "the exporter's address is https:// or on this machine")
