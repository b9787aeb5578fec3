"""The package as it is published: bundled, its own properties renamed, with source maps."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import pytest

from tests.functions.api import token_for
from tests.web.conftest import WEB, run_node

HELLO = {"role": "user", "content": "Hello"}


@pytest.fixture(scope="module")
def told(servers: dict[str, str], built: Path) -> dict[str, object]:
    """What package.mjs prints of the built package."""
    script = Path(__file__).with_name("package.mjs")
    done = run_node(
        [str(script), str(built), servers["ASYOUWERE_TEST_FUNCTIONS"], token_for(str(uuid.uuid4()))], {}, 120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that it is built into."""
    return tmp_path_factory.mktemp("built")


def test_package__saves_and_restores(told: dict[str, object]) -> None:
    answer = {"role": "assistant", "content": "Good morning"}
    assert told["first"] == {"messages": [HELLO, answer], "memory": {"topic": "tea"}}
    assert told["second"] == {"messages": [HELLO], "memory": {"topic": "tea"}}
    assert told["text"] == "Good morning"


def test_package__keeps_the_names_that_an_app_sees(told: dict[str, object]) -> None:
    surface = (WEB / "src/core/surface.ts").read_text().split("export interface Status {")[1].split("\n}")[0]
    assert told["status"] == sorted(re.findall(r"^  readonly (\w+):", surface, re.MULTILINE))


def test_package__source_maps_name_the_sources_and_hold_them(told: dict[str, object], built: Path) -> None:
    seen = set()
    for path in built.rglob("*.js"):
        code = path.read_text()
        assert code.endswith(f"//# sourceMappingURL={path.name}.map")
        assert not re.search(r"[.{,]_[a-z]\w*\b", code), "a property of the package's own kept its long name"
        mapped = json.loads(path.with_name(path.name + ".map").read_text())
        for source, content in zip(mapped["sources"], mapped.get("sourcesContent") or [], strict=True):
            assert content == (WEB / "src" / source.split("/src/")[1]).read_text()
            seen.add(source.split("/src/")[1])
    assert {"core/session.ts", "react/turns/index.ts", "crypto/tokens.ts"} <= seen
