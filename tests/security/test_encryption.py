"""Every line that leaves the process: nobody in between reads the password, whatever they answer."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict

from asyouwere.errors import Unavailable
from asyouwere.local.cli import asyouwere
from asyouwere.local.doctor import Finding, examine
from asyouwere.local.doctor.connecting import ask
from asyouwere.local.doctor.encryption import check_telemetry
from asyouwere.local.migrations import migrate
from asyouwere.local.psql import psql_environment
from asyouwere.postgres.encryption import NotEncrypted, encrypted, encrypted_or_here, is_this_machine
from asyouwere.service.database import open_database
from asyouwere.service.settings import VARIABLES, Settings, SettingsError
from tests.support.cluster import Cluster
from tests.support.wiretap import ELSEWHERE, Wiretap, make_certificate, tls_before, wiretap

PASSWORD = "planted-on-the-wire"
IN_CLEAR = ("disable", "allow", "prefer")
KEYS = {"ASYOUWERE_JWT_SECRET": "s" * 32, "ASYOUWERE_JWT_ISSUER": "https://issuer.example"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGSSLMODE", "PGSSLROOTCERT", "PGHOST", "PGHOSTADDR", "PGSERVICE", "PGREQUIREAUTH", "PGGSSENCMODE"):
        monkeypatch.delenv(name, raising=False)


# -- somebody in between ---------------------------------------------------------------------------------------------


def through_the_functions(dsn: str) -> None:
    async def check() -> None:
        database = open_database(Settings.from_environment({**KEYS, "ASYOUWERE_DATABASE_URL": dsn}))
        try:
            await database.check()
        finally:
            await database.close()

    asyncio.run(check())


def through_migrate(dsn: str) -> None:
    migrate(dsn)


def through_the_doctor(dsn: str) -> None:
    finding = next(iter(examine(dsn, {})))
    assert (finding.check, finding.level) == ("connection", "fail")
    raise psycopg.OperationalError(finding.message)


LINES = (through_the_functions, through_migrate, through_the_doctor)
REFUSED = (NotEncrypted, SettingsError, Unavailable, psycopg.OperationalError)


def test_wiretap__hears_the_password_of_who_trusts_libpqs_defaults() -> None:
    with wiretap() as tap, pytest.raises(psycopg.OperationalError):
        psycopg.connect(tap.dsn(PASSWORD))
    assert PASSWORD.encode() in tap.heard


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("mode", [None, *IN_CLEAR, "require", "verify-ca", "verify-full"])
def test_postgres__a_server_that_says_it_has_no_tls__hears_nothing(
    line: type, mode: str | None, tmp_path: Path
) -> None:
    ca = str(make_certificate(tmp_path, "some-ca"))
    options = {} if mode is None else {"sslmode": mode}
    if mode and mode.startswith("verify"):
        options["sslrootcert"] = ca
    with wiretap() as tap, pytest.raises(REFUSED) as refusal:
        line(tap.dsn(PASSWORD, **options))
    assert tap.heard == b""
    assert PASSWORD not in str(refusal.value)
    assert tap.asked == ([] if mode in IN_CLEAR else tap.asked)


@pytest.mark.parametrize("line", LINES)
def test_postgres__a_server_that_nobody_verified_and_that_asks_for_the_password__does_not_get_it(
    line: type, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path, "anybody")
    with wiretap(certificate) as tap, pytest.raises(REFUSED):
        line(tap.dsn(PASSWORD))
    assert tap.asked.count("ssl") == len(tap.asked) > 0
    assert b"person" in tap.heard, "it was encrypted, to somebody"
    assert PASSWORD.encode() not in tap.heard


@pytest.mark.parametrize("line", LINES)
def test_postgres__a_server_of_another_ca_or_name__hears_nothing(line: type, tmp_path: Path) -> None:
    certificate, ca = make_certificate(tmp_path, "anybody"), make_certificate(tmp_path, "ours")
    with wiretap(certificate) as tap, pytest.raises(REFUSED):
        line(tap.dsn(PASSWORD, sslmode="verify-full", sslrootcert=str(ca)))
    elsewhere = make_certificate(tmp_path, "another-name", "db.example.org")
    with wiretap(elsewhere) as other, pytest.raises(REFUSED):
        line(other.dsn(PASSWORD, sslrootcert=str(elsewhere)))  # verify-full, as there is a CA
    assert tap.heard == other.heard == b""


def test_command_migrate__says_what_to_write() -> None:
    with wiretap() as tap:
        done = CliRunner().invoke(asyouwere, ["migrate", "--database-url", tap.dsn(PASSWORD, sslmode="prefer")])
    assert done.exit_code != 0
    assert "sslmode=prefer lets the password be read" in str(done.exception) + done.output
    assert (tap.heard, tap.asked) == (b"", [])


# -- a server with TLS -----------------------------------------------------------------------------------------------


@pytest.fixture
def with_tls(cluster: Cluster, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The connection string of a server elsewhere that has TLS, and its certificate."""
    certificate = make_certificate(tmp_path, "server")
    own = conninfo_to_dict(cluster.dsn)
    with tls_before(int(own["port"] or 0), certificate) as port:
        yield (
            f"postgresql://{own['user']}:{own['password']}@{ELSEWHERE}:{port}/postgres?application_name=x",
            certificate,
        )


