"""The functions as they are deployed with telemetry: the archive with the exporter, and a collector that listens."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from asyouwere_infra.environment import TELEMETRY
from tests.functions.api import ISSUER, SECRET, token_for
from tests.functions.test_deployed import deployed
from tests.support.database import Db
from tests.support.install import unpack


@contextlib.contextmanager
def collecting() -> Iterator[tuple[str, list[tuple[str, str | None, bytes]]]]:
    """A collector's URL, and what it was sent: path, the header x-key, body."""
    sent: list[tuple[str, str | None, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append((self.path, self.headers.get("x-key"), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", sent
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.slow
def test_telemetry__is_at_the_collector_before_the_answer_is_here(shared: Db, tmp_path: Path) -> None:
    user = str(shared.user("observed"))
    with collecting() as (collector, sent):
        environment = {
            **TELEMETRY,
            "ASYOUWERE_DATABASE_URL": shared.api_dsn,
            "ASYOUWERE_JWT_SECRET": SECRET,
            "ASYOUWERE_JWT_ISSUER": ISSUER,
            "ASYOUWERE_TELEMETRY": "on",
            "ASYOUWERE_TELEMETRY_FLUSH": "on",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key=mine",
        }
        with deployed("asyouwere_api", unpack(tmp_path, telemetry=True), environment) as client:
            headers = {"Authorization": f"Bearer {token_for(user)}"}
            # the first answer may come before the exporter has its first connection: it waits a second at most
            for _ in range(5):
                assert client.post("/functions/v1/sessions", headers=headers, json={}).status_code == 201
            paths = {path for path, _, _ in sent}
            assert paths == {"/v1/traces", "/v1/metrics"}
            assert {key for _, key, _ in sent} == {"mine"}
            assert any(b"get_or_create_session" in body for path, _, body in sent if path == "/v1/traces")
