"""A Redis of the bench's own, on loopback, and the npm packages that the AI SDK resumes streams with."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

from asyouwere.local.errors import LocalError
from asyouwere.local.node import find_node
from asyouwere.local.ports import LOOPBACK, free_port

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).parent / "resumable" / "stream.mjs"
READY_SECONDS = 10.0


class NoRedis(LocalError):
    """There is no Redis to compare with."""


class Redis:
    """A server on a random port that appends what changes to a file every second, as Redis' manual advises.

    Debian's own settings keep less: a copy of the memory every few minutes. Raises NoRedis.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._program, self.node = _installed()

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Redis:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start and wait until it answers."""
        settings = {"port": self.port, "bind": LOOPBACK, "dir": self.folder, "appendonly": "yes", "save": ""}
        arguments = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
        self._process = subprocess.Popen(
            [self._program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise NoRedis("redis-server does not start")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def written(self) -> int:
        """Bytes of the file that it appends to."""
        return sum(path.stat().st_size for path in self.folder.rglob("*.aof"))

    def _answers(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def _installed() -> tuple[str, str]:
    """redis-server from Debian, and Node.js with the packages; both are installed if they can be."""
    subprocess.run([str(ROOT / "scripts" / "debian-packages"), "redis-server"], check=False)
    program = shutil.which("redis-server")
    if program is None:
        raise NoRedis("no redis-server is installed (Debian: apt-get install redis-server)")
    node = find_node().program
    packages = [str(ROOT / "scripts" / "node-packages"), str(PROGRAM.parent)]
    if subprocess.run(packages, check=False).returncode != 0:
        raise NoRedis("npm could not install resumable-stream")
    return program, node
