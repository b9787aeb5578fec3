"""Where the clients are tried: a Supabase at one URL.

ASYOUWERE_TEST_SUPABASE_URL            any Supabase with asyouwere's migrations, hosted or local, instead of our own
ASYOUWERE_TEST_SUPABASE_ANON_KEY       its keys
ASYOUWERE_TEST_SUPABASE_SERVICE_KEY

By default a local stack is started, once with @supabase/lite's REST and once with a real PostgREST. Sign-ups must
be allowed and need no confirmation; every user here has an address of their own at example.org.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from asyouwere.local.stack import API_ROLE, LocalStack
from tests.support.cluster import new_folder
from tests.support.postgrest import running_postgrest


@dataclass(frozen=True)
class Place:
    """A Supabase: where, and its keys. stack: ours, where we started it."""

    url: str
    anon_key: str
    service_key: str
    stack: LocalStack | None = None


@contextlib.contextmanager
def given_place() -> Iterator[Place]:
    """The one that the settings name."""
    names = ("URL", "ANON_KEY", "SERVICE_KEY")
    url, anon, service = (os.environ.get(f"ASYOUWERE_TEST_SUPABASE_{name}", "") for name in names)
    if not url:
        pytest.skip("needs a Supabase: ASYOUWERE_TEST_SUPABASE_URL names none")
    yield Place(url.rstrip("/"), anon, service)


@contextlib.contextmanager
def lite_place() -> Iterator[Place]:
    """What `asyouwere run` starts."""
    root = new_folder()
    root.chmod(0o711)
    said: list[str] = []
    stack = LocalStack(
        root / "data", port=0, postgres_port=0, supabase_port=0, supabase=True, say=said.append
    )
    try:
        with stack:
            assert stack.supabase.running, said
            yield Place(stack.supabase.url, stack.api_key("anon"), stack.api_key("service_role"), stack)
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def postgrest_place(lite: Place) -> Iterator[Place]:
    """The local stack's users, functions and database, and a real PostgREST for /rest/v1."""
    stack = lite.stack
    assert stack is not None
    dsn = stack.postgres.dsn_for("postgres", API_ROLE, stack.secrets.api_password)
    with running_postgrest(dsn, stack.secrets.jwt_secret) as real, tempfile.TemporaryDirectory() as folder:
        front = type(stack.supabase)(Path(folder))
        front.settings = {**stack.supabase.settings, "restPort": int(real.url.rpartition(":")[2])}
        front.start()
        try:
            yield Place(front.url, lite.anon_key, lite.service_key, stack)
        finally:
            front.stop()
