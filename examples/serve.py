"""Runs one example, on top of what `asyouwere run` starts, until Ctrl-C.

    python -m examples.serve sidebar                     prints the address first
    python -m examples.serve sidebar idle_seconds=60     with settings of the example's own; its README lists them

Uses the stack that `make run` has running in this folder; starts one, and ends it with itself, if there is none.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from asyouwere.local.errors import LocalError
from asyouwere.local.ports import LOOPBACK, free_port
from asyouwere.local.running import find_running
from asyouwere.local.stack import LocalStack, data_folder, read_secrets
from asyouwere.local.tokens import sign_token
from examples.building import build_example, names
from examples.pages import complete
from examples.stack import Stack

PORT = 8790


def say(line: str) -> None:
    """One line for the person; standard output is for the address."""
    print(f"asyouwere: {line}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def functions_here(folder: Path) -> Iterator[str]:
    """The URL of the functions that run with this data folder; they are started where none do."""
    running = find_running(folder)
    if running is not None:
        yield running.functions_url
        return
    with LocalStack(folder, say=say) as stack:
        yield stack.url


def settings_of(arguments: list[str]) -> dict[str, Any]:
    """`idle_seconds=60 mode=revive` as a dict: what is JSON is a value, all else text."""
    settings: dict[str, Any] = {}
    for name, _, value in (argument.partition("=") for argument in arguments):
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    return settings


def serve(name: str, settings: dict[str, Any]) -> None:
    """Build, start, print the address, serve until interrupted. Raises LocalError."""
    dist = build_example(name, say)
    if dist is None:
        raise LocalError("there is no page to serve: see above")
    folder = data_folder()
    with functions_here(folder) as url:
        secret = read_secrets(folder).jwt_secret

        def sign(user: str | None, seconds: float) -> str:
            role = "service_role" if user is None else "authenticated"
            return sign_token(secret, user or "service", lifetime_seconds=round(seconds), role=role)

        own = folder / "examples" / name
        own.mkdir(parents=True, exist_ok=True)
        stack = Stack(url, own, sign, options=settings)
        app = complete(importlib.import_module(f"examples.{name}.server").create(stack), dist, stack)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3)
        # listens before its address is told, so that nobody asks too early
        with socket.create_server((LOOPBACK, free_port(PORT))) as listener:
            print(f"http://{LOOPBACK}:{listener.getsockname()[1]}/", flush=True)
            say(f"the example {name} is running; Ctrl-C stops it, the data stay in {folder}")
            uvicorn.Server(config).run(sockets=[listener])


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """End in order on `kill`, and when the terminal is closed, as on Ctrl-C."""
    raise KeyboardInterrupt


def main(arguments: list[str]) -> None:
    """The command line."""
    if not arguments or arguments[0] not in names():
        sys.exit(f"say which example: make example NAME={'|'.join(names())}")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            serve(arguments[0], settings_of(arguments[1:]))
        except LocalError as exc:
            sys.exit(f"asyouwere: {exc}")


if __name__ == "__main__":
    main(sys.argv[1:])
