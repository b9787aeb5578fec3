"""Why a database or an address could not be reached, in words of ours.

The errors' own texts are read and never shown: they may repeat the connection string with its password.
"""

from __future__ import annotations

import re
from typing import Final

import httpx
import psycopg

from asyouwere.local.doctor.finding import Finding
from asyouwere.postgres.encryption import NotEncrypted, is_this_machine

__all__ = ["CONNECT_SECONDS", "NO_ANSWER_IN_TIME", "ask", "connection_failure"]

CONNECT_SECONDS: Final = 10
NO_ANSWER_IN_TIME: Final = f"no answer within {CONNECT_SECONDS} s"

_TLS_MISSING: Final = "wrong sslmode: the server wants TLS"
_TLS_ADVICE: Final = "sslmode=verify-full with sslrootcert, or sslmode=require, in the connection string"
_NOBODY: Final = "there is no host of that name"

#: What libpq or the server says, what it means, what to do; the first that fits. With sslmode=prefer the text has
#: two attempts, with TLS and without, so what was said of the person comes before what was said of the line.
_DATABASE: Final = (
    ("password authentication failed", "wrong password, or no such user", "check user and password"),
    ("no password supplied", "no password: the server asks for one", "put it into the connection string"),
    ('role ".*" (does not exist|is not permitted)', "no such user, or it may not log in", "check the user"),
    ('database ".*" does not exist', "there is no such database", "check the name after the last /"),
    ("tenant or user not found", "the pooler knows no such user", "on Supabase: postgres.<project's reference>"),
    ("too many|connection slots", "the server has no connection left", "end some, or go through the pooler"),
    ("starting up", "the server is starting", "try again in a moment"),
    ("shutting down", "the server is shutting down", "start it again"),
    ("connection refused", "connection refused: nothing listens there", "check host and port; is the server up?"),
    ("timeout", NO_ANSWER_IN_TIME, "check host and port; a firewall may be in between"),
    ("resolve host|translate host", _NOBODY, "check the host"),
    (
        "authentication method requirement",
        "the server asks for the password itself, and nobody knows who it is",
        "sslmode=verify-full with the CA's certificate; then it may",
    ),
    ("weak sslmode", "sslmode is too weak for this sslrootcert", "sslmode=verify-full"),
    ("invalid sslmode", "sslmode is none that there is", "sslmode=require, or verify-full with sslrootcert"),
    (
        "does not support ssl",
        "wrong sslmode: the connection string wants TLS, and the server has none",
        "take sslmode out for a server on this machine; elsewhere turn TLS on in the server, or somebody in between "
        "answers for it",
    ),
    (
        "certificate",
        "the server's certificate can't be verified as sslmode wants it",
        "sslrootcert=… with the provider's certificate, and the host's name as it is in it",
    ),
    (
        "pg_hba.conf .*ssl encryption",
        "the server does not let this user in from here",
        "see pg_hba.conf, or the provider's list of networks",
    ),
    ("no encryption|ssl connection is required|ssl/tls required", _TLS_MISSING, _TLS_ADVICE),
    ("pg_hba.conf", "the server does not let this user in from here", "see pg_hba.conf"),
)


def connection_failure(error: psycopg.Error | NotEncrypted) -> Finding:
    """The finding for a database that could not be connected to."""
    if isinstance(error, NotEncrypted):
        message, _, advice = str(error).partition(": ")
        return Finding("connection", "fail", f"the connection string {message}", advice)
    said = str(error).lower()
    for piece, message, advice in _DATABASE:
        if re.search(piece, said):
            return Finding("connection", "fail", message, advice)
    return Finding("connection", "fail", "no connection", "check host, port, user and password")


#: The same for HTTP.
_WEB: Final = (
    ("refused", "connection refused"),
    ("name or service|nodename|getaddrinfo", _NOBODY),
    ("certificate", "its certificate can't be verified"),
    ("ssl", "it does not speak TLS; http:// instead of https://?"),
)


def ask(method: str, url: str, **options: object) -> httpx.Response | str:
    """The response, or why there is none. Never through a proxy to this machine, never in clear to another."""
    try:
        parts = httpx.URL(url)
        if parts.scheme == "http" and not is_this_machine(parts.host):
            return "not asked: http:// can be read and changed on its way; https:// it must be"
        with httpx.Client(timeout=CONNECT_SECONDS, trust_env=not is_this_machine(parts.host)) as client:
            return client.request(method, url, **options)  # type: ignore[arg-type]
    except httpx.TimeoutException:
        return NO_ANSWER_IN_TIME
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        return "that is no http address"
    except httpx.HTTPError as exc:
        said = str(exc).lower()
        return next((why for piece, why in _WEB if re.search(piece, said)), "no answer")
