"""The two keys of a Supabase project: one for everybody's browser, one that may everything."""

from __future__ import annotations

import base64
import json
from typing import Final, Literal

__all__ = ["role_of_key"]

_PREFIXES: Final[dict[str, Literal["anon", "service_role"]]] = {
    "sb_publishable_": "anon",
    "sb_secret_": "service_role",
}


def role_of_key(key: str) -> Literal["anon", "service_role"] | None:
    """Whose a key is, by what it says itself; None for one that says nothing. Nothing is verified."""
    for prefix, role in _PREFIXES.items():
        if key.startswith(prefix):
            return role
    try:  # a legacy key is a JWT
        _, payload, _ = key.split(".")
        said = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["role"]
    except (ValueError, KeyError, TypeError):
        return None
    return said if said in ("anon", "service_role") else None
