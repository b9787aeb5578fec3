"""The local servers' logs do not fill the disk."""

from __future__ import annotations

import os
from pathlib import Path

from asyouwere.local.functions_server import FunctionsServer
from asyouwere.local.loopback_server import LOG_BYTES


def test_bound_log__begins_anew_where_it_is_large_and_keeps_what_was(tmp_path: Path) -> None:
    server = FunctionsServer({}, log=tmp_path / "functions.log")
    server.bound_log()  # there is none yet
    output = os.open(server.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)  # as launch() opens it
    try:
        os.write(output, b"small\n")
        server.bound_log()
        assert server.log.read_bytes() == b"small\n"
        os.write(output, b"x" * LOG_BYTES + b"\n")
        server.bound_log()
        os.write(output, b"after\n")
    finally:
        os.close(output)
    old = tmp_path / "functions.log.old"
    assert server.log.read_bytes() == b"after\n"
    assert old.stat().st_size == LOG_BYTES + 7
    assert old.stat().st_mode & 0o777 == 0o600
