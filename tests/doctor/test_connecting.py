"""asyouwere doctor where there is no connection: it says which of the many reasons it is, and no secret."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import psycopg
import pytest

from asyouwere.local.doctor import Finding, examine
from asyouwere.local.doctor.connecting import connection_failure
from asyouwere.local.postgres import EmbeddedPostgres
from tests.support.cluster import Cluster, new_folder, wanted_binaries

PASSWORD = "planted-pass-word"


def first(dsn: str) -> Finding:
    found = list(examine(dsn, {}))
    assert (found[0].check, found[0].level) == ("connection", "fail")
    assert found[0].advice
    assert {finding.level for finding in found[1:]} == {"skip"}  # nothing else was looked at
    assert PASSWORD not in "".join(map(str, found))
    return found[0]


def test_connection__refused() -> None:
    assert first(f"postgresql://u:{PASSWORD}@127.0.0.1:1/x").message == "connection refused: nothing listens there"


def test_connection__wrong_password_and_no_such_user(cluster: Cluster) -> None:
    for user in ("postgres", "nobody_of_that_name"):
        assert first(cluster.dsn_for("postgres", user, PASSWORD)).message == "wrong password, or no such user"


def test_connection__no_such_database(cluster: Cluster) -> None:
    assert first(cluster.dsn_for("no_such_database")).message == "there is no such database"


def test_connection__no_password(cluster: Cluster) -> None:
    dsn = cluster.dsn_for("postgres", "postgres", "")
    assert first(dsn).message == "no password: the server asks for one"


def test_connection__wants_tls_where_there_is_none(cluster: Cluster) -> None:
    message = "wrong sslmode: the connection string wants TLS, and the server has none"
    assert first(f"{cluster.dsn}?sslmode=require").message == message
    assert "sslrootcert" in first(f"{cluster.dsn}?sslmode=verify-ca&sslrootcert=system").message


def test_connection__sslmode_that_is_none(cluster: Cluster) -> None:
    assert first(f"{cluster.dsn}?sslmode=perhaps").message == "sslmode is none that there is"


@pytest.fixture(scope="module")
def tls_only() -> Iterator[EmbeddedPostgres]:
    """A server that lets people in with TLS only, as hosted ones can be set."""
    with EmbeddedPostgres(new_folder(), binaries=wanted_binaries(), durable=False) as server:
        rules = server.data / "pg_hba.conf"
        lines = rules.read_text().splitlines()
        rules.write_text("".join(line.replace("host ", "hostssl ", 1) + "\n" for line in lines if line.startswith("host ")))
        admin = psycopg.connect(server.dsn, autocommit=True)
        admin.execute("select pg_reload_conf(), pg_sleep(0.3)")
        yield server
        admin.close()


def test_connection__without_tls_where_it_must_be(tls_only: EmbeddedPostgres) -> None:
    finding = first(tls_only.dsn + "?sslmode=disable")
    assert finding.message == "wrong sslmode: the server wants TLS"
    assert "sslmode=require" in finding.advice


def test_connection__no_such_host() -> None:
    assert first(f"postgresql://u:{PASSWORD}@no.such.host.invalid/x").message == "there is no host of that name"


def test_connection__something_else_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        other.settimeout(0.1)
        dsn = f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/x?connect_timeout=1"
        assert first(dsn).message.startswith("no answer within")


@pytest.mark.parametrize("dsn", [f"postgres:/{PASSWORD}", f"{PASSWORD}", f"postgresql://u:{PASSWORD}@h:1/x?nonsense=1"])
def test_connection__string_that_is_none(dsn: str) -> None:
    assert first(dsn).message == "the connection string cannot be read"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        # with sslmode=prefer both attempts are told
        ('FATAL: password authentication failed for user "u" connection to server failed: FATAL: no pg_hba.conf entry for host "1.2.3.4", user "u", database "d", no encryption', "wrong password, or no such user"),
        ('FATAL: no pg_hba.conf entry for host "1.2.3.4", user "u", database "d", SSL encryption FATAL: no pg_hba.conf entry for host "1.2.3.4", user "u", database "d", no encryption', "the server does not let this user in from here"),
        ("FATAL: Tenant or user not found", "the pooler knows no such user"),
        ("FATAL: sorry, too many clients already", "the server has no connection left"),
        ("FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute", "the server has no connection left"),
        ("FATAL: the database system is starting up", "the server is starting"),
        ('server certificate for "a" does not match host name "b"', "the server's certificate can't be verified as sslmode wants it"),
        ('FATAL: role "u" is not permitted to log in', "no such user, or it may not log in"),
        (f"something new {PASSWORD}", "no connection"),
    ],
)  # fmt: skip
def test_connection_failure__what_servers_elsewhere_say(said: str, message: str) -> None:
    finding = connection_failure(psycopg.OperationalError(said))
    assert finding.message == message
    assert PASSWORD not in str(finding)
