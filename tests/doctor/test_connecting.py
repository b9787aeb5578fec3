"""asyouwere doctor where there is no connection: it says which of the many reasons it is, and no secret."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from unittest import mock

import psycopg
import pytest

from asyouwere.local.doctor import Finding, examine
from asyouwere.local.doctor.connecting import NO_ANSWER_IN_TIME, ask, connection_failure
from asyouwere.local.postgres import EmbeddedPostgres
from tests.functions.pooler import pooler
from tests.support.cluster import Cluster, new_folder, wanted_binaries

PASSWORD = "planted-pass-word"
NONE_LEFT = "the server or its pooler has no connection left"
NO_PROJECT = "the pooler knows no such project, or no such user of it"
NO_WAY = "no way leads there from this network"


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
        # Supabase's pooler; a project of another region, or one that is paused, it does not know either
        ("FATAL: Tenant or user not found", NO_PROJECT),
        ("FATAL:  (ENOTFOUND) tenant/user postgres.abc not found", NO_PROJECT),
        ("connection failed: error received from server in SCRAM exchange: Wrong password", "wrong password, or no such user"),
        ("FATAL:  (ECIRCUITBREAKER) too many authentication failures, new connections are temporarily blocked", "the pooler lets nobody in for a while, after too many wrong passwords"),
        ("FATAL: Max client connections reached", NONE_LEFT),
        ("FATAL: MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to pool_size", NONE_LEFT),
        ("FATAL: Max pools count reached", NONE_LEFT),
        ("FATAL: Unable to check out process from the pool due to timeout", "the pooler had no connection to the database free in time"),
        ("FATAL: Address not in tenant allow_list: {1, 2, 3, 4}", "the server does not let anybody in from here"),
        ("FATAL: SSL connection is required", "wrong sslmode: the server wants TLS"),
        # PgBouncer
        ("FATAL: no more connections allowed (max_client_conn)", NONE_LEFT),
        ("FATAL: query_wait_timeout", "the pooler had no connection to the database free in time"),
        ("FATAL: sorry, too many clients already", NONE_LEFT),
        ("FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute", NONE_LEFT),
        # a network without IPv6: the address has none other, or a resolver that leaves it out
        ('connection to server at "2a05:d014::1", port 5432 failed: Network is unreachable', NO_WAY),
        ("failed to resolve host 'db.abc.supabase.co': [Errno -5] No address associated with hostname", "there is no host of that name"),
        ('connection to server at "::1", port 1 failed: Cannot assign requested address connection to server at "127.0.0.1", port 1 failed: Connection refused', "connection refused: nothing listens there"),
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


def test_connection__a_pooler_that_takes_no_more_clients(cluster: Cluster) -> None:
    with pooler(cluster.dsn_for("postgres"), server_connections=1, clients=2) as dsn, contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(psycopg.connect(dsn, autocommit=True, prepare_threshold=None))
        finding = first(dsn)
    assert finding.message == NONE_LEFT
    assert "ASYOUWERE_POOL_SIZE" in finding.advice


def test_connection__a_pooler_whose_connections_are_all_in_use_is_not_waited_for(cluster: Cluster) -> None:
    with pooler(cluster.dsn_for("postgres"), server_connections=1) as dsn:
        busy = psycopg.connect(dsn, prepare_threshold=None)
        busy.execute("select 1")  # in a transaction, so the pooler's one connection is held
        with mock.patch("asyouwere.local.doctor.CHECK_SECONDS", 0.5), busy:
            found = list(examine(dsn, {}))
    lost = [finding for finding in found if finding.check == "database"]
    assert [finding.level for finding in lost] == ["fail"]
    assert "pooler" in lost[0].advice
    assert not [finding for finding in found if "SQLSTATE" in finding.message]


# -- over HTTP -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def sending(piece: bytes, *, begin: bytes = b"", pause: float = 0.02) -> Iterator[str]:
    """A server whose answer begins so and has no end: the same piece again and again."""
    stopped = threading.Event()

    def serve(server: socket.socket) -> None:
        with contextlib.suppress(OSError), server.accept()[0] as peer:
            peer.recv(4096)
            peer.sendall(begin)
            while not stopped.wait(pause):
                peer.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        stopped.set()
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join(20)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(("begin", "piece"), [(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"), (HEAD + b"\r\n", b" ")])
def test_ask__an_answer_that_comes_letter_by_letter_is_not_waited_for(begin: bytes, piece: bytes) -> None:
    with mock.patch("asyouwere.local.doctor.connecting.CONNECT_SECONDS", 0.5), sending(piece, begin=begin) as url:
        assert ask("GET", url) == NO_ANSWER_IN_TIME


def test_ask__an_answer_without_an_end() -> None:
    with sending(b" " * (1 << 20), begin=HEAD + b"\r\n", pause=0) as url:
        assert ask("GET", url) == "its answer has no end"


def test_ask__nobody_there_is_told_from_no_such_host() -> None:
    assert ask("GET", "http://127.0.0.1:1/") == "connection refused"
    assert ask("GET", "https://no.such.host.invalid/") == "there is no host of that name"
    assert ask("GET", "http://192.0.2.1/").startswith("not asked")  # type: ignore[union-attr]
