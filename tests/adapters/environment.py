"""The environment that the frameworks live in: made once, in the cache folder, apart from what we depend on."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements.txt"
INSTALL_SECONDS = 300


def frameworks_python() -> Path | str:
    """The Python that has the frameworks, or why there is none (600 MB, half a minute on a good line)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asyouwere"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    folder = cache / f"frameworks-{wanted}-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "frameworks.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "installed").exists():
            return python
        uv = str(Path(sys.executable).with_name("uv"))
        for command in (
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(REQUIREMENTS)],
        ):
            try:
                ran = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
                failure = ran.stderr.strip()[-300:] if ran.returncode else None
            except (OSError, subprocess.TimeoutExpired) as exc:
                failure = type(exc).__name__
            if failure is not None:
                shutil.rmtree(folder, ignore_errors=True)
                return f"the frameworks can't be installed: {failure}"
        (folder / "installed").touch()
    return python
