"""An example's page, built by Vite from its sources in this clone when they have changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from asyouwere.local.page.building import Page, build

__all__ = ["EXAMPLES", "build_example", "names"]

EXAMPLES = Path(__file__).parent


def names() -> list[str]:
    """The examples there are: the folders with a server and a page."""
    return sorted(path.parent.name for path in EXAMPLES.glob("*/server.py"))


def build_example(name: str, say: Callable[[str], None]) -> Path | None:
    """The folder with the built index.html; None, and one line said why, where it cannot be built."""
    shared = (path for path in EXAMPLES.iterdir() if path.suffix in (".ts", ".tsx", ".css", ".json"))
    page = EXAMPLES / name / "page"
    return build(Page(page, EXAMPLES, (page, *sorted(shared), EXAMPLES.parent / "web" / "src")), say)
