"""`asyouwere run` as a person uses it: started, its three lines pasted, interrupted, killed, started again."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from asyouwere.local import ports
from tests.support.processes import descendants, those


class Running:
    """A started `asyouwere run`: what it printed, its processes."""

    def __init__(self, data: Path, process: subprocess.Popen[str], output: list[str], errors: Path) -> None:
        self.data = data
        self.process = process
        self.output = output
        self.errors = errors
        self.children = psutil.Process(process.pid).children(recursive=True)

    @property
    def curl_lines(self) -> list[str]:
        return [line for line in self.output if line.startswith("curl ")]

    def field(self, name: str) -> str:
        (value,) = [line.split()[1] for line in self.output if line.split()[:1] == [name]]
        return value

    @property
    def token(self) -> str:
        (token,) = [line for line in self.output if re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", line)]
        return token

    def end(self, sign: int) -> tuple[int, str]:
        """Send a signal to the whole group, as a terminal does; exit code and the last line said."""
        os.killpg(self.process.pid, sign)
        code = self.process.wait(60)
        return code, (self.errors.read_text().splitlines() or [""])[-1]

    def functions(self) -> list[psutil.Process]:
        return those(self.children, lambda child: "asyouwere.local.functions_server" in " ".join(child.cmdline()))

    def supabase(self) -> list[psutil.Process]:
        return those(self.children, lambda child: "server.mjs" in " ".join(child.cmdline()))

    def still_there(self) -> list[psutil.Process]:
        _, alive = psutil.wait_procs(self.children, timeout=30)
        return alive


def command(data: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "asyouwere.local.cli", "run", "--data", str(data), *options]


@contextlib.contextmanager
def run(data: Path, *options: str) -> Iterator[Running]:
    """Start on any ports, wait for the welcome, and leave nothing behind."""
    options = options or ("--port", "0", "--postgres-port", "0", "--supabase-port", "0")
    errors = data.with_suffix(".errors")
    with errors.open("w") as said:
        process = subprocess.Popen(
            command(data, *options), stdout=subprocess.PIPE, stderr=said, text=True, start_new_session=True
        )
    try:
        assert process.stdout is not None
        output = []
        for line in process.stdout:
            output.append(line.rstrip("\n"))
            if "whether all is well" in line:
                break
        else:
            raise AssertionError(f"no welcome: {errors.read_text()}")
        yield Running(data, process, output, errors)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


def paste(line: str) -> Any:
    """What a fresh bash answers to one pasted line."""
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def get(url: str, token: str) -> tuple[int, Any]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, json.load(exc)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that several tests look at. The folder's name needs quoting."""
    root = tmp_path_factory.mktemp("it's a run")
    with run(root / "data") as started:
        yield started


def test_run__the_three_lines_work_as_they_are(running: Running) -> None:
    create, save, restore = running.curl_lines
    created = paste(create)
    assert created["latest_number"] == 0
    saved = paste(save)
    assert (saved["number"], saved["created"]) == (1, True)
    restored = paste(restore)
    assert restored["session_id"] == created["id"]
    assert restored["number"] == 1
    sent = json.loads(re.findall(r"-d '(.*)'$", save)[0])
    assert restored["state"] == sent["state"]
    assert paste(create)["id"] == created["id"]  # pasted twice: no second session
    assert paste(save)["created"] is False  # nothing had changed


