"""Which folder may import which: read from the sources, imports inside functions and for types included."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "functions" / "asyouwere"

#: What everything may import.
SHARED = {"error_codes", "errors", "version"}

#: Layer -> the layers it may import besides itself and what is shared.
MAY_IMPORT: dict[str, set[str]] = {
    **{name: set() for name in SHARED},
    "state": set(),
    "postgres": set(),
    "client": {"state", "postgres"},
    "service": {"state", "postgres"},
    "local": {"state", "postgres", "client", "service"},
    "__init__": {"client"},
    "__main__": {"local"},
}


def modules() -> dict[str, Path]:
    """Dotted name below the package -> file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


MODULES = modules()


def imports(path: Path) -> Iterator[str]:
    """Everything that a file imports, as dotted names; of ``from x import y`` the module if y is one."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full.removeprefix("asyouwere.") in MODULES else str(node.module)


def ours(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, named as in MODULES."""
    for name in imports(path):
        if name == "asyouwere":
            yield "__init__"
        elif name.startswith("asyouwere."):
            yield name.removeprefix("asyouwere.")


def room(module: str) -> str:
    """What has a place of its own in the order: a folder inside a layer, or a file that lies in the layer itself."""
    return ".".join(module.split(".")[:2])


def test_every_module_belongs_to_a_layer() -> None:
    assert {module.partition(".")[0] for module in MODULES} <= MAY_IMPORT.keys()
    assert {"state.rows", "service.app", "local.cli"} <= MODULES.keys()


@pytest.mark.parametrize("module", MODULES)
def test_import__only_what_lies_below(module: str) -> None:
    layer = module.partition(".")[0]
    reached = {name.partition(".")[0] for name in ours(MODULES[module])} - {layer, *SHARED}
    assert reached <= MAY_IMPORT[layer]


def test_import__state_needs_the_standard_library_alone() -> None:
    for module, path in MODULES.items():
        if module.partition(".")[0] in {"state", *SHARED}:
            foreign = {name.partition(".")[0] for name in imports(path)} - {"asyouwere"}
            assert foreign <= sys.stdlib_module_names, module


def test_import__no_way_leads_back() -> None:
    """Folders, and the files beside them, can be put in an order in which each imports only earlier ones."""
    graph: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        graph.setdefault(room(module), set()).update(room(name) for name in ours(path))
    for name, reached in graph.items():
        reached.discard(name)
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as exc:
        pytest.fail(" -> ".join(reversed(exc.args[1])))
    places = [order.index(f"service.{name}") for name in ("database", "http", "handlers", "routes", "app")]
    assert places == sorted(places)
