"""functions/ as the archive that is deployed: what .gcloudignore leaves, the same bytes for the same content.

The pins with hashes, requirements.lock, go in as requirements.txt, which is what the platform installs: two
deployments of one source install the same, and nothing that was changed since it was pinned.

A file's time, owner and order on this machine don't count, and nothing is compressed (the fonts, which are
most of it, are already): so two machines, or two days, make the same archive, and only a change is
deployed. With telemetry it is requirements-telemetry.lock, the same and an exporter.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Final

import pathspec

__all__ = ["FUNCTIONS", "archive", "files"]

FUNCTIONS: Final = Path(__file__).parents[2] / "functions"

_LISTED: Final = Path("requirements.txt")
_PINNED: Final = {False: Path("requirements.lock"), True: Path("requirements-telemetry.lock")}
_LONG_AGO: Final = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can say


def files(folder: Path = FUNCTIONS) -> list[Path]:
    """Files to deploy, sorted by their path below the folder."""
    ignored = pathspec.GitIgnoreSpec.from_lines((folder / ".gcloudignore").read_text("utf-8").splitlines())
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    kept = (path for path in found if not ignored.match_file(path.as_posix()))
    return sorted(kept, key=Path.as_posix)


def archive(folder: Path = FUNCTIONS, *, telemetry: bool = False) -> tuple[bytes, str]:
    """The zip file and the SHA-256 of it in hexadecimal. telemetry: with OpenTelemetry's SDK and an exporter."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as target:
        for path in files(folder):
            entry = zipfile.ZipInfo(path.as_posix(), _LONG_AGO)
            entry.external_attr = 0o644 << 16
            source = _PINNED[telemetry] if path == _LISTED else path
            target.writestr(entry, (folder / source).read_bytes())
    return packed.getvalue(), hashlib.sha256(packed.getvalue()).hexdigest()
