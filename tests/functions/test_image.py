"""The container image, without an engine: the steps of the Dockerfile by hand, in an empty folder and an environment with
nothing but the pins. What only an engine can show (the user, the layers) CI shows: the job `image`."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pathspec
import pytest

from asyouwere_infra.archive import files
from tests.functions.api import ISSUER, SECRET, token_for
from tests.functions.image import FUNCTIONS, image_environment, last
from tests.support.database import Db
from tests.support.install import clean_environment


def copied() -> list[Path]:
    """What `COPY .` takes."""
    lines = (FUNCTIONS / ".dockerignore").read_text("utf-8").splitlines()
    ignored = pathspec.GitIgnoreSpec.from_lines(lines)
    found = (path.relative_to(FUNCTIONS) for path in FUNCTIONS.rglob("*") if path.is_file())
    return sorted((path for path in found if not ignored.match_file(path.as_posix())), key=Path.as_posix)


def test_image__has_the_files_of_the_deployed_functions() -> None:
    pins = {Path("requirements.txt"), Path("requirements.lock"), Path("requirements-telemetry.lock")}
    assert set(copied()) - pins == set(files()) - pins
    assert pins - {Path("requirements.txt")} <= set(copied())


def test_image__runs_as_nobody_in_particular() -> None:
    user, _, group = last("USER").partition(":")
    assert int(user) >= 1000
    assert int(group) >= 1000


@pytest.fixture
def command(tmp_path: Path) -> tuple[list[str], Path, dict[str, str]]:
    """The image's command, where it runs, and the environment that the image gives it."""
    app = tmp_path / "app"
    for path in copied():
        (app / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(FUNCTIONS / path, app / path)
    given = image_environment()
    given["PATH"] = given["PATH"].replace("/venv/bin", str(clean_environment(FUNCTIONS / "requirements.lock")))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        given["PORT"] = str(listener.getsockname()[1])
    words = json.loads(last("CMD"))
    words[0] = shutil.which(words[0], path=given["PATH"])
    return words, app, given


@contextlib.contextmanager
def running(words: list[str], app: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The command; ended whatever happens."""
    with subprocess.Popen(words, cwd=app, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_healthy(process: subprocess.Popen[str], python: str, given: dict[str, str]) -> None:
    """Until the image's own health check says so, which must not say it of nothing."""
    health = [python, *json.loads(last("HEALTHCHECK").partition("CMD ")[2])[1:]]
    elsewhere = {**given, "PORT": "1"}
    assert subprocess.run(health, env=elsewhere, capture_output=True, check=False).returncode != 0
    deadline = time.monotonic() + 60
    while subprocess.run(health, env=given, capture_output=True, check=False).returncode != 0:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.slow
def test_image__starts_with_nothing_but_its_settings(
    shared: Db, command: tuple[list[str], Path, dict[str, str]]
) -> None:
    words, app, given = command
    settings = {
        "ASYOUWERE_DATABASE_URL": shared.api_dsn,
        "ASYOUWERE_JWT_SECRET": SECRET,
        "ASYOUWERE_JWT_ISSUER": ISSUER,
    }
    before = sorted(app.rglob("*"))
    with running(words, app, {**given, **settings}) as process:
        wait_until_healthy(process, words[0], given)
        base = f"http://127.0.0.1:{given['PORT']}/functions/v1"
        headers = {"Authorization": f"Bearer {token_for(str(shared.user('contained')))}"}
        with httpx.Client(trust_env=False, timeout=30) as client:
            session_id = client.post(f"{base}/sessions", headers=headers, json={}).json()["id"]
            saved = {"session_id": session_id, "state": {"n": 1}}
            assert client.post(f"{base}/session-snapshot-save", headers=headers, json=saved).json()["number"] == 1
            assert client.get(f"{base}/sessions").json()["code"] == "invalid_token"
        process.send_signal(signal.SIGTERM)
        log, _ = process.communicate(timeout=20)
        assert process.returncode in (0, -signal.SIGTERM)
    assert [json.loads(line)["status"] for line in log.splitlines()] == [201, 200, 401]
    assert sorted(app.rglob("*")) == before  # it would run from a file system that is read-only


@pytest.mark.slow
def test_image__runs_the_clean_up_apart(shared: Db, command: tuple[list[str], Path, dict[str, str]]) -> None:
    words, app, given = command
    settings = {
        "ASYOUWERE_DATABASE_URL": shared.api_dsn,
        "ASYOUWERE_JWT_SECRET": SECRET,
        "ASYOUWERE_JWT_ISSUER": ISSUER,
    }
    unknown = subprocess.run(
        [*words, "clean-up"], cwd=app, env=given, capture_output=True, text=True, check=False, timeout=60
    )
    assert (unknown.returncode, "no function is called clean-up" in unknown.stderr) == (1, True)
    with running([*words, "cleanup-old-snapshots"], app, {**given, **settings}) as process:
        wait_until_healthy(process, words[0], given)  # by the image's own check, which holds for it, too
        base = f"http://127.0.0.1:{given['PORT']}/functions/v1"
        headers = {"Authorization": f"Bearer {token_for('scheduler', 'service_role')}"}
        with httpx.Client(trust_env=False, timeout=30) as client:
            assert client.post(f"{base}/cleanup-old-snapshots", headers=headers, json={}).json()["done"] is True
            assert client.post(f"{base}/cleanup-old-snapshots", json={}).status_code == 401
            assert client.get(f"{base}/sessions", headers=headers).json()["code"] == "not_found"
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.mark.slow
def test_image__without_settings_ends_and_says_which_are_missing(
    command: tuple[list[str], Path, dict[str, str]],
) -> None:
    words, app, given = command
    done = subprocess.run(words, cwd=app, env=given, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "Or set ASYOUWERE_DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr
