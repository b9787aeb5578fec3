"""People and tokens for local use: signed with a secret that never leaves this machine.

A name gives the same user id every time, so a token made tomorrow still owns today's sessions.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

ISSUER = "http://127.0.0.1/asyouwere-local"
AUDIENCE = "authenticated"
KEYS_ISSUER = "supabase"  # of a Supabase project's keys, by which the functions know the service
# An app's configuration names the keys, so they must not change with each start: 2026 to 2046.
KEYS_FROM = 1_767_225_600
KEYS_UNTIL = 2_398_377_600

_PEOPLE = uuid.UUID("1ef70ff0-10ca-4000-8000-000000000001")


def user_id(name: str) -> uuid.UUID:
    """The id of a local user; a name that is a UUID is its own id."""
    try:
        return uuid.UUID(name)
    except ValueError:
        return uuid.uuid5(_PEOPLE, name)


def email_of(name: str) -> str:
    """The address of a local user; nobody reads mail there."""
    return f"{name}@example.org"


def claims_of(user: str, role: str = "authenticated") -> dict[str, str]:
    """What a local user's token says of them: iss, aud, sub, role, email."""
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(user_id(user)),
        "role": role,
        "email": email_of(user),
    }


def sign_token(
    secret: str, user: str, *, lifetime_seconds: int = 12 * 3600, role: str = "authenticated"
) -> str:
    """A JWT (HS256) with the claims of Supabase's own: iss, aud, sub, role, email, iat, exp."""
    return sign_claims(secret, claims_of(user, role), lifetime_seconds)[0]


def sign_claims(secret: str, claims: Mapping[str, Any], lifetime_seconds: int) -> tuple[str, int]:
    """A JWT (HS256) with these claims, and when it ends, in seconds since 1970."""
    import jwt  # imported here: it costs more than everything else in this file

    now = int(time.time())
    ends = now + lifetime_seconds
    return jwt.encode({**claims, "iat": now, "exp": ends}, secret, algorithm="HS256"), ends


def sign_api_key(secret: str, role: str) -> str:
    """A Supabase project's key for anon or service_role: names a role and nobody; always the same text."""
    import jwt

    claims = {"iss": KEYS_ISSUER, "ref": "asyouwere-local", "role": role, "iat": KEYS_FROM, "exp": KEYS_UNTIL}
    return jwt.encode(claims, secret, algorithm="HS256")
