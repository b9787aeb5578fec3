"""Who is calling, as far as everything behind the token check needs to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Caller", "Role"]

Role = Literal["authenticated", "service_role"]


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified caller.

    role: the database role to act as; user_id: the uuid of a signed-in user (None for the service);
    claims: the JSON text that ``auth.jwt()`` shall see; token: the bearer token itself, for a database that
    checks it again. Neither of the last two is ever shown.
    """

    role: Role
    user_id: str | None
    claims: str = field(repr=False)
    token: str = field(repr=False, default="")
