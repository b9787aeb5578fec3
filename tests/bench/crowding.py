"""Many connections at once, driven by `pgbench`, which costs next to nothing itself."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from tests.bench.measurements import Figure, Target, number, percentile
from tests.bench.place import Place
from tests.bench.texts import Messages

GROUP = "Many at once (SQL)"

CONNECTIONS = 16
SESSIONS = 1_000

# pgbench knows numbers only, so the ids of the sessions are made from them.
PREFIX = "00000000-0000-4000-8000-"
MAKE_SESSIONS = """
    insert into public.free_agent_sessions (id, user_id)
    select (%s || lpad(n::text, 12, '0'))::uuid, %s from generate_series(0, %s) n
"""
ONE = f"'{PREFIX}{0:012}'::uuid"
OTHER = f"'{PREFIX}{SESSIONS + 1:012}'::uuid"
ANY = f"('{PREFIX}' || lpad(:session::text, 12, '0'))::uuid"

SAVE_ANY = f"""
\\set session random(1, {SESSIONS})
\\set step random(1, 1000000000)
select number from public.save_session_parts({ANY}, '{{append,set}}', '{{/messages/,/step/}}', '{{null,-1}}',
    array['MESSAGE', :step::text]);
"""
SAVE_ONE = f"""
\\set step random(1, 1000000000)
select number from public.save_session_parts({ONE}, '{{append,set}}', '{{/messages/,/step/}}', '{{null,-1}}',
    array['MESSAGE', :step::text]);
"""
# Each client gives the number it got as the base of its next save, so others' messages are merged.
MERGE_ONE = f"""
select number from public.save_session_parts({OTHER}, '{{append}}', '{{/messages/}}', '{{null}}',
    array['MESSAGE'], p_base => :number) \\gset
"""
INSERT_ANY = f"""
\\set session random(1, {SESSIONS})
\\set step random(1, 1000000000)
insert into bench.parts (session, created_at, since, item, ord, size, depth, kind, path, body) values
    (:session, now(), :step, :step, 1, 900, 1, 'i', '/messages/', 'MESSAGE'),
    (:session, now(), :step, :step, 2, 900, 1, 'v', '/step/', :step::text);
"""


@dataclass
class Crowd:
    """What a run of pgbench gave: transactions a second, and each one's time in milliseconds, in order."""

    rate: float
    times: list[float]


def measure(place: Place) -> Iterator[Figure]:
    """1,000 sessions; one session; one session with merging. Deadlocks over all of it."""
    with place.fresh() as elsewhere:
        elsewhere.superuser.execute(MAKE_SESSIONS, (PREFIX, elsewhere.user_id, SESSIONS + 1))
        bear_numbers(elsewhere, SESSIONS + 1)
        elsewhere.settle()
        bare = crowd(elsewhere, INSERT_ANY)
        yield _rate("bare inserts of two rows", bare, None)
        yield _rate(f"saves into {SESSIONS:,} sessions", crowd(elsewhere, SAVE_ANY), bare)
        yield _rate("saves into one session", crowd(elsewhere, SAVE_ONE), bare)
        yield _rate("saves into one session, all merging", crowd(elsewhere, MERGE_ONE), bare)
        elsewhere.superuser.execute("select pg_stat_force_next_flush()")
        row = elsewhere.superuser.execute(
            "select deadlocks from pg_stat_database where datname = current_database()"
        ).fetchone()
        assert row is not None
        yield Figure(GROUP, "deadlocks in all of these", row[0], "", Target(0))


def bear_numbers(place: Place, last: int) -> None:
    """A first save in all sessions from 0 to `last`: a list to append to, a step and a note to replace."""
    connection = place.connect_as_user()
    for session in range(last + 1):
        connection.execute(
            "select public.create_session_snapshot(%s, p_state => %s)",
            (uuid.UUID(f"{PREFIX}{session:012}"), '{"messages":[],"step":0,"note":"none"}'),
            prepare=True,
        )


def _rate(name: str, crowd: Crowd, bare: Crowd | None) -> Figure:
    times = f"p50 {number(percentile(crowd.times, 50))} ms, p99 {number(percentile(crowd.times, 99))} ms"
    share = f"; {100 * crowd.rate / bare.rate:.0f} % of the bare inserts' rate" if bare else ""
    return Figure(
        GROUP,
        f"{CONNECTIONS} connections: {name}",
        crowd.rate,
        "/s",
        samples=len(crowd.times),
        detail=f"{times}{share}",
    )


def crowd(place: Place, script: str, *, clients: int = CONNECTIONS, transactions: int | None = None) -> Crowd:
    """Run a script with all connections, acting as the user, statements prepared.

    transactions: so many for each connection; default: for some seconds.
    """
    where = conninfo_to_dict(place.api_dsn)
    claims = place.claims.replace(" ", "").replace("\\", "\\\\")
    environment = {
        **os.environ,
        "PGHOST": str(where["host"]),
        "PGPORT": str(where["port"]),
        "PGUSER": str(where["user"]),
        "PGPASSWORD": str(where["password"]),
        "PGDATABASE": str(where["dbname"]),
        "PGOPTIONS": f"-c role=authenticated -c request.jwt.claims={claims}",
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "script.sql"
        file.write_text(script.replace("MESSAGE", _plain_message()))
        command = [
            str(place.stack.postgres.binaries.program("pgbench")),
            *("--no-vacuum", "--protocol=prepared", "--define=number=1"),
            *(f"--client={clients}", "--jobs=2"),
            f"--transactions={transactions}" if transactions else f"--time={place.rounds(15, 4)}",
            *(f"--file={file}", "--log", f"--log-prefix={folder}/times"),
        ]
        ran = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        found = re.search(r"^tps = ([0-9.]+)", ran.stdout, re.MULTILINE)
        if ran.returncode != 0 or found is None:
            raise RuntimeError(f"pgbench failed: {ran.stderr.strip()}")
        # client, number, microseconds, script, seconds and microseconds of its end
        ended = sorted(
            (int(fields[4]), int(fields[5]), int(fields[2]) / 1000)
            for log in Path(folder).glob("times*")
            for fields in map(str.split, log.read_text().splitlines())
        )
    return Crowd(float(found.group(1)), [milliseconds for *_, milliseconds in ended])


def _plain_message() -> str:
    """A message of prose without anything that pgbench or SQL would take for their own."""
    text = re.sub(r"[^A-Za-z0-9 .,]", " ", Messages(13, mean=10_000)())
    return f'{{"role" "user","content" "{text[:850]}"}}'.replace('" "', '": "', 1).replace('" "', '": "', 1)
