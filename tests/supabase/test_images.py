"""The images that tests/containers pulls are those that the Supabase CLI of tests/node would start."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator

import pytest

from tests.containers.engine import POSTGREST, SUPABASE_POSTGRES
from tests.supabase.cli import ROOT

PROGRAMS = sorted((ROOT / "tests/node/node_modules/@supabase").glob("cli-*/bin/supabase"))


def tags(image: bytes) -> Iterator[str]:
    """Every tag of an image that the CLI has in it; of Postgres it has some old ones too."""
    with PROGRAMS[0].open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for found in re.finditer(rb"\b" + image + rb":(v?[0-9]+(?:\.[0-9]+)+)", content):
            yield found[1].decode()


def newest(image: bytes) -> str:
    return max(tags(image), key=lambda tag: [int(number) for number in re.findall(r"\d+", tag)])


def test_images__are_those_that_the_cli_carries() -> None:
    if not PROGRAMS:
        pytest.skip("needs the Supabase CLI: scripts/setup test installs it where there is Node")
    assert f"supabase/postgres:{newest(b'supabase/postgres')}" == SUPABASE_POSTGRES
    assert set(tags(b"postgrest/postgrest")) == {POSTGREST.partition(":")[2]}
