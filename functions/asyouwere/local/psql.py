"""psql as a local user, under row level security: what `asyouwere psql --user ada` becomes.

The login is the API's own, `authenticator`, which has no right but to become the role it is given; role and claims
are set by the connection itself, so the first statement is already the person's, and `reset role` leads nowhere.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict

from asyouwere.local.binaries import from_wheel
from asyouwere.local.errors import PostgresMissing
from asyouwere.local.tokens import claims_of
from asyouwere.postgres.encryption import encrypted

#: What `encrypted` settles, as psql's variables.
_ENCRYPTION = {"sslmode": "PGSSLMODE", "gssencmode": "PGGSSENCMODE", "require_auth": "PGREQUIREAUTH"}


def psql_program() -> str:
    """The embedded Postgres's psql, else the system's. Raises PostgresMissing."""
    try:
        return str(from_wheel(18).program("psql"))
    except PostgresMissing:
        found = shutil.which("psql")
        if found is None:
            raise PostgresMissing(
                "there is no psql: pip install 'asyouwere[local]', or install postgresql-client"
            ) from None
        return found


def psql_environment(
    environ: Mapping[str, str], database_url: str, password: str, user: str, role: str
) -> dict[str, str]:
    """The person's environment, in which psql is connected as that local user.

    database_url: says where Postgres is; password: of `authenticator`. In the environment, not on the command
    line, which every user of the machine can read. PG* variables of the person's own are left out.
    """
    claims = json.dumps(claims_of(user, role), separators=(",", ":"))
    options = {"role": role, "request.jwt.claims": claims}
    where = urlsplit(database_url)
    line = conninfo_to_dict(encrypted(database_url))
    kept = {name: value for name, value in environ.items() if not name.startswith("PG")}
    return {
        **kept,
        "PGHOST": str(where.hostname),
        "PGPORT": str(where.port),
        "PGDATABASE": where.path[1:],
        "PGUSER": "authenticator",
        "PGPASSWORD": password,
        **{variable: str(line[name]) for name, variable in _ENCRYPTION.items() if name in line},
        "PGOPTIONS": " ".join(f"-c {name}={_escaped(value)}" for name, value in options.items()),
    }


def psql_arguments(user: str, commands: Sequence[str], more: Sequence[str], *, typed: bool) -> list[str]:
    """psql's own arguments. typed: a person sits at it; else the first error ends it, with exit code 3."""
    arguments = ["--no-password"]
    if typed and not commands:
        name = user.replace("%", "%%")
        arguments += [f"--set=PROMPT1={name}@%/%R%x%# ", f"--set=PROMPT2={name}@%/%R%x%# "]
    else:
        arguments += ["--no-psqlrc", "--set=ON_ERROR_STOP=1"]
    return [*arguments, *(f"--command={command}" for command in commands), *more]


def run_psql(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Become psql: signals, terminal and exit code are its own. Does not return."""
    program = psql_program()
    os.execve(program, [program, *arguments], dict(environment))


def _escaped(value: str) -> str:
    """A value in PGOPTIONS, where white space parts and a backslash takes away a character's meaning."""
    return "".join(f"\\{letter}" if letter.isspace() or letter == "\\" else letter for letter in value)
