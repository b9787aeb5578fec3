"""A page, made from its sources in this clone by npm and Vite: once, and again when a source has changed.

folder = build_page(say)      # dist, with index.html; None where there is no clone or no Node.js
folder = build(Page(folder=…, packages=…, sources=(…,)), say)      # any other page: an example's
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asyouwere.local import npm
from asyouwere.local.errors import NodeMissing
from asyouwere.local.node import Node, find_node

__all__ = ["Page", "build", "build_page", "page_folder"]

SOURCES: Final = Path(__file__).parents[4] / "web"
_STAMP: Final = ".sources"
_MADE: Final = frozenset({"node_modules", "dist"})


@dataclass(frozen=True)
class Page:
    """folder: with index.html, gets dist. packages: with package.json, its lock and vite.config.ts.

    sources: files, and folders with all that is in them: when one has changed, the page is built again.
    """

    folder: Path
    packages: Path
    sources: tuple[Path, ...]

    @property
    def built(self) -> Path | None:
        """Where the built page is; None if it was never built."""
        dist = self.folder / "dist"
        return dist if (dist / "index.html").is_file() else None


def _own_page(sources: Path) -> Page:
    page = sources / "page"
    return Page(page, page, (page, sources / "src"))


def page_folder(sources: Path = SOURCES) -> Path | None:
    """Where the built page of `asyouwere run` is; None if it was never built."""
    return _own_page(sources).built


def build_page(say: Callable[[str], None], sources: Path = SOURCES) -> Path | None:
    """Build the page of `asyouwere run`, as `build` does."""
    return build(_own_page(sources), say)


def build(page: Page, say: Callable[[str], None]) -> Path | None:
    """Build a page if its sources have changed since; the folder with index.html.

    None, and one line said why, where it cannot be built; an older build is used then if there is one.
    """
    if not (page.packages / "package.json").is_file():
        return None  # installed from a package: no sources
    try:
        node = find_node()
        with _alone(page.packages):
            _build(node, page, _digest(page.sources), say)
    except (NodeMissing, npm.StepFailed, OSError) as exc:
        say(f"no new page to look at: {str(exc).splitlines()[0]}; all else works")
    return page.built


@contextmanager
def _alone(packages: Path) -> Iterator[None]:
    """Two who start at once build one after the other, and the second finds it done."""
    (packages / "node_modules").mkdir(exist_ok=True)
    with (packages / "node_modules" / ".asyouwere-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(node: Node, page: Page, digest: str, say: Callable[[str], None]) -> None:
    stamp = page.folder / "dist" / _STAMP
    if stamp.is_file() and stamp.read_text() == digest:
        return
    _install(node, page.packages, say)
    modules = page.packages / "node_modules"
    # Beside, and renamed when complete: somebody may be looking at the one that is there.
    fresh = Path(tempfile.mkdtemp(dir=modules, prefix=".building-"))
    try:
        command = [node.program, str(modules / "vite" / "bin" / "vite.js"), "build", str(page.folder)]
        settings = ["--config", str(page.packages / "vite.config.ts"), "--outDir", str(fresh), "--emptyOutDir"]
        npm.run([*command, *settings], page.packages)
        (fresh / _STAMP).write_text(digest)
        shutil.rmtree(page.folder / "dist", ignore_errors=True)
        fresh.chmod(0o755)
        fresh.rename(page.folder / "dist")
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _install(node: Node, packages: Path, say: Callable[[str], None]) -> None:
    stamp, key = packages / "node_modules" / ".asyouwere", (packages / "package-lock.json").read_text()
    if stamp.is_file() and stamp.read_text() == key:
        return
    say("getting by npm what the page is made of (once, half a minute) ...")
    npm.install(node, packages)
    stamp.write_text(key)


def _digest(sources: tuple[Path, ...]) -> str:
    """Of everything that the page is made from; not of what is made from it."""
    digest = hashlib.sha256()
    for source in sources:
        for path in sorted(_files(source)):
            digest.update(f"{path.relative_to(source.parent)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
    for folder, below, names in os.walk(source):
        below[:] = [name for name in below if name not in _MADE]
        yield from (Path(folder, name) for name in names)