def test_run__the_supabase_it_shows_answers_to_the_keys_it_shows(running: Running) -> None:
    url, key = running.field("Supabase"), running.field("Anon")
    headers = {"apikey": key, "Authorization": f"Bearer {running.token}"}
    request = urllib.request.Request(f"{url}/rest/v1/sessions_list?select=id", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert isinstance(json.load(answer), list)


def test_run__secrets_are_the_owners_alone(running: Running) -> None:
    data = running.data
    names = ["secrets.json", "demo.token", "functions.log", "postgres-18/password"]
    for name in [*names, "supabase.log"]:
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600, name
    secret = json.loads((data / "secrets.json").read_text())["jwt_secret"]
    assert len(secret) >= 32
    assert secret not in "\n".join(running.output)


def test_run__functions_do_not_log_in_as_superuser(running: Running) -> None:
    (server,) = running.functions()
    assert "postgresql://authenticator:" in server.environ()["ASYOUWERE_DATABASE_URL"]
    # A command line can be read by every user of the machine.
    password = server.environ()["ASYOUWERE_DATABASE_URL"].split(":")[2].split("@")[0]
    everyone = [psutil.Process(running.process.pid), *running.children]
    assert not any(password in " ".join(process.cmdline()) for process in everyone)


def test_run__the_commands_it_names__work_as_they_are(running: Running) -> None:
    begin = running.output.index("In another terminal:") + 2
    commands = [line.strip().partition("  ")[0] for line in running.output[begin:] if line.strip()]
    assert [re.findall(r" (psql|keys|token|doctor) ", line) for line in commands] == [["psql"], ["keys"], ["token"], ["doctor"]]
    environment = {name: value for name, value in os.environ.items() if name != "ASYOUWERE_DATA"}
    for line in (*commands, 'echo "$FUNCTIONS_URL"'):
        script = f"{commands[1]}; {line}"
        done = subprocess.run(
            ["bash", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=environment
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
    assert done.stdout == running.field("URL") + "\n"


def test_run__only_this_machine_is_served(running: Running) -> None:
    listening = {
        connection.laddr.ip
        for process in [p for p in running.children if p.is_running()]
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_token__is_another_user_who_cannot_see_the_first_ones_session(running: Running) -> None:
    session_id = paste(running.curl_lines[0])["id"]
    made = subprocess.run(
        [sys.executable, "-m", "asyouwere.local.cli", "token", "--user", "eve", "--data", str(running.data)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    token = made.stdout.strip()
    url = running.field("URL")
    assert get(f"{url}/sessions/{session_id}", running.token)[0] == 200
    status, answer = get(f"{url}/sessions/{session_id}", token)
    assert (status, answer["code"]) == (404, "session_not_found")


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_run__stops_everything_in_order(folder: Path, sign: int) -> None:
    with run(folder / "data") as started:
        assert len(started.children) > 3
        code, last = started.end(sign)
    assert (code, last) == (0, f"asyouwere: stopped; the data are in {folder / 'data'}")
    assert started.still_there() == []
    assert "database system is shut down" in (folder / "data" / "postgres-18" / "log").read_text()


@pytest.mark.parametrize("when", ["starting", "curl "])
def test_run__terminal_closed__ends_everything(folder: Path, when: str) -> None:
    """As under `make run`: a shell in between, whose terminal goes away, at once or when all is up."""
    parent, child = pty.openpty()
    line = shlex.join(command(folder / "data", "--port", "0", "--postgres-port", "0", "--supabase-port", "0"))
    process = subprocess.Popen(
        ["setsid", "--ctty", "sh", "-c", f"echo starting; {line}; echo ended"],
        stdin=child, stdout=child, stderr=child,
    )  # fmt: skip
    os.close(child)
    try:
        seen = b""
        while when.encode() not in seen:
            seen += os.read(parent, 4096)
        deadline = time.monotonic() + 60
        while not (begun := those(descendants(process.pid), lambda c: c.name().startswith("postgres"))):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        children = {*begun, *descendants(process.pid)}
    finally:
        os.close(parent)
        process.wait(60)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


def test_run__under_nohup__outlives_its_terminal(folder: Path) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what nohup does, and children inherit
    try:
        with run(folder / "data") as started:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            os.killpg(started.process.pid, signal.SIGHUP)
            with pytest.raises(subprocess.TimeoutExpired):
                started.process.wait(2)
            assert paste(started.curl_lines[0])["latest_number"] == 0
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_run__its_address_in_a_browser__says_what_it_is(running: Running) -> None:
    url = running.field("URL")
    base = url.removesuffix("/functions/v1")
    for address in (base, f"{base}/", f"{url}/", url):
        for accept, kind in (("text/html,*/*", "text/html"), ("*/*", "application/json")):
            request = urllib.request.Request(address, headers={"Accept": accept})
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert answer.headers["content-type"].startswith(kind)
                text = answer.read().decode()
            assert "asyouwere" in text
            for path in re.findall(r'["](/[^"]+)["]', text):
                with urllib.request.urlopen(base + path, timeout=30) as answer:
                    assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError) as missing:
        urllib.request.urlopen(f"{base}/nowhere", timeout=30)
    with missing.value as refused:
        assert (refused.code, json.load(refused)["code"]) == (404, "not_found")


def test_run__killed_and_started_again_finds_the_data(folder: Path) -> None:
    with run(folder / "data") as first:
        created = paste(first.curl_lines[0])
        paste(first.curl_lines[1])
        restore = first.curl_lines[2]
        url = first.field("URL")
        servers = [*first.functions(), *first.supabase()]
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        # The functions server and Node notice; Postgres stays, until the next start puts it in order.
        _, left = psutil.wait_procs(servers, timeout=15)
        assert left == []
    with run(folder / "data") as second:
        restored = paste(restore.replace(url, second.field("URL")))
        assert restored["session_id"] == created["id"]
        assert restored["state"]["currentStep"] == 1
        assert "stopped the Postgres that an earlier run left behind" in second.errors.read_text()
        assert not any(p.is_running() for p in first.children)


def test_run__taken_ports_are_said_and_others_chosen(folder: Path) -> None:
    with (
        socket.create_server((ports.LOOPBACK, 0)) as one,
        socket.create_server((ports.LOOPBACK, 0)) as two,
    ):
        port, postgres_port = (str(server.getsockname()[1]) for server in (one, two))
        with run(folder / "data", "--port", port, "--postgres-port", postgres_port) as started:
            said = started.errors.read_text()
            assert f"port {port} is taken, so the functions listen on" in said
            assert f"port {postgres_port} is taken, so Postgres listens on" in said
            assert paste(started.curl_lines[0])["latest_number"] == 0


def test_run__second_one_is_refused_and_a_dead_server_ends_the_first(folder: Path) -> None:
    with run(folder / "data") as first:
        second = subprocess.run(command(folder / "data"), capture_output=True, text=True, timeout=60)
        assert (second.returncode, second.stdout) == (1, "")
        (line,) = second.stderr.splitlines()
        assert f"in use by process {first.process.pid}" in line
        assert paste(first.curl_lines[0])["latest_number"] == 0

        (server,) = first.functions()
        server.kill()
        assert first.process.wait(60) == 1
    assert "the functions server ended by itself" in first.errors.read_text().splitlines()[-1]
    assert first.still_there() == []


def test_run__folder_that_will_not_do_is_refused_in_one_line(folder: Path) -> None:
    (folder / "file").touch()
    for data in (folder / "file" / "data", Path("/proc/foo"), folder / ("x" * 300), Path("/dev/null/data")):
        refused = subprocess.run(command(data), capture_output=True, text=True, timeout=60)
        assert refused.returncode == 1
        (line,) = refused.stderr.splitlines()
        assert re.search(r"cannot be made or written \(.+\): choose another folder with --data", line), line


@pytest.mark.parametrize("option", ["--port", "--postgres-port", "--supabase-port"])
@pytest.mark.parametrize("port", ["99999", "-1", "65536", "http"])
def test_run__port_that_is_none__is_refused_before_anything_is_made(folder: Path, option: str, port: str) -> None:
    refused = subprocess.run(command(folder / "data", option, port), capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert f"Invalid value for '{option}'" in refused.stderr
    assert not (folder / "data").exists()


def test_run__interrupted_while_starting_leaves_nothing(folder: Path) -> None:
    process = subprocess.Popen(
        command(folder / "data"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    me = psutil.Process(process.pid)
    deadline = time.monotonic() + 30
    while not (children := me.children(recursive=True)) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(60)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    with run(folder / "data") as started:
        assert paste(started.curl_lines[0])["latest_number"] == 0
