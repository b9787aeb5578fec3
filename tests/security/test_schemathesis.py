"""The functions against their OpenAPI documents, by Schemathesis: requests made from the document, good and bad.

Left out is one check: that every request the document allows is accepted. Much of what is refused (an address below a
part, a base that never was) no schema can say, and those refusals are documented.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from asyouwere.service.routes.registry import FUNCTIONS
from tests.functions.api import BASE, serving, settings_for, token_for
from tests.support.database import Db

PROGRAM = Path(sys.executable).with_name("schemathesis")
EXAMPLES = {"sessions": 1}  # for each of its eighteen operations


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions__do_what_their_documents_say(db: Db, function: str, tmp_path: Path) -> None:
    user = str(db.user("ada"))
    service = function == "cleanup-old-snapshots"
    token = token_for("scheduler", "service_role") if service else token_for(user)
    with serving(settings_for(db.api_dsn)) as url:
        checked = subprocess.run(
            [
                str(PROGRAM), "run", f"{url}{BASE}/{function}/openapi.json", "--url", f"{url}{BASE}/{function}",
                "--header", f"Authorization: Bearer {token}", "--phases", "fuzzing", "--no-color",
                "--max-examples", str(EXAMPLES.get(function, 8)), "--seed", "1", "--suppress-health-check", "all",
                "--exclude-checks", "positive_data_acceptance",
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=170, check=False,
        )  # fmt: skip
    assert checked.returncode == 0, checked.stdout[-3000:] + checked.stderr[-1000:]
    assert "generated" in checked.stdout
