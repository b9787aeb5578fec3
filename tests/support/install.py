"""The functions' installation as the platform makes it: the archive that infra/ uploads, and a clean environment with
only what its requirements.txt pins. That takes a while, so it is kept in .venv until the pins or this Python change.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from asyouwere_infra.archive import archive

KEPT = Path(__file__).parents[2] / ".venv" / "deployed"


def unpack(folder: Path, *, telemetry: bool = False) -> Path:
    """The archive's files, in the folder."""
    zipfile.ZipFile(io.BytesIO(archive(telemetry=telemetry)[0])).extractall(folder)
    return folder


def clean_environment(requirements: Path) -> Path:
    """The programs (bin/) of an environment with these requirements and nothing else; made on first use."""
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]
    place = KEPT / digest
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not (place / "complete").exists():
            # What is deployed without telemetry and with it, and of one Python more.
            for old in sorted((path for path in KEPT.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)[:-3]:
                shutil.rmtree(old)
            _run(sys.executable, "-m", "venv", str(place))
            _run(
                str(place / "bin" / "python"),
                *("-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
                *("--require-hashes", "--only-binary", ":all:", "--requirement", str(requirements)),
            )
            (place / "complete").touch()
    return place / "bin"


def _run(*command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
