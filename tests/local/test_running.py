"""The commands beside a running stack, as a person types them in another terminal: keys, token, psql."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from asyouwere.local.doctor.web import FUNCTIONS
from asyouwere.local.running import find_running
from asyouwere.local.stack import LocalStack
from asyouwere.local.tokens import email_of, user_id
from tests.support.cluster import new_folder


def command(data: Path, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """`asyouwere …` in a process of its own; text goes to its standard input."""
    return subprocess.run(
        [sys.executable, "-m", "asyouwere.local.cli", *arguments],
        input=text,
        stdin=None if text is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "ASYOUWERE_DATA": str(data), "PGDATABASE": "somebody-elses", "PGUSER": "nobody"},
        timeout=60,
    )


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    root = new_folder()
    root.chmod(0o711)
    with LocalStack(root / "data", port=0, postgres_port=0) as running:
        yield running
    shutil.rmtree(root, ignore_errors=True)


# -- what runs -----------------------------------------------------------------------------------------------


def test_running__ended_in_whatever_way__is_not_found(folder: Path) -> None:
    data = folder / "data"
    stack = LocalStack(data, port=0, postgres_port=0)
    stack.start()
    try:
        running = find_running(data)
        assert running is not None
        assert running.functions_url == stack.url
        assert running.database_url == stack.dsn
        assert stack.dsn not in repr(running)
        assert stat.S_IMODE((data / "running.json").stat().st_mode) == 0o600
        left_behind = (data / "running.json").read_text()
    finally:
        stack.stop()
    assert find_running(data) is None
    # as a SIGKILL of everything leaves it
    (data / "running.json").write_text(left_behind)
    assert find_running(data) is None
    for name in ("keys", "psql"):
        refused = command(data, name)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "nothing runs" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


# -- keys ----------------------------------------------------------------------------------------------------


def test_keys__without_supabase__is_the_functions_url(stack: LocalStack) -> None:
    shown = command(stack.folder, "keys")
    assert (shown.returncode, shown.stdout) == (0, f"FUNCTIONS_URL={stack.url}\n")


# -- token ---------------------------------------------------------------------------------------------------


def test_token__is_the_token_alone_on_standard_output_and_works(stack: LocalStack) -> None:
    made = command(stack.folder, "token", "--user", "ada")
    assert made.stderr == f"asyouwere: the id of ada is {user_id('ada')}\n"
    (token,) = made.stdout.splitlines()
    with httpx.Client(trust_env=False) as client:
        answer = client.get(f"{stack.url}/sessions", headers={"Authorization": f"Bearer {token}"})
    assert answer.json() == {"sessions": [], "next": None}


def test_token__whoever_has_one_is_in_the_database(stack: LocalStack) -> None:
    name = f"grace-{uuid.uuid4()}"
    for _ in range(2):
        assert command(stack.folder, "token", "--user", name).returncode == 0
    with psycopg.connect(stack.dsn) as admin:
        found = admin.execute("select email from auth.users where id = %s", (user_id(name),)).fetchall()
    assert found == [(email_of(name),)]


def test_token__somebody_signed_up_with_that_address__is_a_user_without_one(stack: LocalStack) -> None:
    name = f"linus-{uuid.uuid4()}"
    with psycopg.connect(stack.dsn) as admin:
        admin.execute("insert into auth.users (id, email) values (%s, %s)", (uuid.uuid4(), email_of(name)))
    assert command(stack.folder, "token", "--user", name).returncode == 0
    with psycopg.connect(stack.dsn) as admin:
        found = admin.execute("select email from auth.users where id = %s", (user_id(name),)).fetchall()
    assert found == [(None,)]


def test_token__id__is_the_id_alone(stack: LocalStack) -> None:
    shown = command(stack.folder, "token", "--id", "--user", "ada")
    assert (shown.stdout, shown.stderr) == (f"{user_id('ada')}\n", "")


def test_sharing__unknown_persons_id__is_no_success(stack: LocalStack) -> None:
    owner, name = f"owner-{uuid.uuid4()}", f"barbara-{uuid.uuid4()}"
    as_owner = ("psql", "--user", owner, "-c")
    made = command(stack.folder, *as_owner, "select id from get_or_create_session()", "--", "-At")
    session_id = made.stdout.split()[-1]

    def invite(person: str) -> subprocess.CompletedProcess[str]:
        return command(stack.folder, *as_owner, f"select set_session_member('{session_id}', '{person}', 'viewer')")

    unknown = invite(str(user_id(name)))
    assert unknown.returncode != 0
    assert "No user has this id" in unknown.stderr
    assert "user_not_found" in unknown.stderr
    introduced = command(stack.folder, "token", "--id", "--user", name).stdout.strip()
    assert introduced == str(user_id(name))
    known = invite(introduced)
    assert known.returncode == 0, known.stderr


def test_token_help__the_four_lines_on_sharing__pasted_in_order(stack: LocalStack) -> None:
    assert command(stack.folder, "psql", "-c", "insert into free_agent_sessions (name) values ('to share')").returncode == 0
    text = command(stack.folder, "token", "--help").stdout
    lines = [line.strip() for line in text.partition("Sharing:")[2].partition("Options:")[0].splitlines()]
    four = [line for line in lines if line.startswith(("SESSION=", "asyouwere "))]
    assert len(four) == 4
    script = "\n".join(["set -e", f"asyouwere() {{ {shlex.quote(sys.executable)} -m asyouwere.local.cli \"$@\"; }}", *four])
    done = subprocess.run(
        ["bash", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "ASYOUWERE_DATA": str(stack.folder), "PAGER": "cat"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"to share +\| viewer", done.stdout), done.stdout


# -- doctor --------------------------------------------------------------------------------------------------


def test_doctor__without_flags__finds_the_running_stack_and_no_fault(stack: LocalStack) -> None:
    done = command(stack.folder, "doctor", "--json")
    found = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 0, found
    assert {finding["level"] for finding in found.values()} == {"ok", "skip"}
    for check in ("connection", "migrations", "rls", "keys", "session-snapshot-save", "cleanup-old-snapshots"):
        assert found[check]["level"] == "ok"
    assert found["rest"]["message"] == "not looked at: no local Supabase runs"
    assert str(stack.folder) in done.stderr


def test_doctor__named_by_its_own_addresses__knows_the_stack_too(stack: LocalStack) -> None:
    done = command(stack.folder, "doctor", "--functions-url", stack.url)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^ok +keys ", done.stdout, re.MULTILINE)
    assert re.search(r"^skip +database ", done.stdout, re.MULTILINE)


def test_doctor__functions_ended__says_connection_refused(stack: LocalStack) -> None:
    stack.functions.stop()
    try:
        done = command(stack.folder, "doctor")
    finally:
        stack.start_functions()
    assert done.returncode == 1
    assert re.findall(r"^fail +(\S+) +(.*)$", done.stdout, re.MULTILINE) == [
        (name, "connection refused") for name in FUNCTIONS
    ]


# -- psql ----------------------------------------------------------------------------------------------------


def test_psql__is_that_person_under_row_level_security(stack: LocalStack) -> None:
    made = command(
        stack.folder,
        *("psql", "--user", "ada", "-c", "insert into free_agent_sessions (name) values ('hers') returning user_id"),
        *("--", "-At"),
    )
    assert made.stdout.splitlines()[0] == str(user_id("ada")), made.stderr
    count = "select count(*) from free_agent_sessions where name = 'hers'"
    for name, seen in (("ada", "1"), ("eve", "0")):
        assert command(stack.folder, "psql", "--user", name, "-c", count, "--", "-At").stdout.strip() == seen


@pytest.mark.parametrize("name", ["ada", "o'neill", 'Zoë "Z" \\ 100% {x}', str(uuid.UUID(int=7))])
def test_psql__any_name__claims_and_role(stack: LocalStack, name: str) -> None:
    query = "select auth.uid(), auth.jwt() ->> 'email', auth.jwt() ->> 'role', current_user"
    shown = command(stack.folder, "psql", "--user", name, "--", "-At", text=query)
    assert shown.stdout.strip() == f"{user_id(name)}|{email_of(name)}|authenticated|authenticated", shown.stderr


def test_psql__no_way_back_to_more_rights(stack: LocalStack) -> None:
    text = "reset role;\nselect current_user;\nset role postgres;\n"
    shown = command(stack.folder, "psql", "--", "-At", text=text)
    assert shown.stdout.splitlines()[1:] == ["authenticated"]
    assert 'permission denied to set role "postgres"' in shown.stderr
    assert shown.returncode == 3
    refused = command(stack.folder, "psql", "-c", "select * from auth.users")
    assert "permission denied" in refused.stderr


def test_psql__as_service__is_the_service(stack: LocalStack) -> None:
    shown = command(stack.folder, "psql", "--service", "-c", "select current_user", "--", "-At")
    assert shown.stdout == "service_role\n"


def test_psql__first_error_ends_a_pipe_and_several_commands(stack: LocalStack) -> None:
    piped = command(stack.folder, "psql", "--", "-At", text="select 1/0;\nselect 'went on';\n")
    given = command(stack.folder, "psql", "-c", "select 1/0", "-c", "select 'went on'", "--", "-At")
    for done in (piped, given):
        assert "division by zero" in done.stderr
        assert "went on" not in done.stdout
        assert done.returncode != 0


def test_psql__in_a_terminal__prompts_with_the_name_and_goes_on_after_errors(stack: LocalStack) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "asyouwere.local.cli", "psql", "--user", "ada", "--data", str(stack.folder)],
        stdin=child,
        stdout=child,
        stderr=child,
        env={**os.environ, "PAGER": "cat", "PSQLRC": "/dev/null", "TERM": "dumb"},
        start_new_session=True,
    )
    os.close(child)
    os.write(parent, b"select 1/0;\nselect 'went' || ' on';\n\\q\n")
    seen = b""
    try:
        while chunk := os.read(parent, 4096):
            seen += chunk
    except OSError:
        pass  # how Linux says that the other end has closed
    os.close(parent)
    assert process.wait(60) == 0
    assert b"ada@postgres=>" in seen
    assert b"went on" in seen
