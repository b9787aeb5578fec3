"""@supabase/lite, got by npm on first use and kept in the person's cache: later starts need no network."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from asyouwere.local import npm
from asyouwere.local.errors import SupabaseMissing
from asyouwere.local.node import Node, find_node

SOURCES = Path(__file__).parent
PACKAGES = ("package.json", "package-lock.json")


def installed(folder: Path, say: Callable[[str], None]) -> tuple[str, Path]:
    """Node's program, and our server.mjs where it finds its packages; installs them if they are not there yet.

    folder: for the packages where the person has no cache that can be written. Raises SupabaseMissing, whose
    message is one line that says what to do.
    """
    node = find_node()
    home = _home(folder)
    if not (home / "node_modules").is_dir():
        _install(node, home, say)
    return node.program, _scripts(home) / "server.mjs"


def _home(folder: Path) -> Path:
    """Where these exact packages belong: another lock file is another place."""
    lock = hashlib.sha256((SOURCES / "package-lock.json").read_bytes()).hexdigest()
    name = f"supabase-{lock[:12]}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "asyouwere"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        if os.access(cache, os.W_OK) or (cache / name).is_dir():
            return cache / name
    except OSError:
        pass  # a home that is not there, or not ours
    return folder / name


def _install(node: Node, home: Path, say: Callable[[str], None]) -> None:
    """npm install beside, renamed when complete: half of it never counts, and two at once do no harm."""
    say("getting @supabase/lite by npm, for supabase-js and supabase-py (once, 150 MB) ...")
    home.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=home, prefix="installing-"))
    try:
        for name in PACKAGES:
            shutil.copy(SOURCES / name, fresh / name)
        try:
            npm.install(node, fresh, "--omit=dev")
        except npm.StepFailed as exc:
            raise SupabaseMissing(
                f"no local Supabase yet: npm could not get it ({exc}); it needs the network once: start again"
            ) from exc
        if not (home / "node_modules").is_dir():
            (fresh / "node_modules").rename(home / "node_modules")
    except OSError as exc:
        if not (home / "node_modules").is_dir():  # otherwise another start was faster
            raise SupabaseMissing(f"@supabase/lite cannot be kept in {home}: {exc.strerror}") from exc
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _scripts(home: Path) -> Path:
    """Our scripts beside the packages, where Node looks for them; other scripts are another folder."""
    texts = {path.name: path.read_bytes() for path in sorted(SOURCES.glob("*.mjs"))}
    digest = hashlib.sha256(b"\0".join(texts.values())).hexdigest()
    folder = home / f"scripts-{digest[:12]}"
    if not folder.is_dir():
        fresh = Path(tempfile.mkdtemp(dir=home, prefix="scripts-new-"))
        for name, text in texts.items():
            (fresh / name).write_bytes(text)
        try:
            fresh.rename(folder)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)  # another start was faster
    return folder
