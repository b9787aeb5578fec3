"""The line between a browser and the functions: a proxy that can be slow, cut, or lose answers. And the page's files.

The page and the functions have ports of their own, so that requests cross origins, as in most people's apps.
"""

from __future__ import annotations

import contextlib
import mimetypes
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Line", "Seen", "serving_files", "serving_line"]

_LOOPBACK = "127.0.0.1"
_NOT_PASSED_ON = {"connection", "transfer-encoding", "content-length", "keep-alive", "host"}


@dataclass
class Seen:
    """A request that came through: when (monotonic seconds), what, and how long its body was."""

    at: float
    method: str
    path: str
    body: bytes
    answered: int | None = None


@dataclass
class Line:
    """What the proxy does to requests from now on."""

    to: str
    url: str = ""
    delay: float = 0.0  # seconds before a request is passed on
    answer_delay: float = 0.0  # seconds before its answer is
    is_down: bool = False  # connections are closed at once, as if no server was there
    answer: tuple[int, bytes] | None = None  # what every request gets in place of the functions' answer
    loses_answers: int = 0  # of so many requests to come the answer is lost
    seen: list[Seen] = field(default_factory=list)

    def saves(self) -> list[Seen]:
        """The saves among what was seen."""
        return [one for one in self.seen if one.method == "POST" and one.path.endswith("session-snapshot-save")]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that was killed is no error."""


@contextlib.contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = _Server((_LOOPBACK, 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{_LOOPBACK}:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@contextlib.contextmanager
def serving_files(roots: dict[str, Path]) -> Iterator[str]:
    """Folders under the first part of a path (`/pages/…`); the URL. Nothing is cached but for the back/forward cache."""

    class Files(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            _, first, *rest = urlsplit(self.path).path.split("/")
            root = roots.get(first)
            file = root.joinpath(*rest) if root else None
            body = file.read_bytes() if file and file.is_file() and ".." not in rest else None
            self.send_response(200 if body is not None else 404)
            kind = mimetypes.guess_type(file.name)[0] if file else None
            self.send_header("Content-Type", "text/javascript" if self.path.endswith(".js") else kind or "text/plain")
            self.send_header("Content-Length", str(len(body or b"")))
            self.send_header("Cache-Control", "no-cache")
            self.end_headers()
            self.wfile.write(body or b"")

    with _serving(Files) as url:
        yield url


@contextlib.contextmanager
def serving_line(to: str) -> Iterator[Line]:
    """A proxy before the functions at `to`; what it does is set at the Line."""
    line = Line(to)

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def _pass_on(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else b""
            if line.is_down:
                self._cut()
                return
            seen = Seen(time.monotonic(), self.command, urlsplit(self.path).path, body)
            line.seen.append(seen)
            is_asked = self.command != "OPTIONS"
            if is_asked and line.delay:
                time.sleep(line.delay)
            if is_asked and line.answer is not None:
                status, answer = line.answer
                headers = [("Content-Type", "application/json"), ("Access-Control-Allow-Origin", "*")]
            elif "event-stream" in (self.headers.get("Accept") or ""):
                seen.answered = 200
                self._stream()
                return
            else:
                status, headers, answer = self._asked(body)
            seen.answered = status
            if is_asked and line.answer_delay:
                time.sleep(line.answer_delay)
            if is_asked and line.loses_answers > 0:
                line.loses_answers -= 1
                self._cut()
                return
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in _NOT_PASSED_ON:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(answer)

        def _asked(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            target = urlsplit(line.to)
            connection = HTTPConnection(target.hostname or "", target.port, timeout=120)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_PASSED_ON}
            headers["Accept-Encoding"] = "identity"
            try:
                connection.request(self.command, self.path, body or None, headers)
                answer = connection.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            finally:
                connection.close()

        def _stream(self) -> None:
            """Passes an event stream on as it comes, until either side ends it."""
            target = urlsplit(line.to)
            connection = HTTPConnection(target.hostname or "", target.port, timeout=120)
            passed_on = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_PASSED_ON}
            try:
                connection.request(self.command, self.path, None, passed_on)
                answer = connection.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _NOT_PASSED_ON:
                        self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                with contextlib.suppress(OSError):
                    while piece := answer.read1(65536):
                        self.wfile.write(piece)
                        self.wfile.flush()
            finally:
                connection.close()
                self.close_connection = True

        def _cut(self) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _pass_on

    with _serving(Proxy) as url:
        line.url = url
        yield line
