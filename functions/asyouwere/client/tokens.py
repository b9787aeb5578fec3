"""Access tokens: a fixed one, or a callback that is asked for a new one before the old one ends."""

from __future__ import annotations

import base64
import inspect
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from asyouwere.client.errors import Unreachable
from asyouwere.errors import AsYouWereError, Unauthorized

__all__ = ["Token", "Tokens", "claims_of"]

Token: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A token, or what gives one: a function, or a coroutine function, called whenever another is needed."""

_LOG: Final = logging.getLogger("asyouwere")
_EARLY_SECONDS: Final = 60.0


class Tokens:
    """The token to send now."""

    def __init__(self, source: Token) -> None:
        self._source = source
        self._token: str | None = None
        self._ends: float | None = None

    @property
    def seconds_left(self) -> float | None:
        """Until the token ends; None if there is none yet, or it does not say."""
        return None if self._ends is None else max(0.0, self._ends - time.time())

    async def current(self) -> str:
        """The token, a new one if the old one is about to end."""
        if self._token is None or (self._ends is not None and self._ends - time.time() < _EARLY_SECONDS):
            return await self.renewed()
        return self._token

    async def renewed(self) -> str:
        """A new token, because the old one was refused or is about to end. Raises Unreachable if the callback does
        whatever: where tokens come from may be away as well."""
        try:
            given = self._source if isinstance(self._source, str) else self._source()
            if inspect.isawaitable(given):
                given = await given
        except AsYouWereError:
            raise
        except Exception as exc:
            _LOG.warning("the token callback failed: %s", type(exc).__name__)
            raise Unreachable(f"There is no token: the callback raised {type(exc).__name__}.") from exc
        if not isinstance(given, str) or not given:
            raise Unauthorized("invalid_token", "The token callback gave no token.")
        self._token = given
        ends = claims_of(given).get("exp")
        self._ends = float(ends) if isinstance(ends, int | float) else None
        return given

    @property
    def renewable(self) -> bool:
        """Whether asking again may give another one."""
        return not isinstance(self._source, str)


def claims_of(token: str) -> dict[str, Any]:
    """What a token says of itself, not verified; {} if it can't be read."""
    try:
        _, payload, _ = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}
