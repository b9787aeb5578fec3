"""Apps that were not written here, with the package out of a tarball: what `npm create` makes, and one page of ours."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from asyouwere.local.node import find_node
from tests.web.conftest import WEB

__all__ = ["next_app", "npm", "packed", "serving_next", "unpacked", "vite_app"]

HERE = Path(__file__).parent
_QUIET = {"NEXT_TELEMETRY_DISABLED": "1", "CI": "1", "NO_COLOR": "1", "npm_config_update_notifier": "false"}
_START_SECONDS = 120


def _environment() -> dict[str, str]:
    """For programs that npm starts: the same Node, nobody's telemetry."""
    node = Path(find_node().program).parent
    return {**os.environ, **_QUIET, "PATH": f"{node}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def npm(folder: Path, *arguments: str) -> str:
    """Runs npm in a folder; what it prints. Fails with that if npm does."""
    done = subprocess.run(
        [*find_node().npm, *arguments], cwd=folder, env=_environment(), capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def packed(folder: Path) -> Path:
    """The package as `npm publish` would send it, made from a copy of its sources."""
    source = folder / "source"
    shutil.copytree(WEB / "src", source / "src")
    for name in ("package.json", "README.md", "tsconfig.json", "tsconfig.build.json", "build.mjs"):
        shutil.copy(WEB / name, source)
    (source / "node_modules").symlink_to(WEB / "node_modules")
    npm(source, "pack", "--silent", "--pack-destination", str(folder))
    (made,) = folder.glob("asyouwere-*.tgz")
    return made


def unpacked(tarball: Path, folder: Path) -> Path:
    """A folder with the package, React and its types in node_modules, and nothing else."""
    modules = folder / "node_modules"
    modules.mkdir(parents=True)
    with tarfile.open(tarball) as archive:
        archive.extractall(modules, filter="data")
    (modules / "package").rename(modules / "asyouwere")
    for name in ("react", "react-dom", "@types"):
        (modules / name).symlink_to(WEB / "node_modules" / name)
    return folder


def vite_app(folder: Path, tarball: Path) -> Path:
    """Vite's template for React, with our page; built."""
    npm(folder, "create", "--yes", "vite@latest", "app", "--", "--template", "react-ts", "--no-interactive")
    app = folder / "app"
    npm(app, "install", "--no-audit", "--no-fund", str(tarball))
    shutil.copy(HERE / "Chat.tsx", app / "src")
    shutil.copy(HERE / "vite" / "main.tsx", app / "src")
    npm(app, "run", "build")
    return app / "dist"


def next_app(folder: Path, tarball: Path) -> Path:
    """Next.js's template (app router, TypeScript), with our page and an agent in a route; built."""
    options = "--ts --app --no-eslint --no-tailwind --no-src-dir --use-npm --disable-git --skip-install --yes"
    npm(folder, "exec", "--yes", "--", "create-next-app@latest", "app", *options.split())
    app = folder / "app"
    npm(app, "install", "--no-audit", "--no-fund", str(tarball))
    for name, place in {
        "Chat.tsx": "Chat.tsx",
        "next/layout.tsx": "layout.tsx",
        "next/page.tsx": "page.tsx",
        "next/prerendered.tsx": "prerendered/page.tsx",
        "next/answer.ts": "answer/route.ts",
    }.items():
        (app / "app" / place).parent.mkdir(exist_ok=True)
        shutil.copy(HERE / name, app / "app" / place)
    npm(app, "run", "build")
    return app


@contextlib.contextmanager
def serving_next(app: Path) -> Iterator[str]:
    """`next start` on a port that is free; its URL."""
    log = app / "next.log"
    command = [find_node().program, str(app / "node_modules" / "next" / "dist" / "bin" / "next")]
    with log.open("wb") as output:
        process = psutil.Popen(
            [*command, "start", "--hostname", "127.0.0.1", "--port", "0"],
            cwd=app,
            env=_environment(),
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while (
            not (said := re.search(r"http://127\.0\.0\.1:[1-9]\d*", log.read_text()))
            or "Ready" not in log.read_text()
        ):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield said[0]
    finally:
        family = [process, *process.children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait(30)
