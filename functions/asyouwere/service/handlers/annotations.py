"""What an app says of a snapshot that it saves: metadata, an id of its own, the number it was made from."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from asyouwere.errors import Invalid
from asyouwere.service.models import JsonObject, RequestModel, without_nul

__all__ = ["AnnotatedRequest", "ExternalId", "annotation_arguments", "storable"]

ExternalId = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(without_nul)]


class AnnotatedRequest(RequestModel):
    """Fields of every save. One that sends any of them makes a snapshot even if nothing has changed."""

    metadata: JsonObject | None = Field(
        None, description="A JSON object of at most 8 KB; numbers and key order as jsonb keeps them."
    )
    external_id: ExternalId | None = Field(
        None, description="The app's own id for the snapshot; snapshot_exists if the session has one with it."
    )
    parent_number: int | None = Field(
        None, ge=0, le=2**31 - 1, description="The number it was made from, if that is not the one before."
    )


def annotation_arguments(request: AnnotatedRequest) -> dict[str, str | int]:
    """Only what was sent: an ordinary save has no more arguments than before. Raises not_representable."""
    sent = {
        "p_metadata": None if request.metadata is None else storable(request.metadata),
        "p_external_id": request.external_id,
        "p_parent_number": request.parent_number,
    }
    return {name: value for name, value in sent.items() if value is not None}


def storable(text: str) -> str:
    """The text itself, if jsonb can keep it: no NUL, no lone surrogates. Raises not_representable."""
    if "\\u0000" in text.replace("\\\\", "") or re.search(r"\\ud[89a-f]", text.replace("\\\\", "")):
        raise Invalid("not_representable")
    return text
