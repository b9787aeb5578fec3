"""Random sequences against the SQL functions.

pytest tests/property                                   a few hundred
ASYOUWERE_SEQUENCES=2000 pytest tests/property            2,000 for each driver
ASYOUWERE_SEED=417 ASYOUWERE_SEQUENCES=1 pytest tests/property/test_sequences_sql.py     one again, by its seed
"""

from __future__ import annotations

import pytest

from tests.property.checks import Storage
from tests.property.seeds import batches
from tests.property.sequences import play_seed
from tests.property.sql_driver import SqlDriver


@pytest.mark.parametrize("seeds", batches(), ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_sql__random_sequences(sql_driver: SqlDriver, storage: Storage, seeds: range) -> None:
    for seed in seeds:
        play_seed(sql_driver, storage, seed)
