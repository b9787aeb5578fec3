"""Write the files that are made from others (`make generate`); --check only says whether they are as they would be.

Facts flow one way: spec/errors.json -> Python's codes, SQL's codes, the table in sql/README.md;
functions/asyouwere/service/settings.py -> docs/settings.md, infra/Pulumi.example.yaml;
sql/schema -> sql/migrations/0001_create_baseline.sql -> sql/catalog.json;
the functions' routes and models -> spec/openapi.json;
spec/errors.json, spec/openapi.json, spec/prices.json -> web/src/generated;
spec/prices.json -> the Python client's prices.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import price_tables
import settings_pages
import typescript_types

from asyouwere.local import error_codes, schema
from asyouwere.service.openapi import document_of_all

ROOT: Final = Path(__file__).resolve().parents[1]


def openapi_document() -> str:
    """The text of `spec/openapi.json`."""
    return json.dumps(document_of_all(), ensure_ascii=False, indent=2) + "\n"


#: In the order in which they need each other.
GENERATED: Final[dict[str, Callable[[], str]]] = {
    "functions/asyouwere/error_codes.py": error_codes.python_module,
    "sql/schema/01_error_codes.sql": error_codes.sql_function,
    "sql/README.md": error_codes.readme_with_table,
    "docs/settings.md": settings_pages.settings_page,
    "infra/Pulumi.example.yaml": settings_pages.example_stack,
    f"sql/migrations/{schema.BASELINE}": schema.baseline_text,
    "sql/catalog.json": schema.catalog_of_migrations,
    "spec/openapi.json": openapi_document,
    "functions/asyouwere/client/price_table.py": price_tables.python_table,
    "web/src/generated/prices.ts": price_tables.typescript_table,
    "web/src/generated/codes.ts": typescript_types.codes_module,
    "web/src/generated/schemas.ts": typescript_types.schemas_module,
}


def main() -> int:
    """0 if all is written, or with --check if nothing would change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is out of date")
    check = parser.parse_args().check
    stale = 0
    for name, make in GENERATED.items():
        path, text = ROOT / name, make()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        print(f"{name} {'is out of date: run make generate' if check else 'written'}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
