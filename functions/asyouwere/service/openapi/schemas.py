"""Schemas of the models, as generators of clients need them.

A member that may be left out has no `default` in the schema: a generated client would send it, and a rename would
also reset all else. What the functions take instead is said in words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from asyouwere.service.http.routing import Route
from asyouwere.service.models import RequestModel
from asyouwere.service.openapi.components import COMPONENTS

__all__ = ["Schemas"]

_REF: Final = "#/components/schemas/{model}"

_Mode = Literal["validation", "serialization"]


class _WithoutTitles(GenerateJsonSchema):
    """A name made of a name says nothing, and generators would call classes by it."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class Schemas:
    """What the models of some routes look like. components: those that others refer to, by name."""

    def __init__(self, routes: Iterable[Route]) -> None:
        wanted: dict[tuple[type[BaseModel], _Mode], None] = {}
        for route in routes:
            for asked in (route.body, route.query):
                if asked is not None:
                    wanted[asked, "validation"] = None
            for answered in (route.response, *route.other_responses):
                if answered is not None:
                    wanted[answered, "serialization"] = None
        schemas, top = models_json_schema(list(wanted), ref_template=_REF, schema_generator=_WithoutTitles)
        self._schemas: dict[Any, Any] = dict(schemas)
        patched = {route.body.__name__ for route in routes if route.method == "PATCH" and route.body}
        self.components: dict[str, Any] = {"Problem": COMPONENTS["Problem"], "ErrorCode": COMPONENTS["ErrorCode"]}
        for name, schema in top.get("$defs", {}).items():
            schema.pop("title", None)
            self.components[name] = self._finished(schema, says_defaults=name not in patched)
        queries = dict.fromkeys(route.query for route in routes if route.query)  # one may serve several routes
        self._queries = {query: self.components.pop(query.__name__, None) for query in queries}
        self.components = dict(sorted(self.components.items()))

    def of(self, model: type[BaseModel], mode: _Mode = "validation") -> dict[str, Any]:
        """A reference to a model's schema."""
        return dict(self._schemas[model, mode])

    def parameters(self, query: type[RequestModel]) -> Iterable[tuple[str, bool, dict[str, Any]]]:
        """The fields of a query's model: name, whether it is required, schema."""
        schema = self._queries[query]
        for name, field in schema.get("properties", {}).items():
            yield name, name in schema.get("required", ()), dict(field)

    def _finished(self, schema: Any, *, says_defaults: bool) -> Any:
        if isinstance(schema, list):
            return [self._finished(part, says_defaults=says_defaults) for part in schema]
        if not isinstance(schema, dict):
            return schema
        schema = dict(schema)
        if "x-component" in schema:
            name = schema.pop("x-component")
            self.components[name] = COMPONENTS[name]
            schema["$ref"] = _REF.format(model=name)
        default = schema.pop("default", None)
        if default is not None and says_defaults:
            said = f"{schema.get('description', '')} By default {json.dumps(default)}."
            schema["description"] = said.strip()
        return {name: self._finished(part, says_defaults=says_defaults) for name, part in schema.items()}
