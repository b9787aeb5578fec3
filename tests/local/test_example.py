"""`make example` as a person uses it: started, looked at, interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from examples import serve
from examples.building import build_example
from tests.support.cluster import new_folder

ROOT = Path(__file__).parents[2]


def test_example__prints_the_address__answers__and_ends_with_all_it_started() -> None:
    if build_example("characters", print) is None:
        pytest.skip("needs Node.js and the npm packages of examples")
    data = new_folder()
    command = [sys.executable, "-m", "examples.serve", "characters", "token_seconds=60"]
    environment = {**os.environ, "ASYOUWERE_DATA": str(data), "PYTHONPATH": str(ROOT / "functions")}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        started = psutil.Process(process.pid).children(recursive=True)
        try:
            with httpx.Client(base_url=address, trust_env=False, timeout=60) as http:
                page = http.get("/")
                told = http.post("/sign-in", json={"user": "ada"}).json()
                stranger = http.post("/sign-in", json={"user": "eve"})
                elsewhere = http.post("/sign-in", json={"user": "ada"}, headers={"Origin": "https://evil.example"})
                mine = http.get(f"{told['url']}/sessions", headers={"Authorization": f"Bearer {told['token']}"})
            process.send_signal(signal.SIGINT)
            code = process.wait(60)
        finally:
            process.terminate()  # where it did not come to the end of this: nothing happens to one that has ended
    shutil.rmtree(data, ignore_errors=True)

    assert "unsafe" not in page.headers["content-security-policy"]
    assert (stranger.status_code, elsewhere.status_code, mine.status_code) == (403, 403, 200)
    assert code == 0
    assert started
    assert psutil.wait_procs(started, timeout=30)[1] == []


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["adapters"]])
def test_example__that_is_none_says_which_there_are(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"say which example: make example NAME=.*characters"):
        serve.main(arguments)


def test_settings__are_json_or_text() -> None:
    given = ["idle_seconds=60", "mode=revive", "a=b=c", 'list=["x"]', "flag=true"]

    assert serve.settings_of(given) == {
        "idle_seconds": 60, "mode": "revive", "a": "b=c", "list": ["x"], "flag": True
    }  # fmt: skip
