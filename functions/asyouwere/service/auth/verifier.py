"""Who is calling: Supabase access tokens, verified here and nowhere else.

    caller = await verifier.caller("Bearer eyJ...")

The key decides the algorithm, never the token: HS256 for the shared secret, and for a public key the one its
kind allows. exp, aud, iss and sub must be there, with 30 seconds of leeway; the role is what the verified
token says and must be one that a function is for. Whatever is wrong with a token, the response is the same one; the
log says why (token_errors.py).

Functions for the service (``audience="service"``) know two more tokens: the scheduler's, see scheduler.py, and
a project's legacy service key, which has neither aud nor sub. That one is nothing but a claim to the service
role, signed with the project's shared secret, so it is good where that secret is configured, and only there.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from asyouwere.service.auth.caller import Caller, Role
from asyouwere.service.auth.token_errors import TokenError, reason_of
from asyouwere.service.settings import Settings

if TYPE_CHECKING:
    from asyouwere.service.auth.public_keys import KeySet
    from asyouwere.service.auth.scheduler import Scheduler

__all__ = ["Verifier"]

LEEWAY_SECONDS: Final = 30
#: Longest time a verified token is trusted without looking again, so that a withdrawn key goes out of use.
TRUST_SECONDS: Final = 300
MAX_TOKEN_CHARACTERS: Final = 16_384
MAX_REMEMBERED: Final = 4_096

#: The last letters that base64 has for so many letters beyond whole fours; others stand for the same bytes.
_CANONICAL_ENDS: Final = (
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
    "",
    "AQgw",
    "AEIMQUYcgkosw048",
)
#: Seconds that no clock will ever show.
_LATEST: Final = 1 << 53
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
#: The issuer of legacy keys, the same for every project.
_LEGACY_ISSUER: Final = "supabase"
_ROLES: Final[dict[str, Role]] = {"authenticated": "authenticated", "service_role": "service_role"}


class Verifier:
    """Verifies bearer tokens with the keys that the settings name and remembers the good ones for a while."""

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.jwt_secret
        self._issuer = settings.jwt_issuer
        self._jwt_audience = settings.jwt_audience
        self._jwks_url = settings.jwks_url
        self._keys: KeySet | None = None
        self._scheduler: Scheduler | None = None
        if settings.scheduler_audience is not None:
            from asyouwere.service.auth.scheduler import Scheduler

            self._scheduler = Scheduler(settings)
        self._remembered: dict[bytes, tuple[float, Caller]] = {}

    async def caller(self, authorization: str | None, *, audience: Literal["user", "service"] = "user") -> Caller:
        """The caller that an Authorization header names; audience: whom the function is for.

        Raises TokenError, to callers the same for every reason, and Unavailable if the public keys have never been
        reachable.
        """
        token = _bearer(authorization)
        digest = hashlib.sha256(audience.encode() + token.encode()).digest()
        now = time.time()
        known = self._remembered.get(digest)
        if known is not None and now < known[0]:
            return known[1]
        claims, caller = await self._verified(token, audience)
        if type(claims["exp"]) not in (int, float) or not 0 < claims["exp"] < _LATEST:
            raise TokenError("malformed")  # the library also takes "1" for a time, and 10 ** 400
        self._remember(digest, min(float(claims["exp"]) + LEEWAY_SECONDS, now + TRUST_SECONDS), caller)
        return caller

    def _remember(self, digest: bytes, until: float, caller: Caller) -> None:
        while len(self._remembered) >= MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = (until, caller)

    async def _verified(self, token: str, audience: Literal["user", "service"]) -> tuple[dict[str, Any], Caller]:
        # Imported on first use: cryptography costs more to import than everything else here together.
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            if audience == "service":
                # What the token says of itself only decides by which rules it is judged.
                issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
                if self._scheduler is not None and issuer == self._scheduler.issuer:
                    return await self._scheduler.claims(token, header), self._scheduler.caller()
                if issuer == _LEGACY_ISSUER:
                    return self._legacy(token, header)
            key, algorithm = await self._key(header)
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._jwt_audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "aud", "iss", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as exc:
            raise TokenError(reason_of(exc)) from exc
        return claims, _caller(claims, token)

    def _legacy(self, token: str, header: Mapping[str, Any]) -> tuple[dict[str, Any], Caller]:
        """A project's legacy service key. Raises TokenError, PyJWT's errors."""
        import jwt

        _refuse_extensions(header)
        if self._secret is None:
            raise TokenError("wrong_algorithm")
        claims: dict[str, Any] = jwt.decode(
            token,
            self._secret,
            algorithms=["HS256"],
            issuer=_LEGACY_ISSUER,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss"], "verify_aud": False},
        )
        if claims.get("role") != "service_role":
            raise TokenError("wrong_role")
        if "sub" in claims:
            raise TokenError("wrong_subject")
        return claims, Caller("service_role", None, '{"role":"service_role"}', token)

    async def _key(self, header: Mapping[str, Any]) -> tuple[Any, str]:
        _refuse_extensions(header)
        if header.get("alg") == "HS256" and self._secret is not None:
            return self._secret, "HS256"
        kid = header.get("kid")
        if self._jwks_url is None:
            raise TokenError("wrong_algorithm")
        if not isinstance(kid, str):
            raise TokenError("unknown_key")
        if self._keys is None:
            from asyouwere.service.auth.public_keys import KeySet

            self._keys = KeySet(self._jwks_url)
        found = await self._keys.find(kid)
        if found is None:
            raise TokenError("unknown_key")
        if found.algorithm != header.get("alg"):
            raise TokenError("wrong_algorithm")
        return found.key, found.algorithm


def _refuse_extensions(header: Mapping[str, Any]) -> None:
    """No extension is understood here, so a token that insists on one is not good."""
    if "crit" in header or header.get("b64", True) is not True:
        raise TokenError("malformed")


def _bearer(authorization: str | None) -> str:
    if authorization is None:
        raise TokenError("no_token")
    scheme, _, token = authorization.partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or len(token) > MAX_TOKEN_CHARACTERS or not _TOKEN.fullmatch(token):
        raise TokenError("malformed")
    if not all(part[-1] in _CANONICAL_ENDS[len(part) % 4] for part in token.split(".")):
        raise TokenError("malformed")
    return token


def _caller(claims: Mapping[str, Any], token: str) -> Caller:
    role = _ROLES.get(claims["role"]) if isinstance(claims.get("role"), str) else None
    subject = claims["sub"]
    if role is None:
        raise TokenError("wrong_role")
    if not isinstance(subject, str):
        raise TokenError("wrong_subject")
    user_id = None
    if role == "authenticated":
        if not _UUID.fullmatch(subject):
            raise TokenError("wrong_subject")
        user_id = subject.lower()
    text = json.dumps(claims, ensure_ascii=True, separators=(",", ":"))
    # PostgreSQL's jsonb could not take these; no issuer that keeps users in it writes them.
    if re.search(r"\\u(0000|d[89a-f])", text):
        text = json.dumps(_plain(claims), separators=(",", ":"))
    return Caller(role=role, user_id=user_id, claims=text, token=token)


def _plain(claims: Mapping[str, Any]) -> dict[str, Any]:
    return {name: claims[name] for name in ("sub", "role", "aud", "iss", "exp") if name in claims}
