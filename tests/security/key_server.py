"""An issuer's key server that counts who asks, and misbehaves on demand."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import jwt

STRANGER = "http://127.0.0.1:1/keys.json"

# What it does instead of an answer: status, headers, body, and how long it takes over each piece of that.
MISBEHAVIOURS: dict[str, tuple[int, dict[str, str], bytes, float]] = {
    "not found": (404, {}, b'{"keys": []}', 0),
    "no keys": (200, {}, b'{"keys": []}', 0),
    "no list of keys": (200, {}, b'{"keys": 7}', 0),
    "another object": (200, {}, b"{}", 0),
    "a list": (200, {}, b"[]", 0),
    "a page": (200, {"Content-Type": "text/html"}, b"<html>Sign in</html>", 0),
    "not UTF-8": (200, {}, b"\xff\xfe\x00", 0),
    "empty": (200, {}, b"", 0),
    "deep": (200, {}, b'{"keys":' + b"[" * 100_000, 0),
    "large": (200, {}, b" " * 300_000 + b'{"keys": []}', 0),
    "cut off": (200, {"Content-Length": "100000"}, b'{"keys": [', 0),
    "odd keys": (
        200,
        {},
        b'{"keys": [{"kid": "rsa", "kty": "RSA", "n": "AQAB", "e": ""}, null, 7, {"kid": {}}]}',
        0,
    ),
    "redirects": (302, {"Location": STRANGER}, b"", 0),
    "redirects to itself": (301, {"Location": "/jwks.json"}, b"", 0),
    "drips": (200, {}, b'{"keys": []}', 0.2),
}


class KeyServer:
    """Serves a key document and counts who asks; can be away or misbehave."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.asked = 0
        self.away = False
        self._instead: tuple[int, dict[str, str], bytes, float] | None = None
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked += 1
                if server._instead is not None:
                    self.misbehave(*server._instead)
                    return
                body = json.dumps({"keys": server.keys}).encode()
                self.send_response(500 if server.away else 200)
                self.end_headers()
                self.wfile.write(b"" if server.away else body)

            def misbehave(self, status: int, headers: dict[str, str], body: bytes, seconds: float) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                pieces = [body[n : n + 1] for n in range(len(body))] if seconds else [body]
                with contextlib.suppress(OSError):
                    for piece in pieces:
                        time.sleep(seconds)
                        self.wfile.write(piece)

            def log_message(self, *_: object) -> None:
                """Nothing on the terminal."""

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/jwks.json"

    def misbehave(self, how: str | None) -> None:
        """From now on, one of MISBEHAVIOURS; None: well again."""
        self._instead = None if how is None else MISBEHAVIOURS[how]

    @contextlib.contextmanager
    def serving(self) -> Iterator[KeyServer]:
        """Answers until the end of the block."""
        thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.http.shutdown()
            self.http.server_close()
            thread.join()

    def publish(self, kid: str, key: Any, algorithm: type[jwt.algorithms.Algorithm], **more: Any) -> None:
        public = json.loads(algorithm.to_jwk(key.public_key()))
        public.pop("key_ops", None)
        self.keys.append({**public, "kid": kid, **more})
