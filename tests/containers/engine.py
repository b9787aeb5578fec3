"""Containers for the tests: Postgres, Supabase's Postgres, PostgREST. Needs a Docker engine.

ASYOUWERE_REQUIRE_DOCKER=1 makes a missing engine a failure, as in CI, where otherwise the tests say why they are
skipped.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.network import Network

#: As the Supabase CLI starts them. The first number of Supabase's is Postgres' version.
SUPABASE_POSTGRES = "supabase/postgres:17.6.1.136"
POSTGREST = "postgrest/postgrest:v14.12"
PASSWORD = "only-for-this-container"
START_SECONDS = 180


def require_engine() -> None:
    """Skip the test without a Docker engine; fail it where one is required."""
    # In a process of its own: docker's client leaves sockets open when there is nobody to talk to.
    ping = "import docker; docker.from_env(timeout=10).ping()"
    asked = subprocess.run([sys.executable, "-c", ping], capture_output=True, text=True, timeout=60)
    if asked.returncode == 0:
        return
    reason = "needs a Docker engine: " + (asked.stderr.strip().splitlines() or ["none answers"])[-1][:200]
    if os.environ.get("ASYOUWERE_REQUIRE_DOCKER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


#: What the clients of Docker do with their sockets is not ours.
tolerant = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@contextlib.contextmanager
def postgres(image: str, user: str, network: Network | None = None) -> Iterator[str]:
    """A Postgres of this image; the connection string of a superuser, from outside."""
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(image).with_env("POSTGRES_PASSWORD", PASSWORD).with_exposed_ports(5432)
    if network is not None:
        container = container.with_network(network).with_network_aliases("db")
    with container:
        dsn = f"postgresql://{user}:{PASSWORD}@{_address(container, 5432)}/postgres"
        _wait_for_postgres(dsn)
        yield dsn


@contextlib.contextmanager
def postgrest(jwt_secret: str, network: Network) -> Iterator[str]:
    """PostgREST before the container named db, configured as hosted Supabase has it; its address."""
    from testcontainers.core.container import DockerContainer

    settings = {
        "PGRST_DB_URI": f"postgresql://authenticator:{PASSWORD}@db:5432/postgres",
        "PGRST_DB_SCHEMAS": "public",
        "PGRST_DB_EXTRA_SEARCH_PATH": "public,extensions",
        "PGRST_DB_ANON_ROLE": "anon",
        "PGRST_DB_MAX_ROWS": "1000",
        "PGRST_JWT_SECRET": jwt_secret,
        "PGRST_ADMIN_SERVER_PORT": "3001",
        "PGRST_ADMIN_SERVER_HOST": "0.0.0.0",
    }
    container = DockerContainer(POSTGREST).with_exposed_ports(3000, 3001).with_network(network)
    with container.with_envs(**settings):
        _wait_for_http(f"http://{_address(container, 3001)}/ready")
        yield f"http://{_address(container, 3000)}"


def _address(container: DockerContainer, port: int) -> str:
    return f"{container.get_container_host_ip()}:{container.get_exposed_port(port)}"


def _wait_for_postgres(dsn: str) -> None:
    # While an image sets itself up, its server listens on a socket inside only.
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with psycopg.connect(dsn, connect_timeout=5):
                return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "Postgres does not answer"
            time.sleep(0.5)


def _wait_for_http(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return
        assert time.monotonic() < deadline, f"{url} does not answer"
        time.sleep(0.5)
