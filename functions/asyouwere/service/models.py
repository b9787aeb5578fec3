"""The two kinds of pydantic models: what is asked and what is answered.

Content (a state, a message, metadata) is JSON text in both. It is never parsed into Python values and written
again: that would change numbers, key order and duplicates. In a request such a field holds the text as it was
sent; in a response it is put in place as the database stores it.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, WithJsonSchema
from pydantic.fields import FieldInfo

__all__ = [
    "ChangesContent",
    "Content",
    "DeltaContent",
    "JsonObject",
    "Kind",
    "RequestModel",
    "ResponseModel",
    "SessionId",
    "StateContent",
    "Status",
    "Text",
    "Time",
    "UserId",
    "Visibility",
    "without_nul",
]


class _Marker:
    """Marks a field as content."""


def without_nul(text: str) -> str:
    """The text itself; a ValueError if a database text cannot hold it."""
    if "\0" in text:
        raise ValueError("must not hold the character NUL")
    return text


def _component(name: str) -> WithJsonSchema:
    """The schema of a type, by its name in openapi/components.py."""
    return WithJsonSchema({"x-component": name})


#: JSON text that is passed through: any value, or one of a certain form.
Content = Annotated[str, _Marker(), WithJsonSchema({})]
StateContent = Annotated[str, _Marker(), _component("State")]
ChangesContent = Annotated[str, _Marker(), _component("Changes")]
DeltaContent = Annotated[str, _Marker(), _component("Delta")]
JsonObject = Annotated[str, _Marker(), _component("JsonObject")]

#: Text that is stored as a database text: no NUL, no lone surrogates (pydantic refuses those itself).
Text = Annotated[str, StringConstraints(max_length=2000), AfterValidator(without_nul)]

_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_UUID_SCHEMA = WithJsonSchema({"type": "string", "format": "uuid"})
SessionId = Annotated[str, StringConstraints(pattern=_UUID), _UUID_SCHEMA]
UserId = Annotated[str, StringConstraints(pattern=_UUID), _UUID_SCHEMA]
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Kind = Annotated[Literal["chat", "agent", "workflow"], _component("Kind")]
Status = Annotated[
    Literal["idle", "running", "paused", "completed", "error", "expired"], _component("Status")
]
Visibility = Annotated[Literal["private", "shared", "public"], _component("Visibility")]


def _content_fields(fields: dict[str, FieldInfo]) -> frozenset[str]:
    return frozenset(name for name, info in fields.items() if _marked(info))


def _marked(info: FieldInfo) -> bool:
    from typing import get_args

    if any(isinstance(mark, _Marker) for mark in info.metadata):
        return True
    return any(
        isinstance(mark, _Marker)
        for part in get_args(info.annotation)
        for mark in getattr(part, "__metadata__", ())
    )


class RequestModel(BaseModel):
    """What a caller sends: nothing unknown, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)
    content_fields: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.content_fields = _content_fields(cls.model_fields)


class ResponseModel(BaseModel):
    """What a caller gets. Made from a database row: columns that the model does not name stay inside."""

    model_config = ConfigDict(extra="ignore", defer_build=True)
    content_fields: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.content_fields = _content_fields(cls.model_fields)

    def json_text(self) -> str:
        """The JSON object, with the content fields last and as they are; None is null."""
        if not self.content_fields:
            return self.model_dump_json()
        text = self.model_dump_json(exclude=set(self.content_fields))
        parts = [
            f'"{name}":{"null" if (value := getattr(self, name)) is None else value}'
            for name in type(self).model_fields
            if name in self.content_fields
        ]
        if len(text) > 2:
            parts.insert(0, text[1:-1])
        return "{" + ",".join(parts) + "}"
