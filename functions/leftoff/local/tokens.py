"""People and tokens for local use: signed with a secret that never leaves this machine.

A name gives the same user id every time, so a token made tomorrow still owns today's sessions.
"""

from __future__ import annotations

import time
import uuid

ISSUER = "http://127.0.0.1/leftoff-local"
AUDIENCE = "authenticated"
ROLES = ("authenticated", "service_role")

_PEOPLE = uuid.UUID("1ef70ff0-10ca-4000-8000-000000000001")


def user_id(name: str) -> uuid.UUID:
    """The id of a local user; a name that is a UUID is its own id."""
    try:
        return uuid.UUID(name)
    except ValueError:
        return uuid.uuid5(_PEOPLE, name)


def sign_token(
    secret: str, user: str, *, lifetime_seconds: int = 12 * 3600, role: str = "authenticated"
) -> str:
    """A JWT (HS256) with the claims of Supabase's own: iss, aud, sub, role, email, iat, exp."""
    import jwt  # imported here: it costs more than everything else in this file

    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(user_id(user)),
        "role": role,
        "email": f"{user}@example.org",
        "iat": now,
        "exp": now + lifetime_seconds,
    }
    return jwt.encode(claims, secret, algorithm="HS256")
