"""Who is calling: Supabase access tokens, verified here and nowhere else.

    caller = await verifier.caller("Bearer eyJ...")

The key decides the algorithm, never the token: HS256 for the shared secret, and for a public key the one its
kind allows. exp, aud, iss and sub must be there, with 30 seconds of leeway; the role is what the verified
token says and must be one that a function is for. Whatever is wrong with a token, the answer is the same one.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from leftoff.callers import Caller, Role
from leftoff.errors import Unauthorized
from leftoff.settings import Settings

if TYPE_CHECKING:
    from leftoff.keys import KeySet

__all__ = ["Verifier"]

LEEWAY_SECONDS: Final = 30
#: Longest time a verified token is trusted without looking again, so that a withdrawn key goes out of use.
TRUST_SECONDS: Final = 300
MAX_TOKEN_CHARACTERS: Final = 16_384
MAX_REMEMBERED: Final = 4_096

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_ROLES: Final[dict[str, Role]] = {"authenticated": "authenticated", "service_role": "service_role"}


class Verifier:
    """Verifies bearer tokens with the keys that the settings name and remembers the good ones for a while."""

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.jwt_secret
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._jwks_url = settings.jwks_url
        self._keys: KeySet | None = None
        self._remembered: dict[bytes, tuple[float, Caller]] = {}

    async def caller(self, authorization: str | None) -> Caller:
        """The caller that an Authorization header names. Raises Unauthorized, the same for every reason, and
        Unavailable if the public keys have never been reachable."""
        token = _bearer(authorization)
        digest = hashlib.sha256(token.encode()).digest()
        now = time.time()
        known = self._remembered.get(digest)
        if known is not None and now < known[0]:
            return known[1]
        claims = await self._verified(token)
        caller = _caller(claims, token)
        self._remember(digest, min(float(claims["exp"]) + LEEWAY_SECONDS, now + TRUST_SECONDS), caller)
        return caller

    def _remember(self, digest: bytes, until: float, caller: Caller) -> None:
        while len(self._remembered) >= MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = (until, caller)

    async def _verified(self, token: str) -> dict[str, Any]:
        # Imported on first use: cryptography costs more to import than everything else here together.
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            key, algorithm = await self._key(header)
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "aud", "iss", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as exc:
            raise Unauthorized("invalid_token") from exc
        return claims

    async def _key(self, header: Mapping[str, Any]) -> tuple[Any, str]:
        # No extension is understood here, so a token that insists on one is not good.
        if "crit" in header or header.get("b64", True) is not True:
            raise Unauthorized("invalid_token")
        if header.get("alg") == "HS256" and self._secret is not None:
            return self._secret, "HS256"
        kid = header.get("kid")
        if self._jwks_url is None or not isinstance(kid, str):
            raise Unauthorized("invalid_token")
        if self._keys is None:
            from leftoff.keys import KeySet

            self._keys = KeySet(self._jwks_url)
        found = await self._keys.find(kid)
        if found is None or found.algorithm != header.get("alg"):
            raise Unauthorized("invalid_token")
        return found.key, found.algorithm


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or len(token) > MAX_TOKEN_CHARACTERS or not _TOKEN.fullmatch(token):
        raise Unauthorized("invalid_token")
    return token


def _caller(claims: Mapping[str, Any], token: str) -> Caller:
    role = _ROLES.get(claims["role"]) if isinstance(claims.get("role"), str) else None
    subject = claims["sub"]
    if role is None or not isinstance(subject, str):
        raise Unauthorized("invalid_token")
    user_id = None
    if role == "authenticated":
        if not _UUID.fullmatch(subject):
            raise Unauthorized("invalid_token")
        user_id = subject.lower()
    text = json.dumps(claims, ensure_ascii=True, separators=(",", ":"))
    # PostgreSQL's jsonb could not take these; no issuer that keeps users in it writes them.
    if re.search(r"\\u(0000|d[89a-f])", text):
        text = json.dumps(_plain(claims), separators=(",", ":"))
    return Caller(role=role, user_id=user_id, claims=text, token=token)


def _plain(claims: Mapping[str, Any]) -> dict[str, Any]:
    return {name: claims[name] for name in ("sub", "role", "aud", "iss", "exp") if name in claims}