def encryption(dsn: str, **environ: str) -> Finding:
    found = {finding.check: finding for finding in examine(dsn, environ)}
    return found["encryption"]


def test_postgres__with_tls__is_reached_and_the_doctor_says_what_holds(with_tls: tuple[str, Path]) -> None:
    dsn, certificate = with_tls
    unverified = encryption(dsn)
    assert (unverified.level, "nobody verifies" in unverified.message) == ("warn", True)
    ca_alone = encryption(f"{dsn}&sslmode=verify-ca&sslrootcert={certificate}")
    assert (ca_alone.level, "any server" in ca_alone.message) == ("warn", True)
    for finding in (
        encryption(f"{dsn}&sslrootcert={certificate}"),
        encryption(dsn, ASYOUWERE_DATABASE_CA=certificate.read_text()),
    ):
        assert (finding.level, "verify-full" in finding.message) == ("ok", True), finding
    through_the_functions(f"{dsn}&sslmode=verify-full&sslrootcert={certificate}")


def test_ca__without_a_folder_to_write_to(with_tls: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    dsn, certificate = with_tls
    monkeypatch.setattr(tempfile, "mkstemp", mock.Mock(side_effect=FileNotFoundError("no usable temporary directory")))
    ca = certificate.read_text() + "\n"  # another text than before: each is written once
    with psycopg.connect(encrypted(dsn, ca)) as connection:
        assert connection.pgconn.ssl_in_use
    with psycopg.connect(encrypted(dsn, ca)):  # it is read from its beginning each time
        pass
    with psycopg.connect(encrypted(dsn)) as connection:
        assert connection.pgconn.ssl_in_use


def test_postgres__on_this_machine__needs_no_tls(cluster: Cluster) -> None:
    assert encrypted(cluster.dsn) == cluster.dsn
    assert encryption(f"{cluster.dsn}?sslmode=disable") == Finding(
        "encryption", "ok", "none: the connection stays on this machine"
    )


# -- which strings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", IN_CLEAR)
@pytest.mark.parametrize(
    "where",
    ["postgresql://u:p@db.example.org/d?sslmode={}", "host=10.0.0.1 sslmode={}", "host=localhost hostaddr=10.0.0.1 sslmode={}",
     "postgresql://localhost,db.example.org/d?sslmode={}", "postgresql:///d?host=db.example.org&sslmode={}",
     "host=/tmp,10.0.0.1 sslmode={}", "service=there sslmode={}", "host=localhost.example.org sslmode={}",
     "host=127.0.0.1.example.org sslmode={}", "host=localhost service=there sslmode={}", "host=0.0.0.0 sslmode={}"],
)  # fmt: skip
def test_encrypted__elsewhere_in_clear__is_refused(where: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotEncrypted, match=f"sslmode={mode} lets the password"):
        encrypted(where.format(mode))
    monkeypatch.setenv("PGSSLMODE", mode)
    with pytest.raises(NotEncrypted, match=f"sslmode={mode} lets the password"):
        encrypted(where.replace("?sslmode={}", "").replace("&sslmode={}", "").replace(" sslmode={}", ""))


@pytest.mark.parametrize(
    "where",
    ["", "dbname=d", "postgresql:///d", "host=/tmp", "host=@abstract", "host=localhost", "host=127.0.0.1", "host=127.3.4.5",
     "postgresql://[::1]/d", "host=localhost,/tmp", "host=db.example.org hostaddr=127.0.0.1", "postgresql://LOCALHOST/d"],
)  # fmt: skip
def test_encrypted__this_machine__stays_as_it_is(where: str) -> None:
    assert encrypted(where) == where


def test_encrypted__libpqs_details_are_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = encrypted("postgresql://u@db.example.org/d")
    for piece in ("sslmode=require", "gssencmode=disable", "require_auth=!password"):
        assert piece in bare
    own = encrypted(
        "postgresql://u@db.example.org/d?require_auth=scram-sha-256&channel_binding=require&gssencmode=prefer"
    )
    assert "require_auth=scram-sha-256" in own
    assert "channel_binding=require" in own
    assert "gssencmode=disable" in own
    verified = encrypted("postgresql://u@db.example.org/d?sslrootcert=/ca.crt")
    assert "sslmode=verify-full" in verified
    assert "require_auth" not in verified
    monkeypatch.setenv("PGHOST", "db.example.org")
    assert "sslmode=require" in encrypted("dbname=d")
    monkeypatch.setenv("PGSERVICE", "there")
    with pytest.raises(NotEncrypted, match="a service's sslmode"):
        encrypted("dbname=d")
    assert "sslmode=verify-full" in encrypted("dbname=d sslmode=verify-full")


def test_encrypted__a_ca_of_its_own_setting(tmp_path: Path) -> None:
    pem = make_certificate(tmp_path, "ca").read_text()
    made = encrypted("postgresql://u@db.example.org/d", pem)
    assert "sslmode=verify-full" in made
    with pytest.raises(NotEncrypted, match="one too many"):
        encrypted("postgresql://u@db.example.org/d?sslrootcert=/ca.crt", pem)
    with pytest.raises(NotEncrypted, match="no PEM"):
        encrypted("postgresql://u@db.example.org/d", "/ca.crt")


def test_psql__carries_the_same_rule() -> None:
    def made(url: str) -> dict[str, str]:
        return psql_environment({"PGSSLMODE": "disable"}, url, PASSWORD, "ada", "authenticated")

    away = made("postgresql://x:y@db.example.org:5432/d")
    assert (away["PGSSLMODE"], away["PGGSSENCMODE"], away["PGREQUIREAUTH"]) == ("require", "disable", "!password")
    assert "PGSSLMODE" not in made("postgresql://x:y@127.0.0.1:5432/d")
    with pytest.raises(NotEncrypted):
        made("postgresql://x:y@db.example.org:5432/d?sslmode=allow")


# -- HTTP ------------------------------------------------------------------------------------------------------------

#: Every setting that is an address of HTTP; a new one has to be refused in clear as well.
ADDRESSES = sorted(
    name
    for name in VARIABLES
    if name.endswith("_URL") and name not in ("ASYOUWERE_DATABASE_URL", "ASYOUWERE_SUPABASE_URL")
)


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize(
    "address",
    ["http://project.example/x", "http://localhost.project.example/x", "http://127.1/x", "http://10.0.0.1/x", "HTTP://project.example/x",
     "ftp://127.0.0.1/x", "project.example/x", "http://localhost@project.example/x"],
)  # fmt: skip
def test_addresses__in_clear_to_another_machine__are_refused_by_name(name: str, address: str) -> None:
    environment = {**KEYS, "ASYOUWERE_DATABASE": "postgrest", "ASYOUWERE_POSTGREST_URL": "https://project.example"}
    with pytest.raises(SettingsError, match=f"{name} must start with https://"):
        Settings.from_environment({**environment, name: address})
    for allowed in ("https://project.example/x", "http://127.0.0.1:9/x", "http://localhost:9/x", "http://[::1]:9/x"):
        Settings.from_environment({**environment, name: allowed})


def test_addresses__that_follow_from_a_project_in_clear__are_refused_too() -> None:
    environment = {"ASYOUWERE_DATABASE": "postgrest", "ASYOUWERE_SUPABASE_URL": "http://project.example"}
    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment(environment)
    for name in ("ASYOUWERE_JWKS_URL", "ASYOUWERE_POSTGREST_URL"):
        assert f"{name} must start with https://" in str(refusal.value)
    assert ADDRESSES == ["ASYOUWERE_JWKS_URL", "ASYOUWERE_POSTGREST_URL", "ASYOUWERE_SCHEDULER_JWKS_URL"]


def test_doctor__asks_nobody_elsewhere_in_clear() -> None:
    with wiretap() as tap:
        answer = ask("GET", f"http://{ELSEWHERE}:{tap.port}/", headers={"apikey": PASSWORD})
    assert isinstance(answer, str)
    assert answer.startswith("not asked")
    assert tap.heard == b""


def test_doctor__telemetry_in_clear_to_another_machine() -> None:
    def levels(**environ: str) -> list[str]:
        return [finding.level for finding in check_telemetry(environ)]

    assert levels() == []
    assert levels(OTEL_EXPORTER_OTLP_ENDPOINT="https://collector.example") == ["ok"]
    assert levels(OTEL_EXPORTER_OTLP_ENDPOINT="http://localhost:4317") == ["ok"]
    for name in (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    ):
        assert levels(**{name: "http://collector.example:4318"}) == ["warn"]


def test_this_machine__is_the_loopback_alone() -> None:
    assert all(map(is_this_machine, ("localhost", "127.0.0.1", "127.255.0.1", "::1")))
    assert not any(
        map(is_this_machine, ("", "0.0.0.0", "::", "localhost.", "10.0.0.1", "127.1", "2130706433", "x.localhost"))
    )
    assert not encrypted_or_here("http:")


def test_wiretap__is_what_it_says() -> None:
    assert Wiretap(port=1).dsn("x") == f"postgresql://person:x@{ELSEWHERE}:1/there?connect_timeout=5"
