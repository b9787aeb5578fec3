"""The command `asyouwere`. Each command is thin: the work is in `asyouwere.local`."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import click

from asyouwere.local.errors import LocalError
from asyouwere.version import __version__

# Imports of `asyouwere.local` stay inside the commands: `asyouwere --help` answers at once, and `asyouwere migrate`
# works where the embedded Postgres is not installed.


def say(line: str) -> None:
    """One line for the person, on standard error; standard output is for what a program may read."""
    click.echo(f"asyouwere: {line}", err=True)


PORT = click.IntRange(0, 65535)  # 0: any

data_option: Callable[[Any], Any] = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for all data. [default: $ASYOUWERE_DATA, else .asyouwere in the current folder]",
)
database_option: Callable[[Any], Any] = click.option(
    "--database-url",
    envvar="ASYOUWERE_DATABASE_URL",
    help="postgresql://user:password@host:port/database [default: $ASYOUWERE_DATABASE_URL]",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="asyouwere")
def asyouwere() -> None:
    """Every chat or agent session picks up exactly as you were, on Postgres.

    \b
    asyouwere run                        everything on this machine; prints what to try
    asyouwere demo                       save, crash, restore: a scripted conversation, checked
    asyouwere token --user ada           a token for another local user
    asyouwere psql --user ada            psql as a local user, under row level security
    asyouwere keys                       URLs and keys for clients, while it runs
    asyouwere migrate --database-url …   the tables and functions, into your own Postgres
    asyouwere logins                     SQL of two logins that can little, for deployed functions
    asyouwere doctor                     what is wrong, here or with a deployment, and what to do

    Each command has its own help: asyouwere run --help
    """


@asyouwere.command(short_help="Start everything on this machine.")
@data_option
@click.option("--port", type=PORT, default=8787, show_default=True, help="Of the functions, or the next free one.")
@click.option("--postgres-port", type=PORT, default=54318, show_default=True, help="Of Postgres; the same.")
@click.option("--supabase-port", type=PORT, default=54321, show_default=True, help="Of the local Supabase; the same.")
@click.option("--supabase/--no-supabase", default=True, help="With Node.js: also a local Supabase.")
@click.option("--page/--no-page", default=True, help="With Node.js, in a clone: also the page, at /.")
def run(data: Path | None, port: int, postgres_port: int, supabase_port: int, supabase: bool, page: bool) -> None:
    """Start Postgres, the functions and, with Node.js, a page to use and a local Supabase, until Ctrl-C.

    Prints the page's address, the URLs, keys, a token for the user "demo", and three curl lines: create a
    session, save, restore. The data stay: the next start finds them, whatever ended this one. Needs no account,
    and the network only once, when npm gets what the page and the local Supabase are made of.

    With ASYOUWERE_MODEL_URL=http://127.0.0.1:11434/v1 (Ollama, or any OpenAI-compatible address) that model answers
    in the page; ASYOUWERE_MODEL names it, ASYOUWERE_MODEL_KEY is its key.

    \b
    asyouwere run
    asyouwere run --port 9000            on another port
    asyouwere run --data /srv/asyouwere    with another data folder
    """
    from asyouwere.local.stack import LocalStack
    from asyouwere.local.welcome import welcome

    _catch_signals()
    stack = LocalStack(
        data,
        port=port,
        postgres_port=postgres_port,
        supabase_port=supabase_port,
        supabase=supabase,
        page=page,
        say=say,
    )
    try:
        stack.start()
        click.echo(welcome(stack))
        answering = stack.supabase.running
        while stack.functions.running and stack.postgres.running:
            time.sleep(0.2)
            stack.functions.bound_log()
            if answering and not stack.supabase.running:
                answering = False
                say(f"the local Supabase ended by itself; the end of {stack.supabase.log} says why")
        which, log = ("Postgres", stack.postgres.log) if stack.functions.running else ("functions", stack.log)
        raise LocalError(
            f"the {which} server ended by itself, so all stops; the end of {log} says why (if not: the system or "
            "somebody killed it, for want of memory as a rule). Start again, the data are all there"
        )
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # the terminal may be gone
            click.echo()
            say("stopping")
    finally:
        # Impatient fingers must not leave a server behind.
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, signal.SIG_IGN)
        stack.stop()
    with contextlib.suppress(OSError):
        say(f"stopped; the data are in {stack.folder}")


def _catch_signals() -> None:
    """End in order on Ctrl-C, kill, and a terminal that is closed; `nohup` keeps its meaning."""
    # SIGINT whatever it was: a shell that starts a background job has it ignored.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if name is not signal.SIGHUP or signal.getsignal(name) is not signal.SIG_IGN:
            signal.signal(name, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@asyouwere.command(short_help="Save, crash, restore; checked.")
@click.option(
    "--messages", type=click.IntRange(60, 600), default=320, show_default=True, help="How long it is."
)
@click.option("--keep", is_flag=True, help="Leave the data folder, to look into the database.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the picture and the data. [default: demo in asyouwere's data folder]",
)
def demo(messages: int, keep: bool, output: Path | None) -> None:
    """Play a long conversation, kill everything twice, and check that nothing was lost.

    Takes less than a minute; prints tables and writes a picture. The exit code is 0 only if all held.
    """
    from asyouwere.local import demo as module

    _catch_signals()
    sys.exit(module.main(messages=messages, keep=keep, folder=output))


@asyouwere.command(short_help="A token for a local user.")
@data_option
@click.option("--user", default="demo", show_default=True, help="A name; the same name is the same user.")
@click.option("--hours", default=12.0, show_default=True, help="How long the token is valid.")
@click.option("--service", is_flag=True, help="For the scheduler's functions: the role service_role.")
@click.option("--id", "only_id", is_flag=True, help="Print the user's id instead, which others share with.")
def token(data: Path | None, user: str, hours: float, service: bool, only_id: bool) -> None:
    """Print a token for a local user, signed with the secret of the data folder.

    The user's id goes to standard error: TOKEN=$(asyouwere token) holds the token only.

    \b
    asyouwere token --user ada
    export $(asyouwere keys)
    curl -H "Authorization: Bearer $(asyouwere token --user ada)" $FUNCTIONS_URL/sessions

    Sharing: the owner invites a user by id, that user accepts, and then sees the session. Users are
    whom this command or psql has named before; the id of anybody else is refused.

    \b
    SESSION=$(asyouwere psql -c 'select id from sessions_list limit 1' -- -At)
    asyouwere psql -c "select set_session_member('$SESSION', '$(asyouwere token --id --user ada)', 'viewer')"
    asyouwere psql --user ada -c "select accept_invitation('$SESSION')"
    asyouwere psql --user ada -c 'select name, my_role from sessions_list'
    """
    from asyouwere.local.stack import data_folder, introduce, read_secrets
    from asyouwere.local.tokens import sign_token, user_id

    folder = data_folder(data)
    secret = read_secrets(folder).jwt_secret
    if not service:
        introduce(folder, user)
    if only_id:
        click.echo(user_id(user))
        return
    if not service:
        say(f"the id of {user} is {user_id(user)}")
    role = "service_role" if service else "authenticated"
    click.echo(sign_token(secret, user, lifetime_seconds=round(hours * 3600), role=role))


@asyouwere.command(short_help="psql as a local user.")
@data_option
@click.option("--user", default="demo", show_default=True, help="A name, as of asyouwere token.")
@click.option("--service", is_flag=True, help="As the role service_role, which the scheduler has.")
@click.option("-c", "--command", "commands", multiple=True, help="Run this and end; may be given again.")
@click.argument("psql_options", nargs=-1)
def psql(
    data: Path | None, user: str, service: bool, commands: tuple[str, ...], psql_options: tuple[str, ...]
) -> None:
    """Open psql on the running stack as a local user: what they see and may do, and no more.

    The role is authenticated and auth.uid() is the user's id, as when a Supabase client calls. From a file or a
    pipe the first error ends it. Options of psql's own follow after --.

    \b
    asyouwere psql --user ada
    asyouwere psql -c 'select name, message_count from sessions_list'
    asyouwere psql --user ada < examples.sql
    asyouwere psql -c 'select auth.uid()' -- -At
    """
    import os

    from asyouwere.local.psql import psql_arguments, psql_environment, run_psql
    from asyouwere.local.running import require_running
    from asyouwere.local.stack import data_folder, introduce, read_secrets

    folder = data_folder(data)
    running = require_running(folder)
    if not service:
        introduce(folder, user)
    role = "service_role" if service else "authenticated"
    password = read_secrets(folder).api_password
    run_psql(
        psql_arguments(user, commands, psql_options, typed=sys.stdin.isatty()),
        psql_environment(os.environ, running.database_url, password, user, role),
    )


@asyouwere.command(short_help="URLs and keys of what runs.")
@data_option
def keys(data: Path | None) -> None:
    """Print what clients of the running stack need, as lines for a .env file or for `export`.

    FUNCTIONS_URL, and with a local Supabase SUPABASE_URL, its keys, and the demo user's address and password.

    \b
    asyouwere keys > .env
    export $(asyouwere keys)
    """
    from asyouwere.local.stack import client_settings, data_folder

    for name, value in client_settings(data_folder(data)).items():
        click.echo(f"{name}={value}")


@asyouwere.command(short_help="The tables and functions, into a database.")
@database_option
@click.option("--dry-run", is_flag=True, help="Only say what would be applied.")
@click.option(
    "--bootstrap",
    is_flag=True,
    help="First give a plain Postgres what Supabase has (roles, the schema auth). Needs a superuser.",
)
@click.option("--logins", is_flag=True, help="Then make the two logins of `asyouwere logins`.")
def migrate(database_url: str | None, dry_run: bool, bootstrap: bool, logins: bool) -> None:
    """Bring a database up to date: apply what sql/migrations has and the database has not.

    May be run again, and by several at once. The history is the Supabase CLI's own, so `supabase db push`
    and this command know of each other's work.

    \b
    asyouwere migrate --database-url postgresql://postgres:…@db.example.org/postgres --dry-run
    asyouwere migrate --database-url postgresql://postgres:…@127.0.0.1/app --bootstrap
    """
    import os

    import psycopg

    from asyouwere.local import migrations
    from asyouwere.postgres.encryption import NotEncrypted

    if not database_url:
        raise LocalError("say which database: --database-url postgresql://… (or ASYOUWERE_DATABASE_URL)")
    try:
        ca = os.environ.get("ASYOUWERE_DATABASE_CA")
        migrations.migrate(database_url, ca=ca, bootstrap=bootstrap, logins=logins, dry_run=dry_run, say=say)
    except (psycopg.Error, NotEncrypted) as exc:
        raise LocalError(_first_line(exc)) from exc


@asyouwere.command(short_help="SQL of the functions' two logins.")
def logins() -> None:
    """Print SQL that makes two logins which can little, for functions that connect to Postgres themselves.

    asyouwere_api may act as users and visitors do, asyouwere_cleanup as the service; neither can do anything else.
    Their passwords are yours to set. For a SQL editor; `asyouwere migrate --logins` runs it.

    \b
    asyouwere logins
    asyouwere logins > logins.sql
    """
    from asyouwere.local.migrations import sql_folder

    click.echo((sql_folder() / "logins.sql").read_text(encoding="utf-8"), nl=False)


@asyouwere.command(short_help="What is wrong, here or with a deployment.")
@data_option
@database_option
@click.option(
    "--supabase-url", envvar="ASYOUWERE_SUPABASE_URL", help="Also ask the project's API: https://….supabase.co"
)
@click.option("--functions-url", help="Also ask the deployed functions: the address before their names.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list of {check, level, message, advice}.")
def doctor(
    data: Path | None,
    database_url: str | None,
    supabase_url: str | None,
    functions_url: str | None,
    as_json: bool,
) -> None:
    """Look at the stack that runs here, or at a deployment; change nothing, and say what to do.

    A line for each check: ok, warn, fail, or skip for what was not looked at. The exit code is 1 if one fails.
    Keys are looked at as far as the functions' settings (ASYOUWERE_…) are in the environment. No secret is printed.

    \b
    asyouwere doctor                     what `asyouwere run` has started
    asyouwere doctor --database-url postgresql://postgres:…@db.example.org/postgres
    asyouwere doctor --supabase-url https://….supabase.co --functions-url https://….cloudfunctions.net
    """
    import json
    import os

    from asyouwere.local.doctor import examine
    from asyouwere.local.running import find_running
    from asyouwere.local.stack import data_folder, doctor_settings

    folder = data_folder(data)
    running = find_running(folder)
    named = {database_url, supabase_url, functions_url} - {None}
    local = running is not None and named <= {
        running.database_url, running.supabase_url, running.functions_url
    }  # fmt: skip
    environ = doctor_settings(folder) if local else os.environ
    if running is not None and local:
        if not named:
            say(f"looking at the stack that runs with the data in {folder}")
            database_url, functions_url = running.database_url, running.functions_url
            supabase_url = running.supabase_url
    elif not named:
        raise LocalError(
            f"nothing runs with the data in {folder}: start `asyouwere run`, or say what to look at: "
            "--database-url (or ASYOUWERE_DATABASE_URL), --supabase-url, --functions-url"
        )
    findings = []
    for finding in examine(
        database_url, environ, supabase_url=supabase_url, functions_url=functions_url, local=local
    ):
        findings.append(finding)
        if not as_json:
            click.echo(str(finding))
    if as_json:
        click.echo(json.dumps([finding.as_dict() for finding in findings], indent=2))
    sys.exit(any(finding.level == "fail" for finding in findings))


def _first_line(exc: Exception) -> str:
    return str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__


def main() -> None:
    """The entry point: one line and exit code 1 for everything that a person can put right."""
    try:
        asyouwere(standalone_mode=False)
    except click.exceptions.Exit as exc:
        sys.exit(exc.exit_code)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except LocalError as exc:
        say(str(exc))
        sys.exit(1)


if __name__ == "__main__":
    main()
