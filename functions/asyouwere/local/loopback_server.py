"""A server of ours on a loopback port, a process of its own: it can be stopped, killed and started again.

The parent opens the port and hands it over: the server never finds it taken. The child watches a pipe to its
parent and ends when the parent does, however that happens.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from asyouwere.local.errors import ServerFailed
from asyouwere.local.ports import LOOPBACK, free_port

START_SECONDS = 30
STOP_SECONDS = 10
LOG_BYTES = 10_000_000  # some 40,000 requests
READY_PATH = "/readyz"  # answers 200 when the database answers, too


class LoopbackServer:
    """One server process on a loopback port; a subclass says which.

    environment: variables for the child, passed on as they are; no other ASYOUWERE_… variable reaches it.
    log: where its output goes (appended). port: tried first, else the next free one; 0 means any. Kept over
    stop() or kill() and start().
    """

    name = "server"

    def __init__(self, environment: Mapping[str, str], *, log: Path, port: int = 0) -> None:
        self.environment = dict(environment)
        self.log = log
        self.port = port
        self._started = False
        self._process: subprocess.Popen[bytes] | None = None

    def _command(self, descriptor: int) -> list[str]:
        """The program that serves on the listening socket of this number."""
        raise NotImplementedError

    def _greeting(self) -> bytes:
        """What the child is told through its pipe before anything else."""
        return b""

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id; 0 when it is not running."""
        return self._process.pid if self._process is not None and self.running else 0

    def start(self) -> None:
        """Start and wait until it answers. Raises ServerFailed with the last line of the log."""
        if self.running:
            return
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start without waiting, so that two servers can start side by side."""
        with self._listen() as listener:
            self.port = listener.getsockname()[1]
            # 0600: the log of a person's requests is theirs.
            output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                self._process = subprocess.Popen(
                    self._command(listener.fileno()),
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=[listener.fileno()],
                    env=self._child_environment(),
                    start_new_session=True,  # Ctrl-C reaches us, and we stop it in order
                )
            finally:
                os.close(output)
        self._started = True

    def wait_until_ready(self) -> None:
        """Tell the launched child what it needs and wait until it answers. Raises ServerFailed."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        deadline = time.monotonic() + START_SECONDS
        try:
            process.stdin.write(self._greeting())
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, which is seen below
        while (status := self._status()) != 200:
            ended = process.poll() is not None
            # 503: it runs, and the database is not there yet. Any other answer will stay as it is.
            if ended or status not in (None, 503) or time.monotonic() > deadline:
                self.kill()
                why = self._last_line()
                raise ServerFailed(f"the {self.name} server did not start: {why} (see {self.log})")
            time.sleep(0.05)

    def bound_log(self) -> None:
        """Begin the log anew once it has LOG_BYTES; what it had is beside it as .old, until the next time.

        The server appends, so that it goes on at the new beginning; a line written in this moment may be lost.
        """
        with contextlib.suppress(FileNotFoundError):
            if self.log.stat().st_size >= LOG_BYTES:
                shutil.copy(self.log, f"{self.log}.old")  # with its mode: it stays its owner's
                os.truncate(self.log, 0)

    def stop(self) -> None:
        """Let running requests end, then stop; harmless when it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        self._reap(process)

    def kill(self) -> None:
        """SIGKILL, as a crash would: requests in flight get no answer."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            self._reap(process)

    def wait(self) -> int:
        """Wait until the process ends by itself, which it should not; its exit code."""
        return self._process.wait() if self._process is not None else 0

    @staticmethod
    def _reap(process: subprocess.Popen[bytes]) -> None:
        process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def _listen(self) -> socket.socket:
        """The listening socket: on the wanted port, else, at the first start, on the next free one."""
        wanted = self.port
        for _ in range(20):
            port = self.port if self._started else free_port(wanted)
            try:
                return socket.create_server((LOOPBACK, port), backlog=512)
            except OSError as exc:
                if self._started:
                    raise ServerFailed(f"port {port} was taken by another program: stop that one") from exc
                wanted = port + 1 if wanted else 0  # somebody was faster than we
        raise ServerFailed(f"no free port for the {self.name} server: name another one")

    def _child_environment(self) -> dict[str, str]:
        """The person's environment without settings of ours that it may contain, then the given ones."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ASYOUWERE_")}
        return {**kept, "PYTHONUNBUFFERED": "1", **self.environment}

    def _status(self) -> int | None:
        """The HTTP status of the readiness check; None if nothing answers."""
        address = f"http://{LOOPBACK}:{self.port}{READY_PATH}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy
        try:
            with opener.open(address, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code
        except OSError:
            return None

    def _last_line(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else "it said nothing"
