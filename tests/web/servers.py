"""What the browser package is tried against: the functions and a PostgREST before one database.

python -m tests.web.servers     starts them and prints the environment that web/tests wants, until Ctrl-C
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import psycopg

from asyouwere.local.migrations import migrate
from tests.functions.api import BASE, ISSUER, SECRET, serving, settings_for
from tests.support.cluster import Cluster, running_cluster
from tests.support.postgrest import running_postgrest
from tests.support.roles import set_role_password


@contextlib.contextmanager
def running_servers(cluster: Cluster, template: str) -> Iterator[dict[str, str]]:
    """Both servers before a database of their own; the environment variables that say where."""
    name = f"asyouwere_web_{os.getpid()}"
    with psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(f"create database {name} template {template}".encode())
        try:
            dsn = cluster.dsn_for(name, "authenticator", cluster.password)
            with serving(settings_for(dsn)) as url, running_postgrest(dsn, SECRET) as postgrest:
                yield {
                    "ASYOUWERE_TEST_FUNCTIONS": url + BASE,
                    "ASYOUWERE_TEST_POSTGREST_URL": postgrest.url,
                    "ASYOUWERE_TEST_SECRET": SECRET,
                    "ASYOUWERE_TEST_ISSUER": ISSUER,
                }
        finally:
            admin.execute(f"drop database {name} with (force)".encode())


def main() -> None:
    """Run until interrupted."""
    with running_cluster() as cluster, psycopg.connect(cluster.dsn, autocommit=True) as admin:
        admin.execute(b"create database asyouwere_web")
        migrate(cluster.dsn_for("asyouwere_web"), bootstrap=True)
        set_role_password(admin, "authenticator", cluster.password)
        with running_servers(cluster, "asyouwere_web") as variables:
            for name, value in variables.items():
                print(f"export {name}={value!r}", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()


if __name__ == "__main__":
    main()
