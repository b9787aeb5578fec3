"""Random sequences against the HTTP functions. How many, and how to play one again: test_sequences_sql.py."""

from __future__ import annotations

import pytest

from tests.property.checks import Storage
from tests.property.http_driver import HttpDriver
from tests.property.seeds import batches
from tests.property.sequences import play_seed


@pytest.mark.parametrize("seeds", batches(), ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_http__random_sequences(functions: HttpDriver, storage: Storage, seeds: range) -> None:
    for seed in seeds:
        play_seed(functions, storage, seed)


# One batch: what is played is the same, only the way to the database differs.
@pytest.mark.parametrize("seeds", batches()[:1], ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_http__random_sequences_over_postgrest(
    functions_over_postgrest: HttpDriver, storage: Storage, seeds: range
) -> None:
    for seed in seeds:
        play_seed(functions_over_postgrest, storage, seed)
