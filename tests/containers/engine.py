"""Containers for the tests: Postgres, Supabase's Postgres, PostgREST. Needs a Docker engine.

ASYOUWERE_REQUIRE_DOCKER=1 makes a missing engine a failure, as in the one job of CI that is for these; 0 skips them
even where there is one. Otherwise they run where there is an engine, and say why they are skipped.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import psycopg
import pytest

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.network import Network

#: As the Supabase CLI of tests/node starts them (tests/supabase/test_images.py compares them with what it carries).
SUPABASE_POSTGRES = "supabase/postgres:17.11.0.018"
POSTGREST = "postgrest/postgrest:v16.5"
PASSWORD = "only-for-this-container"
START_SECONDS = 180


def require_engine() -> None:
    """Skip the test without a Docker engine; fail it where one is required."""
    if os.environ.get("ASYOUWERE_REQUIRE_DOCKER") == "0":
        pytest.skip("needs a Docker engine: ASYOUWERE_REQUIRE_DOCKER=0")
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
        wait_until(container, lambda: _answers(dsn), f"Postgres of {image}")
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
        url = f"http://{_address(container, 3001)}/ready"
        wait_until(container, lambda: _is_ready(url), "PostgREST")
        yield f"http://{_address(container, 3000)}"


def _address(container: DockerContainer, port: int) -> str:
    return f"{container.get_container_host_ip()}:{container.get_exposed_port(port)}"


class HasLogs(Protocol):
    """What a container tells of itself: standard output and standard error."""

    def get_logs(self) -> tuple[bytes, bytes]: ...


def wait_until(
    container: HasLogs, ready: Callable[[], bool], what: str, seconds: float = START_SECONDS
) -> None:
    """Ask until it is ready; fails with the end of the container's log, which says why it is not."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            log = b"\n".join(container.get_logs()).decode(errors="replace")
            pytest.fail(f"{what} does not answer after {seconds:.0f} s. Its log ends:\n{log[-8000:]}")
        time.sleep(min(0.5, seconds))


def _answers(dsn: str) -> bool:
    # While an image sets itself up, its server listens on a socket inside only.
    try:
        with psycopg.connect(dsn, connect_timeout=5):
            return True
    except psycopg.OperationalError:
        return False


def _is_ready(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)
    return False
