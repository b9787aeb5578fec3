"""What of a Supabase project can be had here: its REST API (a real PostgREST) and its key set, at the project's paths."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx


@contextlib.contextmanager
def project(
    postgrest_url: str | None,
    keys: Any = None,
    *,
    keys_status: int = 200,
    rest_key: str | None = None,
    rest_status: int = 404,
    rest_body: str = "{}",
) -> Iterator[str]:
    """The project's URL. keys: what is at /auth/v1/.well-known/jwks.json; text is sent as it is. rest_key: the only
    key that the gateway lets to the REST API. rest_status, rest_body: what it says where no PostgREST is."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.path == "/auth/v1/.well-known/jwks.json":
                self.send(keys_status, keys if isinstance(keys, str) else json.dumps(keys))
            elif self.path.startswith("/rest/v1/") and rest_key not in (None, self.headers.get("apikey")):
                self.send(401, "{}")
            elif self.path.startswith("/rest/v1/") and postgrest_url:
                # what the project's gateway keeps to itself
                passed = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "apikey")}
                answer = httpx.request(
                    self.command, postgrest_url + self.path.removeprefix("/rest/v1"), headers=passed, content=body, timeout=30
                )
                self.send(answer.status_code, answer.text)
            elif self.path.startswith("/rest/v1/"):
                self.send(rest_status, rest_body)
            else:
                self.send(404, "{}")

        do_GET = do_POST = answer

        def send(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
