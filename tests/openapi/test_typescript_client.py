"""The types that openapi-typescript makes of spec/openapi.json, with openapi-fetch. The calls are in tests/node."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients.node import NODE, run_node
from tests.functions.api import Person

ROOT = Path(__file__).parents[2]
CALLS = (NODE / "openapi-calls.ts").read_text()
OPTIONS = {
    "strict": True,
    "noUncheckedIndexedAccess": True,
    "exactOptionalPropertyTypes": True,
    "target": "es2022",
    "module": "nodenext",
    "lib": ["es2022", "dom", "dom.iterable"],
    "types": [],
    "outDir": "out",
}


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with schema.ts, in which calls.ts can be compiled."""
    folder = tmp_path_factory.mktemp("typescript-client")
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "files": ["calls.ts"]}))
    (folder / "node_modules").symlink_to(NODE / "node_modules")
    program = NODE / "node_modules/openapi-typescript/bin/cli.js"
    run_node([str(program), str(ROOT / "spec" / "openapi.json"), "--output", str(folder / "schema.ts")], {})
    return folder


def compiled(folder: Path, calls: str) -> str:
    """The program made of the calls. An AssertionError with what the compiler says if it refuses them."""
    (folder / "calls.ts").write_text(calls)
    run_node([str(NODE / "node_modules/typescript/bin/tsc"), "--project", str(folder)], {})
    return str(folder / "out" / "calls.js")


WRONG = {
    'body: { name: "after" }': "body: { name: 7 }",
    'body: { name: "before" }': 'body: { kind: "robot" }',
    'status: "running"': 'status: "expired"',
    "refused.error?.code": "refused.error?.kind",
}


def test_calls__wrong_ones_are_refused(generated: Path) -> None:
    calls = CALLS
    for right, wrong in WRONG.items():
        assert calls.count(right) == 1
        calls = calls.replace(right, wrong)
    with pytest.raises(AssertionError) as refused:
        compiled(generated, calls)
    lines = calls.splitlines()
    for wrong in WRONG.values():
        number = next(number for number, line in enumerate(lines, 1) if wrong in line)
        assert f"calls.ts({number}," in str(refused.value), wrong


def test_calls__are_well_typed_and_a_rename_changes_nothing_else(
    generated: Path, ada: Person, functions: str
) -> None:
    assert ada.token
    program = compiled(generated, CALLS)
    found = json.loads(run_node([program, functions, ada.token], {}))
    before, after = found.pop("before"), found.pop("after")
    assert (before["status"], before["visibility"], before["model"]) == ("running", "public", "large-1")
    assert before["archived_at"] is not None
    assert after == {**before, "name": "after", "updated_at": after["updated_at"]}
    assert found == {
        "created": True,
        "changes": {"/memory/topic": "coffee", "/messages/1": "two"},
        "addresses": ["/memory/topic", "/messages/1"],
        "sessions": 1,
        "removed": 204,
        "code": "session_not_found",
    }
