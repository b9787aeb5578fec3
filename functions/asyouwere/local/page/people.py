"""Who uses the page: two demo users, or a guest, whose sessions a demo user can take over later.

Nobody has a password here: whoever reaches this machine's loopback may be either. A page of another origin may not:
its requests are refused, as are those for another host's name that leads here.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from starlette.requests import Request

from asyouwere.local.tokens import claims_of, user_id

__all__ = ["PAGE_USERS", "claims_for", "demo_users", "is_from_the_page"]

#: The two who can be signed in as; both are made when the stack starts, so that they can invite each other.
PAGE_USERS: Final = ("ada", "ben")
TOKEN_SECONDS: Final = 3600
_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})


def is_from_the_page(request: Request) -> bool:
    """Whether the request comes from a page that this server served, or from a program, not from another page."""
    host = request.headers.get("host", "")
    if host.rpartition(":")[0] not in _HOSTS:
        return False
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return False
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def demo_users() -> list[dict[str, Any]]:
    """The two demo users, with the ids by which others share with them."""
    return [{"id": str(user_id(name)), "name": name.title(), "guest": False} for name in PAGE_USERS]


def claims_for(asked: dict[str, Any]) -> dict[str, Any] | None:
    """The claims of a token for {"user": "ada"}, or for {"guest": id or null}; None for anybody else."""
    if (name := asked.get("user")) in PAGE_USERS:
        return {**claims_of(str(name)), "name": str(name).title()}
    if "guest" in asked:
        try:
            guest = uuid.UUID(str(asked["guest"])) if asked["guest"] else uuid.uuid4()
        except ValueError:
            return None
        if guest in map(user_id, PAGE_USERS):
            return None  # a demo user is nobody's guest
        return {**claims_of(str(guest)), "email": "", "name": "Guest", "is_anonymous": True}
    return None
