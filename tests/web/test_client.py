"""The browser package: its own tests (web/tests, in TypeScript) against the real functions and a real PostgREST."""

from __future__ import annotations

import pytest

from tests.web.conftest import WEB, Run, run_node

FILES = sorted(path.name for path in (WEB / "tests").glob("*.test.ts"))


@pytest.mark.parametrize("file", FILES)
def test_client__does_what_its_tests_say(run: Run, file: str) -> None:
    result = run.files[file]
    told = [
        f"{test['fullName']}\n{message}"
        for test in result["assertionResults"]
        if test["status"] == "failed"
        for message in test["failureMessages"]
    ]
    if told or result["status"] != "passed":
        pytest.fail("\n\n".join(told) or result.get("message", "failed"), pytrace=False)
    assert result["assertionResults"]


def test_client__is_covered_by_its_tests(run: Run) -> None:
    short = {name: found["lines"]["pct"] for name, found in run.coverage.items() if found["lines"]["pct"] < 90}
    assert run.coverage["total"]["lines"]["pct"] >= 95, short


def test_client__compiles_in_the_strictest_mode() -> None:
    done = run_node(["node_modules/typescript/bin/tsc", "-p", "tsconfig.json"], {})
    assert done.returncode == 0, done.stdout
