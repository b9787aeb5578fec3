"""Why a database or an address could not be reached, in words of ours.

The errors' own texts are read and never shown: they may repeat the connection string with its password.
"""

from __future__ import annotations

import asyncio
import os
import re
from typing import Any, Final

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
_IPV6: Final = "on Supabase db.….supabase.co has IPv6 only, unless you pay for more: take the pooler's (Connect)"

_UNREACHABLE: Final = "network is unreachable|no route to host|cannot assign requested address|address family"

#: What libpq, the server or a pooler before it says, what it means, what to do; the first that fits. With
#: sslmode=prefer the text has two attempts, with TLS and without, so what was said of the person comes before what
#: was said of the line; and a name with two addresses is tried at both, so no way to one comes after what the other
#: said.
_DATABASE: Final = (
    (
        "too many authentication failures",
        "the pooler lets nobody in for a while, after too many wrong passwords",
        "put the password right, there and in the functions, and try again in some minutes",
    ),
    ("password authentication failed|wrong password", "wrong password, or no such user", "check user and password"),
    ("no password supplied", "no password: the server asks for one", "put it into the connection string"),
    ('role ".*" (does not exist|is not permitted)', "no such user, or it may not log in", "check the user"),
    ('database ".*" does not exist', "there is no such database", "check the name after the last /"),
    (
        "tenant.*not found",
        "the pooler knows no such project, or no such user of it",
        "on Supabase: the user is NAME.<project's reference>, the pooler's host is the project's own (Connect "
        "in the dashboard), and the project is not paused",
    ),
    (
        "too many|connection slots|max ?client|max pools|max_client_conn|max_.*_connections",
        "the server or its pooler has no connection left",
        "end some, or let there be fewer: functions' instances x ASYOUWERE_POOL_SIZE; take a pooler in transaction "
        "mode (on Supabase port 6543)",
    ),
    (
        "check out process|query_wait_timeout|pooler_.*timeout",
        "the pooler had no connection to the database free in time",
        "see what holds them (pg_stat_activity), or let the pooler have more",
    ),
    ("starting up", "the server is starting", "try again in a moment"),
    ("shutting down", "the server is shutting down", "start it again"),
    ("allow_list", "the server does not let anybody in from here", "see the provider's list of networks"),
    ("connection refused", "connection refused: nothing listens there", "check host and port; is the server up?"),
    ("timeout", NO_ANSWER_IN_TIME, "check host and port; a firewall may be in between"),
    (_UNREACHABLE, "no way leads there from this network", f"check the host; {_IPV6}"),
    ("resolve host|translate host", _NOBODY, f"check the host; {_IPV6}, and of a paused project there is none"),
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
    ("name or service|nodename|getaddrinfo|address associated", _NOBODY),
    (_UNREACHABLE, "no way leads there from this network"),
    ("certificate", "its certificate can't be verified"),
    ("ssl", "it does not speak TLS; http:// instead of https://?"),
)
#: No answer that the doctor asks for is that large: what is at the address is something else.
_MOST_BYTES: Final = 16 << 20


def ask(method: str, url: str, **options: Any) -> httpx.Response | str:
    """The response, or why there is none. Never through a proxy to this machine, never in clear to another.

    All of it is there within CONNECT_SECONDS, however slowly it is sent."""
    try:
        parts = httpx.URL(url)
        if parts.scheme == "http" and not is_this_machine(parts.host):
            return "not asked: http:// can be read and changed on its way; https:// it must be"
        return asyncio.run(_answer(method, parts, options))
    except TimeoutError:
        return NO_ANSWER_IN_TIME
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        return "that is no http address"
    except httpx.HTTPError as exc:
        said = _said(exc).lower()
        return next((why for piece, why in _WEB if re.search(piece, said)), "no answer")


def _said(error: BaseException | None) -> str:
    """What an error and those that led to it say."""
    texts = []
    while error is not None:
        several = getattr(error, "exceptions", ())  # one for each address of the host
        for each in (error, *several):
            texts.append(str(each))
            if isinstance(each, OSError) and each.errno is not None and each.errno > 0:
                texts.append(os.strerror(each.errno))
        error = error.__cause__ or error.__context__
    return " ".join(texts)


async def _answer(method: str, url: httpx.URL, options: dict[str, Any]) -> httpx.Response | str:
    async with (
        asyncio.timeout(CONNECT_SECONDS),
        httpx.AsyncClient(timeout=None, trust_env=not is_this_machine(url.host)) as client,
        client.stream(method, url, **options) as response,
    ):
        body = bytearray()
        async for piece in response.aiter_bytes(1 << 16):
            body += piece
            if len(body) > _MOST_BYTES:
                return "its answer has no end"
        return httpx.Response(response.status_code, content=bytes(body))
