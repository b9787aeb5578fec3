"""What is made of spec/prices.json, the one list of what models cost: a table for Python and one for TypeScript."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

__all__ = ["python_table", "typescript_table"]

_SPEC: Final = Path(__file__).resolve().parents[1] / "spec" / "prices.json"


def _spec() -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(_SPEC.read_text(encoding="utf-8"))
    return spec


def python_table() -> str:
    """The text of `functions/asyouwere/client/price_table.py`."""
    spec = _spec()
    rows = "\n".join(
        f'    "{name}": ("{price["input"]}", "{price["cached"]}", "{price["output"]}"),'
        for name, price in spec["models"].items()
    )
    return (
        '"""What models cost. Made from spec/prices.json by `make generate`: change that file, never this one."""\n\n'
        "from typing import Final\n\n"
        '__all__ = ["DATED", "PER_TOKENS", "PRICES"]\n\n'
        f'DATED: Final = "{spec["dated"]}"\n'
        f"PER_TOKENS: Final = {spec['per_tokens']:_}\n"
        f"#: {spec['currency']}: of input tokens, of those from the provider's cache, of output tokens.\n"
        f"PRICES: Final[dict[str, tuple[str, str, str]]] = {{\n{rows}\n}}\n"
    )


def typescript_table() -> str:
    """The text of `web/src/generated/prices.ts`."""
    spec = _spec()
    rows = "\n".join(
        f'  "{name}": {{ input: {price["input"]}, cached: {price["cached"]}, output: {price["output"]} }},'
        for name, price in spec["models"].items()
    )
    return (
        "// Made from spec/prices.json by `make generate`: change that file, never this one.\n\n"
        "/** What a million tokens cost: of the input, of those of it from the provider's cache, of the output. */\n"
        "export interface Price {\n  input: number;\n  cached: number;\n  output: number;\n}\n\n"
        f"/** {spec['currency']}, as of {spec['dated']}. Prices are the app's: take its own if there is one. */\n"
        f"export const PRICES: Record<string, Price> = {{\n{rows}\n}};\n"
    )
