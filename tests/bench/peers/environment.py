"""The environment that other people's libraries run in: made once, next to the bench's reports."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from asyouwere.local.errors import LocalError

REQUIREMENTS = Path(__file__).parent / "requirements.txt"
INSTALL_SECONDS = 1200


class NoPeers(LocalError):
    """The libraries to compare with can't be installed."""


def peers_python(folder: Path) -> Path:
    """The Python that has them, in `folder`; installs them if they are not there (300 MB, some minutes, network).

    Raises NoPeers, with what pip said.
    """
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print("asyouwere: installing the libraries to compare with (once, some minutes) ...", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    commands = (
        [sys.executable, "-m", "venv", str(folder)],
        [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            str(REQUIREMENTS),
        ],
    )
    for command in commands:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        if ran.returncode != 0:
            raise NoPeers(
                f"the libraries to compare with could not be installed: {ran.stderr.strip()[-500:]}"
            )
    stamp.write_text(wanted)
    return python
