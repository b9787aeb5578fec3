"""Idempotency keys and labels, as requests carry them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints

from asyouwere.errors import Invalid
from asyouwere.service.models import without_nul

__all__ = ["IdempotencyKey", "Label", "idempotency_key"]

IdempotencyKey = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(without_nul)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(without_nul)]

_HEADER: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


def idempotency_key(in_body: str | None, header: Mapping[str, str]) -> str | None:
    """The key from the body or the header Idempotency-Key. Raises invalid_request if they differ."""
    in_header = header.get("idempotency-key")
    if in_header is None:
        return in_body
    if not _HEADER.fullmatch(in_header):
        raise Invalid("invalid_request", "Idempotency-Key must be 1 to 255 printable ASCII characters.")
    if in_body not in (None, in_header):
        raise Invalid("invalid_request", "Header and body carry different idempotency keys.")
    return in_header
