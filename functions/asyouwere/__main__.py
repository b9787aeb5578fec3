"""The command `asyouwere`, and `python -m asyouwere`: hands on to `asyouwere.local`, whose packages are an extra."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command; say in one line what to install if a package that it needs is not there."""
    try:
        from asyouwere.local.cli import main as command

        command()
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] == "asyouwere":
            raise  # a mistake of ours, which no installation repairs
        sys.exit(f"asyouwere: this needs the package {exc.name}: pip install 'asyouwere[local]'")


if __name__ == "__main__":
    main()
