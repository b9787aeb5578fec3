"""Each function exactly as it is deployed: alone, by functions-framework, from the archive that is uploaded, in an
environment with nothing but what the archive pins."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.functions.api import ISSUER, SECRET, token_for
from tests.support.database import Db
from tests.support.install import clean_environment, unpack

FUNCTIONS = Path(__file__).parents[2] / "functions"

#: What a shell may have set that would change what is tested.
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("ASYOUWERE_", "PYTHON", "FUNCTION_"))
}


@pytest.fixture(scope="session")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the platform unpacks."""
    return unpack(tmp_path_factory.mktemp("workspace"))


@contextlib.contextmanager
def deployed(target: str, upload: Path, environment: dict[str, str], *options: str) -> Iterator[httpx.Client]:
    """One target, served by functions-framework in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    program = str(clean_environment(upload / "requirements.txt") / "functions-framework")
    command = [program, "--target", target, "--source", str(upload / "main.py"), *options]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        command,
        env={**CLEAN, **environment},
        cwd="/",  # nothing may be found by accident
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(httpx.TransportError):
                    client.options("/")
                    break
                assert process.poll() is None, process.stdout and process.stdout.read()
                assert time.monotonic() < deadline, f"{target} does not answer"
                time.sleep(0.1)
            yield client
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture
def environment(shared: Db, mode: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """The variables that a deployment sets, for each mode of the database."""
    database = {"ASYOUWERE_DATABASE": mode}
    if mode == "postgrest":
        database["ASYOUWERE_POSTGREST_URL"] = request.getfixturevalue("rest_url")
    else:
        database["ASYOUWERE_DATABASE_URL"] = shared.api_dsn
    return {**database, "ASYOUWERE_JWT_SECRET": SECRET, "ASYOUWERE_JWT_ISSUER": ISSUER}


@pytest.mark.slow
def test_each_target__answers_alone(shared: Db, environment: dict[str, str], upload: Path) -> None:
    user = str(shared.user("deployer"))
    headers = {"Authorization": f"Bearer {token_for(user)}"}
    # The platform says nothing of ASGI: functions-framework finds out. Both ways are tried.
    with deployed("sessions", upload, environment) as client:
        session_id = client.post("/", headers=headers, json={"name": "deployed"}).json()["id"]
        assert client.get(f"/{session_id}", headers=headers).json()["name"] == "deployed"
        assert client.get(f"/functions/v1/sessions/{session_id}", headers=headers).status_code == 200
        assert client.get("/openapi.json").json()["openapi"] == "3.1.0"
        assert client.get(f"/{session_id}").json()["code"] == "invalid_token"
    with deployed("session_snapshot_save", upload, environment, "--asgi") as client:
        body = {"session_id": session_id, "state": {"messages": ["kept"]}}
        assert client.post("/", headers=headers, json=body).json()["number"] == 1
        assert client.post("/", headers=headers, json={**body, "state": []}).json()["code"] == "invalid_state"
    with deployed("session_snapshot_restore", upload, environment, "--asgi") as client:
        restored = client.post("/", headers=headers, json={"session_id": session_id})
        assert restored.json()["state"] == {"messages": ["kept"]}
    with deployed("sessions", upload, environment, "--asgi") as client:
        for format, kind in (("json", "application/json"), ("pdf", "application/pdf")):
            exported = client.get(f"/{session_id}/export?format={format}", headers=headers)
            assert (exported.status_code, exported.headers["content-type"]) == (200, kind)
    with deployed("cleanup_old_snapshots", upload, environment, "--asgi") as client:
        service = {"Authorization": f"Bearer {token_for('scheduler', 'service_role')}"}
        assert client.post("/", headers=service).json()["done"] is True
        assert client.post("/", headers=headers).status_code == 403


@pytest.mark.slow
def test_one_service__answers_all_that_users_ask(shared: Db, environment: dict[str, str], upload: Path) -> None:
    user, service = str(shared.user("deployer")), {"Authorization": f"Bearer {token_for('cron', 'service_role')}"}
    headers = {"Authorization": f"Bearer {token_for(user)}"}
    with deployed("asyouwere_api", upload, environment) as client:
        base = "/functions/v1"
        session_id = client.post(f"{base}/sessions", headers=headers, json={}).json()["id"]
        body = {"session_id": session_id, "state": {"messages": ["kept"]}}
        assert client.post(f"{base}/session-snapshot-save", headers=headers, json=body).json()["number"] == 1
        restored = client.post(f"{base}/session-snapshot-restore", headers=headers, json={"session_id": session_id})
        assert restored.json()["state"] == {"messages": ["kept"]}
        assert client.get(f"{base}/sessions/{session_id}").json()["code"] == "invalid_token"
        # the clean-up is no part of it, nor is anything that asks the database before a token
        assert client.post(f"{base}/cleanup-old-snapshots", headers=service).json()["code"] == "not_found"
        for elsewhere in ("/", "/readyz", "/sessions", base, f"{base}/", f"{base}/nothing", "/functions/v2/sessions"):
            assert client.get(elsewhere, headers=headers).json()["code"] == "not_found", elsewhere


@pytest.mark.slow
def test_clean_environment__has_the_pins_and_nothing_of_ours(upload: Path) -> None:
    python = clean_environment(upload / "requirements.txt") / "python"
    done = subprocess.run(
        [python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True, env=CLEAN
    )
    installed = {item["name"].lower().replace("_", "-") for item in json.loads(done.stdout)}
    assert {"functions-framework", "psycopg", "postgrest", "pydantic", "pyjwt", "typst"} <= installed
    assert not installed & {"asyouwere", "pytest", "supabase", "opentelemetry-sdk", "pulumi"}


def test_without_settings__the_answer_is_ours_and_the_log_says_what_is_missing() -> None:
    script = (
        "import asyncio, sys; sys.path.append(sys.argv[1]); import main\n"
        "from starlette.requests import Request\n"
        "scope = {'type': 'http', 'method': 'GET', 'path': '/', 'headers': [], 'query_string': b''}\n"
        "print(asyncio.run(main.sessions(Request(scope))).body.decode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(FUNCTIONS)],
        env=CLEAN,
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    log, _, answer = done.stdout.splitlines()
    assert "Or set ASYOUWERE_DATABASE_URL" in json.loads(log)["message"]
    assert json.loads(answer)["code"] == "internal"


def test_first_answer__turns_the_garbage_collection_on_again() -> None:
    script = (
        "import asyncio, gc, sys; sys.path.append(sys.argv[1]); import main\n"
        "from starlette.requests import Request\n"
        "before = gc.isenabled()\n"
        "scope = {'type': 'http', 'method': 'GET', 'path': '/x/y/z', 'headers': [], 'query_string': b''}\n"
        "asyncio.run(main.sessions(Request(scope)))\n"
        "print(before, gc.isenabled(), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(FUNCTIONS)],
        env=CLEAN,
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert done.stderr.split() == ["False", "True"]


def test_package__is_the_one_beside_main() -> None:
    script = "import sys; sys.path.append(sys.argv[1]); import main, asyouwere; print(asyouwere.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", script, str(FUNCTIONS)],
        env=CLEAN,
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert Path(done.stdout.strip()) == FUNCTIONS / "asyouwere" / "__init__.py"


def seconds(statement: str) -> float:
    """CPU time that a fresh interpreter needs for it, its own start taken off by the caller."""
    script = f"import sys, time; sys.path.append({str(FUNCTIONS)!r}); {statement}; print(time.process_time())"
    done = subprocess.run(
        [sys.executable, "-c", script], env=CLEAN, capture_output=True, text=True, check=True, cwd="/"
    )
    return float(done.stdout)


@pytest.mark.slow
def test_import__costs_at_most_half_more_than_framework_and_driver() -> None:
    floor, ours, empty = [], [], []
    for _ in range(7):  # in turn, so that a busy machine is busy for all
        floor.append(seconds("import functions_framework.aio, psycopg"))
        ours.append(seconds("import main"))
        empty.append(seconds("pass"))
    start = statistics.median(empty)
    assert statistics.median(ours) - start <= 1.5 * (statistics.median(floor) - start)


def test_import__leaves_the_heavy_things_for_later() -> None:
    script = "import sys; sys.path.append(sys.argv[1]); import main; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script, str(FUNCTIONS)],
        env=CLEAN,
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    loaded = set(done.stdout.split())
    for heavy in (
        "jwt",
        "cryptography",
        "typst",
        "markdown_it",
        "asyouwere.service.openapi",
        "asyouwere.service.export",
        "httpx",
        "uvloop",
        "postgrest",
        "opentelemetry",
    ):
        assert heavy not in loaded


@pytest.mark.parametrize(("mode", "other"), [("direct", {"postgrest", "httpx"}), ("postgrest", {"psycopg"})])
def test_open_database__leaves_the_other_mode_alone(mode: str, other: set[str]) -> None:
    script = (
        "import sys; sys.path.append(sys.argv[1]); from asyouwere.service.settings import Settings\n"
        "from asyouwere.service.database import open_database\n"
        "print(type(open_database(Settings.from_environment())).__module__, *sys.modules)"
    )
    chosen = {
        "ASYOUWERE_DATABASE": mode,
        "ASYOUWERE_DATABASE_URL": "postgresql://nowhere",
        "ASYOUWERE_SUPABASE_URL": "https://ref.supabase.co",
    }
    done = subprocess.run(
        [sys.executable, "-c", script, str(FUNCTIONS)],
        env={**CLEAN, **chosen},
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    module, *loaded = done.stdout.split()
    assert module == f"asyouwere.service.database.{mode}"
    assert not other & set(loaded)
