"""Pages with the package's source bundled into them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from asyouwere.local.node import find_node

ROOT = Path(__file__).parents[3]
WEB = ROOT / "web"


def bundle(pages: Path, folder: Path) -> Path:
    """The pages of one folder, made ready in another; skips without the npm packages of web."""
    esbuild = WEB / "node_modules" / "esbuild" / "bin" / "esbuild"
    if not esbuild.exists():
        pytest.skip("needs the npm packages of web: scripts/node-packages web")
    entries = [str(path) for path in sorted(pages.glob("*.ts"))]
    command = [*entries, "--bundle", "--format=esm", "--target=es2022", f"--outdir={folder}", "--log-level=warning"]
    # esbuild is a program or a script that starts one, as npm had it
    is_script = esbuild.read_bytes()[:2] == b"#!"
    subprocess.run([*([find_node().program] if is_script else []), str(esbuild), *command], check=True, cwd=ROOT)
    for page in pages.glob("*.html"):
        (folder / page.name).write_bytes(page.read_bytes())
    return folder
