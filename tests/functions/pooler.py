"""A PgBouncer in transaction mode, run by an ordinary user in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

PROGRAM = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"


@contextlib.contextmanager
def pooler(dsn: str, *, server_connections: int, clients: int = 200) -> Iterator[str]:
    """The connection string through the pooler, whose clients share that few server connections. clients: how many it
    takes; as many as Supabase's does with the smallest plans."""
    if not Path(PROGRAM).exists():
        pytest.skip("needs Debian's package pgbouncer")
    folder = Path(tempfile.mkdtemp(prefix="asyouwere-pooler-"))  # where an ordinary user may go, too
    to = conninfo_to_dict(dsn)
    user, password = to["user"], to.get("password") or "asyouwere"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    users, config = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text(f'"{user}" "{password}"\n')
    config.write_text(
        f"""[databases]
* = host={to["host"]} port={to["port"]} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = {server_connections}
max_client_conn = {clients}
server_reset_query =
logfile = {folder / "pgbouncer.log"}
"""
    )
    step_down: dict[str, int] = {}
    if os.geteuid() == 0:  # which it refuses
        nobody = pwd.getpwnam("nobody")
        step_down = {"user": nobody.pw_uid, "group": nobody.pw_gid}
        for path in (folder, users, config):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    process = subprocess.Popen(
        [PROGRAM, str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **step_down
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, (
                "pgbouncer did not start: " + (folder / "pgbouncer.log").read_text()
            )
            assert time.monotonic() < deadline, "pgbouncer does not listen"
            time.sleep(0.05)
        yield f"postgresql://{user}:{password}@127.0.0.1:{port}/{to['dbname']}"
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
