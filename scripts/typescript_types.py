"""What is made for the browser package: the error codes and the schemas of spec/openapi.json, as TypeScript types.

Types alone, so they weigh nothing in what is shipped. Written here and not by a program of npm's, because
`make generate` does without Node; tests/web holds the result against openapi-typescript's.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final, TypeAlias

from asyouwere.local.error_codes import error_codes

__all__ = ["codes_module", "schemas_module"]

Schema: TypeAlias = dict[str, Any]

_SPEC: Final = Path(__file__).resolve().parents[1] / "spec"
_HEAD: Final = "// Made from spec/{} by `make generate`: change that file, never this one.\n\n"
_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_SCALARS: Final = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def codes_module() -> str:
    """The text of `web/src/generated/codes.ts`."""
    lines = [
        f"  /** {code['status']}: {code['sentence']} */\n  | {json.dumps(code['code'])}" for code in error_codes()
    ]
    head = _HEAD.format("errors.json") + "/** A stable code of an error. */\nexport type Code =\n"
    return head + "\n".join(lines) + ";\n"


def schemas_module() -> str:
    """The text of `web/src/generated/schemas.ts`."""
    schemas: dict[str, Schema] = json.loads((_SPEC / "openapi.json").read_text())["components"]["schemas"]
    # one list of codes is enough: codes.ts
    pieces = [_declaration(name, schema) for name, schema in sorted(schemas.items()) if name != "ErrorCode"]
    head = _HEAD.format("openapi.json") + 'import type { Code as ErrorCode } from "./codes.js";\n\n'
    return head + "\n".join(pieces)


def _declaration(name: str, schema: Schema) -> str:
    comment = _comment(schema, "")
    if "properties" in schema:
        return f"{comment}export interface {name} {_object(schema, '')}\n"
    return f"{comment}export type {name} = {_type(schema, '')};\n"


def _comment(schema: Schema, indent: str) -> str:
    text = schema.get("description", "")
    return f"{indent}/** {text.replace('*/', '* /')} */\n" if text else ""


def _object(schema: Schema, indent: str) -> str:
    inner, required = indent + "  ", schema.get("required", [])
    members = [
        f"{_comment(value, inner)}{inner}{key if _NAME.fullmatch(key) else json.dumps(key)}"
        f"{'' if key in required else '?'}: {_type(value, inner)};\n"
        for key, value in schema["properties"].items()
    ]
    return f"{{\n{''.join(members)}{indent}}}"


def _type(schema: Schema, indent: str) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(map(json.dumps, schema["enum"]))
    if "anyOf" in schema:
        options = [_type(option, indent) for option in schema["anyOf"]]
        return "unknown" if "unknown" in options else " | ".join(options)
    kind = schema.get("type")
    if kind == "array":
        item = _type(schema.get("items", {}), indent)
        return f"({item})[]" if " | " in item else f"{item}[]"
    if kind != "object":
        return _SCALARS.get(str(kind), "unknown")
    if "properties" in schema:
        return _object(schema, indent)
    values = schema.get("additionalProperties")
    return f"Record<string, {_type(values, indent) if isinstance(values, dict) else 'unknown'}>"
