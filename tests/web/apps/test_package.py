"""The package out of its tarball: its types in the strictest settings, and imported where there is no page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from asyouwere.local.node import find_node
from tests.web.apps.building import HERE, unpacked
from tests.web.conftest import WEB, run_node

ENTRIES = [entry for entry in json.loads((WEB / "package.json").read_text())["exports"] if entry != "./package.json"]

STRICTEST = {
    "strict": True,
    "exactOptionalPropertyTypes": True,
    "noUncheckedIndexedAccess": True,
    "noPropertyAccessFromIndexSignature": True,
    "noImplicitOverride": True,
    "verbatimModuleSyntax": True,
    "isolatedModules": True,
    "skipLibCheck": False,
    "noEmit": True,
    "target": "es2022",
    "lib": ["es2022", "dom", "dom.iterable"],
    "jsx": "react-jsx",
    "types": [],
}


@pytest.fixture(scope="module")
def app(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed, and an app's one page."""
    folder = unpacked(tarball, tmp_path_factory.mktemp("app"))
    (folder / "package.json").write_text('{"type": "module"}')
    shutil.copy(HERE / "Chat.tsx", folder)
    entries = [f'export * as e{n} from "asyouwere{entry[1:]}";' for n, entry in enumerate(ENTRIES)]
    (folder / "entries.ts").write_text("\n".join(entries))
    return folder


@pytest.mark.parametrize("resolution", [{"module": "esnext", "moduleResolution": "bundler"}, {"module": "nodenext"}])
def test_types__in_a_strict_app(app: Path, resolution: dict[str, str]) -> None:
    (app / "tsconfig.json").write_text(json.dumps({"compilerOptions": {**STRICTEST, **resolution}}))
    done = run_node(["node_modules/typescript/bin/tsc", "-p", str(app)], {})
    assert done.returncode == 0, done.stdout


def test_types__tell_nothing_of_the_package_s_own(app: Path) -> None:
    """Properties that begin with an underscore are renamed in the code, and files that no entry tells of say nothing."""
    told = {path.relative_to(app): path.read_text() for path in (app / "node_modules/asyouwere").rglob("*.d.ts")}
    assert len(told) > len(ENTRIES)
    assert [str(path) for path, text in told.items() if re.search(r"\b_[a-z]\w*", text)] == []
    assert not [path for path in told if path.stem.removesuffix(".d") in ("session", "holders", "saving")]


IMPORTS = """
const before = new Set(Reflect.ownKeys(globalThis));
for (const name of ["fetch", "setTimeout", "setInterval", "BroadcastChannel"])
    globalThis[name] = () => { throw new Error(name + " was called"); };
for (const entry of process.argv.slice(1)) if (!Object.keys(await import(entry)).length) throw new Error(entry + " is empty");
const added = Reflect.ownKeys(globalThis).filter((name) => !before.has(name));
if (added.length) throw new Error("globals: " + added.map(String));
"""


def test_import__on_a_server_does_nothing(app: Path) -> None:
    """It asks nobody, sets no timer, adds no global, prints nothing; the process ends by itself."""
    names = [f"asyouwere{entry[1:]}" for entry in ENTRIES]
    command = [find_node().program, "--input-type=module", "--eval", IMPORTS, *names]
    done = subprocess.run(command, cwd=app, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


RENDERS = """
import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { Chat } from "./Chat.js";
const props = { url: "https://functions.example/v1", token: "", session: "00000000-0000-4000-8000-000000000000" };
globalThis.fetch = () => { throw new Error("fetch was called"); };
process.stdout.write(renderToString(createElement(Chat, props)));
"""


def test_render__on_a_server(app: Path) -> None:
    esbuild = [
        "node_modules/esbuild/bin/esbuild",
        str(app / "Chat.tsx"),
        "--jsx=automatic",
        f"--outfile={app}/Chat.js",
    ]
    assert run_node(esbuild, {}).returncode == 0
    command = [find_node().program, "--input-type=module", "--eval", RENDERS]
    done = subprocess.run(command, cwd=app, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ('<p role="status">One moment …</p>', "")
