"""A Postgres and a functions server of a run's own: real processes, which may be killed and started again."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar

import psycopg

from asyouwere.local.errors import LocalError
from asyouwere.local.functions_server import FunctionsServer
from asyouwere.local.migrations import migrate
from asyouwere.local.ports import free_port
from asyouwere.local.postgres import EmbeddedPostgres
from tests.bench import machine
from tests.functions.api import ISSUER, SECRET
from tests.property.checks import Storage
from tests.property.http_driver import HttpDriver
from tests.support.cluster import Cluster, new_folder, wanted_binaries
from tests.support.database import Db
from tests.support.roles import set_role_password

PERSON = "ada"
READY_SECONDS = 60.0


class CanClose(Protocol):
    """A connection of some kind."""

    def close(self) -> None: ...


Closing = TypeVar("Closing", bound=CanClose)


class Functions(Protocol):
    """Where the functions are."""

    @property
    def url(self) -> str: ...


class Surroundings(Protocol):
    """As much of a Place as a session needs."""

    user: str
    folder: Path

    @property
    def functions(self) -> Functions: ...

    @property
    def environment(self) -> dict[str, str]: ...


class Place:
    """Durable (fsync on) unless the settings say otherwise; ports stay the same over a restart.

    settings: of Postgres; environment: ASYOUWERE_… of the functions.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.postgres = EmbeddedPostgres(
            folder / "postgres", binaries=wanted_binaries(), port=free_port(), settings=settings
        )
        self._environment = dict(environment or {})
        self.functions = FunctionsServer({}, log=folder / "functions.log")
        self._made: list[CanClose] = []

    def __enter__(self) -> Place:
        self.postgres.start()
        try:
            migrate(self.postgres.dsn, bootstrap=True)
            with psycopg.connect(self.postgres.dsn, autocommit=True) as admin:
                set_role_password(admin, "authenticator", self.cluster.password)
                # One person does here what thousands do elsewhere; the limit is counted all the same.
                admin.execute("update asyouwere.settings set writes_per_second = 1e6, writes_at_once = 1e6")
                # a few people write as much as thousands do
                admin.execute(
                    "update asyouwere.settings set writes_at_once = 1000000000, max_stored_bytes_per_user = null"
                )
            self.db = Db(self.cluster, "postgres")
            self.user = str(self.db.user(PERSON))
            self.functions.environment = self.environment
            self.functions.start()
        except BaseException:
            self.postgres.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for made in self._made:
            made.close()
        self.db.close()
        self.functions.kill()
        self.postgres.stop()

    @property
    def cluster(self) -> Cluster:
        """The server as the tests' own Db wants it."""
        return Cluster(self.postgres.dsn, self.postgres.binaries.major, self.folder)

    @property
    def environment(self) -> dict[str, str]:
        """The settings of the functions."""
        return {
            "ASYOUWERE_DATABASE_URL": self.postgres.dsn_for("postgres", "authenticator", self.cluster.password),
            "ASYOUWERE_JWT_SECRET": SECRET,
            "ASYOUWERE_JWT_ISSUER": ISSUER,
            "ASYOUWERE_REQUEST_LOG": "off",
            **self._environment,
        }

    @property
    def url(self) -> str:
        """Where the functions are, without their common path."""
        return self.functions.url.removesuffix("/functions/v1")

    def driver(self, url: str | None = None) -> HttpDriver:
        """The person's way through the functions, or through a proxy before them."""
        return self.closing(HttpDriver(url or self.url, self.user))

    def closing(self, made: Closing) -> Closing:
        """What was made, which is closed with the place from now on."""
        self._made.append(made)
        return made

    def storage(self) -> Storage:
        """The tables, on a connection of their own."""
        return self.closing(Storage(self.postgres.dsn))

    def facts(self) -> dict[str, str]:
        """Versions, settings and machine, for the report."""
        with psycopg.connect(self.postgres.dsn, autocommit=True) as admin:
            return machine.facts(admin, self.folder)

    def restart_functions(self, **settings: str) -> None:
        """Start them anew, with further settings (ASYOUWERE_…) from now on."""
        self.functions.stop()
        self._environment.update(settings)
        self.functions.environment = self.environment
        self.functions.start()

    def restart_postgres(self) -> None:
        """Start it again after any end. A server that can't start yet is tried again, as a supervisor would."""
        self.db.close()  # its connections ended with the server, and would only notice when used
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                return self.postgres.start()
            except LocalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


@contextlib.contextmanager
def folder_of_a_run() -> Iterator[Path]:
    """A folder with a short path that is gone afterwards."""
    folder = new_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
