"""What an example is given: where the functions are, tokens for its users, a folder of its own, its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Stack"]


@dataclass(frozen=True)
class Stack:
    """url: of the functions, `http://127.0.0.1:8787/functions/v1`. folder: for the example's own data; it is there.

    users: who may sign in to the page, by name. options: the example's settings (`make example NAME=… SET="a=1"`).
    sign: makes a token of a user's name (None: the service's, for a scheduler) and how many seconds it is good for.
    """

    url: str
    folder: Path
    sign: Callable[[str | None, float], str] = field(repr=False)
    users: frozenset[str] = frozenset({"ada", "ben"})
    options: dict[str, Any] = field(default_factory=dict)

    def token(self, user: str, seconds: float = 3600) -> str:
        """An access token of a user, as your sign-in would give it."""
        return self.sign(user, seconds)

    def service_token(self, seconds: float = 3600) -> str:
        """A token with the role service_role: for what a scheduler does, never for a page."""
        return self.sign(None, seconds)
