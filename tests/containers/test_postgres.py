"""Plain Postgres, every version there is, in containers: the essentials of the SQL suite."""

from __future__ import annotations

import pytest

from tests.containers.engine import postgres, require_engine, tolerant
from tests.containers.suites import ESSENTIALS, run_suite

pytestmark = tolerant


@pytest.mark.slow
@pytest.mark.parametrize("major", [15, 16, 17, 18])
def test_sql__on_plain_postgres(major: int) -> None:
    require_engine()
    with postgres(f"postgres:{major}", "postgres") as dsn:
        summary = run_suite(*ESSENTIALS, ASYOUWERE_TEST_DATABASE_URL=dsn)
    assert " passed" in summary
