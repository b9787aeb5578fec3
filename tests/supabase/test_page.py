"""infra/supabase/README.md: its commands are run, with a Postgres, a PostgREST and a token of our own for the project's."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from asyouwere.local.migrations import run_file, sql_folder
from asyouwere.local.postgres import EmbeddedPostgres
from tests.functions.api import SECRET, token_for
from tests.supabase.cli import PROGRAM, ROOT, environment, run_cli
from tests.supabase.project import project
from tests.supabase.test_push import address
from tests.support.cluster import new_folder, wanted_binaries
from tests.support.database import PEOPLE
from tests.support.postgrest import running_postgrest
from tests.support.roles import set_role_password

PAGE = (ROOT / "infra/supabase/README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CLI = re.compile(r"npx supabase@[\d.]+")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A new project's database: durable, with Supabase's roles, and nothing of ours."""
    folder = new_folder()
    with EmbeddedPostgres(folder, binaries=wanted_binaries(), durable=True) as postgres:
        with psycopg.connect(postgres.dsn, autocommit=True) as admin:
            run_file(admin, sql_folder() / "bootstrap.sql")
            set_role_password(admin, "authenticator", "asyouwere")
        yield postgres
    shutil.rmtree(folder, ignore_errors=True)


def run_block(text: str, home: Path, **variables: str) -> str:
    kept = {name: value for name, value in environment(home).items() if not name.startswith("ASYOUWERE_")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", CLI.sub(str(PROGRAM), text)],
        cwd=ROOT,
        env={**kept, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_page__from_an_empty_project_to_a_saved_session(server: EmbeddedPostgres) -> None:
    if not PROGRAM.exists() or not shutil.which("curl"):
        pytest.skip("needs curl and the Supabase CLI (scripts/setup test installs it where there is Node)")
    run = [text for language, text in BLOCKS if language == "bash"]
    (pushing, doctor, saving) = run
    dsn = psycopg.conninfo.make_conninfo(server.dsn, user="authenticator", password="asyouwere")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        said = run_block(pushing, home, DATABASE_URL=address(server.dsn))
        assert said.count("0001_create_baseline.sql") == 2  # would be, and was applied
        said = run_block(doctor, home, DATABASE_URL=address(server.dsn))
        assert "nothing to do" in said
        assert "ok    migrations" in said
        with running_postgrest(dsn, SECRET) as postgrest, project(postgrest.url) as url:
            said = run_block(saving, home, SUPABASE_URL=url, SUPABASE_KEY="key", TOKEN=token_for(str(PEOPLE)))
    created, latest, embedded = re.findall(r"\[\{.*?\}\](?=\[\{|$)", said.strip(), re.DOTALL)
    assert '"number":1' in created.replace(" ", "")
    assert "Where were we?" in latest
    assert '"session_messages"' in embedded
    assert "Where were we?" in embedded
    with psycopg.connect(server.dsn, autocommit=True) as owner:
        answers = [
            row[0]
            for language, text in BLOCKS
            if language == "sql"
            for statement in text.strip().split("\n")
            for row in owner.execute(statement.encode()).fetchall()
        ]
    assert answers == ["off: this database has no pg_cron", "off: this database has no Supabase Realtime"]


def test_page__commands_that_need_an_account_exist() -> None:
    commands = [
        line.split("#")[0].split()
        for language, text in BLOCKS
        if language == "sh"
        for line in text.splitlines()
        if CLI.match(line)
    ]
    assert len(commands) == 3
    for _, _, *words in commands:
        named = [word for word in words if not word.startswith("-")]
        command = [word for word in named if re.fullmatch(r"[a-z-]+", word) and word != "infra"]
        help_text = run_cli(*command, "--help")
        for option in (word.split("=")[0] for word in words if word.startswith("--")):
            assert re.search(rf"{option}\b", help_text), (command, option)


def test_page__says_nothing_but_what_is_run_or_marked() -> None:
    assert {language for language, _ in BLOCKS} == {"bash", "sql", "sh", "js"}
    for path in re.findall(r"`((?:sql|infra|scripts)/[\w/.-]+)`", PAGE):
        assert (ROOT / path).exists(), path
    assert str((ROOT / "infra/supabase/migrations").readlink()) == "../../sql/migrations"
