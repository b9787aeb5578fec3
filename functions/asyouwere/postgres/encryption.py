"""Lines out of the process: encrypted, or to this machine. Everything that opens one asks here first.

    psycopg.connect(encrypted("postgresql://postgres.ref:secret@db.example.org/postgres"))

libpq's own defaults are not enough. ``sslmode=prefer`` sends the password in clear to whoever answers that it has
no TLS; Kerberos encryption comes before TLS and does not heed sslmode; and a server whose certificate nobody
verified may ask for the password itself.
"""

from __future__ import annotations

import atexit
import functools
import ipaddress
import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

__all__ = ["NotEncrypted", "encrypted", "encrypted_or_here", "is_this_machine"]

_PEM: Final = "-----BEGIN CERTIFICATE-----"
_IN_CLEAR: Final = ("disable", "allow", "prefer")
_WANTED: Final = "sslmode=verify-full with sslrootcert, or at least sslmode=require"
#: What libpq takes from the environment where the connection string does not say it.
_ENVIRONMENT: Final = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "service": "PGSERVICE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "require_auth": "PGREQUIREAUTH",
}
#: The first libpq that can refuse a way to log in.
_REQUIRE_AUTH: Final = 160000


class NotEncrypted(ValueError):
    """A line that others could read, or a connection string that can't be read; says what to write, and no secret."""


def is_this_machine(host: str) -> bool:
    """Whether a host's name or address is the loopback. A name that only leads there does not count."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def encrypted_or_here(url: str) -> bool:
    """Whether an address is https://, or http:// on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_this_machine(parts.hostname or ""))


def encrypted(url: str, ca: str | None = None) -> str:
    """The connection string to use in place of this one: with TLS, unless Postgres is on this machine.

    ca: PEM text of the certificates that the server's must come from; in its place the string may have
    ``sslrootcert``, a file of them. With either, sslmode is verify-full unless it is written; without, require.
    Raises NotEncrypted.
    """
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    try:
        written = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.ProgrammingError:
        raise NotEncrypted("cannot be read: postgresql://user:password@host:port/database") from None
    if ca:
        if "sslrootcert" in written:
            raise NotEncrypted("sslrootcert and a certificate of its own setting are one too many")
        if not ca.lstrip().startswith(_PEM):
            raise NotEncrypted(f"the CA's certificate is no PEM text, which begins with {_PEM}")
        written["sslrootcert"] = _as_file(ca)
        written.setdefault("sslmode", "verify-full")
    found = {name: os.environ[variable] for name, variable in _ENVIRONMENT.items() if os.environ.get(variable)}
    found |= written
    if _is_local(found):
        return make_conninfo("", **written) if ca else url
    mode = found.get("sslmode")
    if mode is None and "service" in found:
        raise NotEncrypted(f"a service's sslmode is not looked at: write {_WANTED}")
    if mode in _IN_CLEAR:
        raise NotEncrypted(f"sslmode={mode} lets the password be read on its way: {_WANTED}")
    written["sslmode"] = mode or ("verify-full" if "sslrootcert" in found else "require")
    written["gssencmode"] = "disable"
    verified = written["sslmode"].startswith("verify-")
    if not verified and "require_auth" not in found and psycopg.pq.version() >= _REQUIRE_AUTH:
        # Nobody knows who answers: a proof of the password, but not the password. (Not the same as
        # channel_binding=require, which no pooler can give.)
        written["require_auth"] = "!password"
    return make_conninfo("", **written)


def _is_local(found: dict[str, str]) -> bool:
    """Whether every server that libpq would try is a socket or the loopback; a service's are not known."""
    if "service" in found:
        return False
    hosts, addresses = (found.get(name, "").split(",") for name in ("host", "hostaddr"))
    count = max(len(hosts), len(addresses))
    pairs = zip(hosts + [""] * (count - len(hosts)), addresses + [""] * (count - len(addresses)), strict=True)
    places = [(address or host).strip() for host, address in pairs]
    return all(not place or place.startswith(("/", "@")) or is_this_machine(place) for place in places)


@functools.cache
def _as_file(pem: str) -> str:
    """libpq takes certificates from a file only; this one is gone with the process.

    In memory where the file system is one that nobody can write to, as a container's may be."""
    import tempfile

    try:
        handle, name = tempfile.mkstemp(prefix="asyouwere-ca-", suffix=".crt")
    except OSError:
        if not hasattr(os, "memfd_create"):
            raise
        handle = os.memfd_create("asyouwere-ca")
        with os.fdopen(os.dup(handle), "w", encoding="utf-8") as file:
            file.write(pem)
        return f"/proc/self/fd/{handle}"  # open for as long as the process is there
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(pem)
    atexit.register(functools.partial(Path(name).unlink, missing_ok=True))
    return name
