"""Python clients that edit at random, make answers, lose theirs, ask twice and late, and are killed, while old numbers
are pruned; the real server is the oracle. In the end all are equal to it, and each message is there once.

ASYOUWERE_CLIENT_SEQUENCES   how many sequences; 60 by default
ASYOUWERE_CLIENT_SEED        the first one's seed
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from asyouwere.client import autosave, endings, opening, turns
from tests.functions.api import BASE, serving, settings_for
from tests.support.database import Db
from tests.trust.clients import World
from tests.trust.report import Outcome

SEQUENCES = int(os.environ.get("ASYOUWERE_CLIENT_SEQUENCES", "60"))
SEED = int(os.environ.get("ASYOUWERE_CLIENT_SEED", "1"))
LANES = 4


@dataclass
class Url:
    url: str


@dataclass
class Surroundings:
    user: str
    folder: Path
    functions: Url
    environment: dict[str, str]


@pytest.fixture
def functions(shared: Db) -> Iterator[Url]:
    with serving(settings_for(shared.api_dsn)) as url:
        yield Url(url + BASE)


@pytest.mark.anyio
async def test_clients__whatever_they_do__end_as_the_server_is(
    shared: Db, functions: Url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (autosave, endings, opening, turns):
        monkeypatch.setattr(module, "backoff", lambda failures, retry_after=None: 0.002 * failures)
    outcome = Outcome("clients")
    environment = {"ASYOUWERE_DATABASE_URL": shared.api_dsn}
    seeds = iter(range(SEED, SEED + SEQUENCES))

    async def lane() -> None:
        for seed in seeds:
            chance, folder = random.Random(f"sequence {seed}"), tmp_path / str(seed)
            place = Surroundings(str(shared.user(f"sequence {seed}")), folder, functions, environment)
            kinds = ["functions", chance.choice(("functions", "postgres")), "functions", "postgres"]
            world = World(outcome, place, str(seed), kinds)
            try:
                await world.play(chance.randint(10, 40))
                await world.settle()
            except Exception as exc:
                raise AssertionError(f"sequence {seed}: {exc!r}") from exc
            finally:
                await world.close()
            shutil.rmtree(folder)

    async with anyio.create_task_group() as group:
        for _ in range(LANES):
            group.start_soon(lane)
    assert outcome.held, outcome.failures[:3]
    assert {"crashes", "turns", "turns cut off", "prunes", "answer lost", "twice, later"} <= outcome.figures.keys()
