"""The page, made from its sources in this clone by npm and Vite: once, and again when a source has changed.

    folder = build_page(say)      # dist, with index.html; None where there is no clone or no Node.js
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from asyouwere.local import npm
from asyouwere.local.errors import NodeMissing
from asyouwere.local.node import Node, find_node

__all__ = ["build_page", "page_folder"]

SOURCES: Final = Path(__file__).parents[4] / "web"
_STAMP: Final = ".sources"


def page_folder(sources: Path = SOURCES) -> Path | None:
    """Where the built page is; None if it was never built."""
    dist = sources / "page" / "dist"
    return dist if (dist / "index.html").is_file() else None


def build_page(say: Callable[[str], None], sources: Path = SOURCES) -> Path | None:
    """Build the page if its sources have changed since; the folder with index.html.

    None, and one line said why, where it cannot be built; an older build is used then if there is one.
    """
    page = sources / "page"
    if not (page / "package.json").is_file():
        return None  # installed from a package: no sources
    try:
        node = find_node()
        with _alone(page):
            _build(node, page, _digest(sources), say)
    except (NodeMissing, npm.StepFailed, OSError) as exc:
        say(f"no new page to look at: {str(exc).splitlines()[0]}; all else works")
    return page_folder(sources)


@contextmanager
def _alone(page: Path) -> Iterator[None]:
    """Two who start at once build one after the other, and the second finds it done."""
    (page / "node_modules").mkdir(exist_ok=True)
    with (page / "node_modules" / ".asyouwere-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(node: Node, page: Path, digest: str, say: Callable[[str], None]) -> None:
    stamp = page / "dist" / _STAMP
    if stamp.is_file() and stamp.read_text() == digest:
        return
    _install(node, page, say)
    # Beside, and renamed when complete: somebody may be looking at the one that is there.
    fresh = Path(tempfile.mkdtemp(dir=page / "node_modules", prefix=".building-"))
    try:
        vite = page / "node_modules" / "vite" / "bin" / "vite.js"
        npm.run([node.program, str(vite), "build", "--outDir", str(fresh), "--emptyOutDir"], page)
        (fresh / _STAMP).write_text(digest)
        shutil.rmtree(page / "dist", ignore_errors=True)
        fresh.chmod(0o755)
        fresh.rename(page / "dist")
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _install(node: Node, page: Path, say: Callable[[str], None]) -> None:
    stamp, key = page / "node_modules" / ".asyouwere", (page / "package-lock.json").read_text()
    if stamp.is_file() and stamp.read_text() == key:
        return
    say("getting by npm what the page is made of (once, half a minute) ...")
    npm.install(node, page)
    stamp.write_text(key)


def _digest(sources: Path) -> str:
    """Of everything that the page is made from; not of what is made from it."""
    digest = hashlib.sha256()
    for path in sorted(_files(sources)):
        digest.update(f"{path.relative_to(sources)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _files(sources: Path) -> Iterator[Path]:
    page = sources / "page"
    yield from (path for path in page.iterdir() if path.is_file())
    for folder in (sources / "src", page / "src", page / "public"):
        yield from (path for path in folder.rglob("*") if path.is_file())
