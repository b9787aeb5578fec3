"""The scheduler's way in: an OIDC token that Google signed for one service account and one address.

Cloud Scheduler sends one with every call. It opens the clean-up and nothing else: whose tokens are good, and
for which audience, the settings say, and in the database it is the service role that acts.

Where Cloud Run's IAM guards the function, Cloud Run has checked the signature and puts a fixed text in its
place, so that a function can't pass the token on. Such a token is good only if ASYOUWERE_SCHEDULER_BEHIND_IAM
says that nobody can get past IAM: without it, that text would be a signature that anybody can write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from asyouwere.service.auth.caller import Caller
from asyouwere.service.auth.token_errors import TokenError
from asyouwere.service.settings import Settings

if TYPE_CHECKING:
    from asyouwere.service.auth.public_keys import KeySet

__all__ = ["Scheduler"]

_LEEWAY_SECONDS: Final = 30
#: What Cloud Run puts in a signature's place.
_REMOVED: Final = ".SIGNATURE_REMOVED_BY_GOOGLE"
#: The service has no user and no token that the database would know.
_SERVICE: Final = Caller(role="service_role", user_id=None, claims='{"role":"service_role"}')


class Scheduler:
    """Verifies the scheduler's tokens: RS256 by the issuer's keys; issuer, audience and account exactly."""

    def __init__(self, settings: Settings) -> None:
        self.issuer = settings.scheduler_issuer
        self._audience = settings.scheduler_audience
        self._email = settings.scheduler_email
        self._jwks_url = settings.scheduler_jwks_url
        self._behind_iam = settings.scheduler_behind_iam
        self._keys: KeySet | None = None

    async def claims(self, token: str, header: Mapping[str, Any]) -> dict[str, Any]:
        """What the token says. Raises TokenError, PyJWT's errors, Unavailable if no keys can be fetched."""
        if self._behind_iam and token.endswith(_REMOVED):
            claims = self._read(token, key=None)
        else:
            claims = self._read(token, key=await self._key(header))
        # Not one of several audiences, and not an address that anybody may have typed in.
        if claims["aud"] != self._audience:
            raise TokenError("wrong_audience")
        if claims.get("email") != self._email or claims.get("email_verified") is not True:
            raise TokenError("wrong_account")
        return claims

    async def _key(self, header: Mapping[str, Any]) -> Any:
        from asyouwere.service.auth.public_keys import KeySet

        kid = header.get("kid")
        if "crit" in header:
            raise TokenError("malformed")
        if header.get("alg") != "RS256":
            raise TokenError("wrong_algorithm")
        if not isinstance(kid, str):
            raise TokenError("unknown_key")
        if self._keys is None:
            self._keys = KeySet(self._jwks_url)
        found = await self._keys.find(kid)
        if found is None:
            raise TokenError("unknown_key")
        if found.algorithm != "RS256":
            raise TokenError("wrong_algorithm")
        return found.key

    def _read(self, token: str, key: Any) -> dict[str, Any]:
        """The claims, with everything about them checked; the signature too unless there is no key."""
        import jwt

        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=["RS256"],
            audience=self._audience,
            issuer=self.issuer,
            leeway=_LEEWAY_SECONDS,
            options={
                "require": ["exp", "aud", "iss"],
                "verify_signature": key is not None,
                # These would follow the signature's.
                "verify_exp": True,
                "verify_nbf": True,
                "verify_iat": True,
                "verify_aud": True,
                "verify_iss": True,
            },
        )
        return claims

    @staticmethod
    def caller() -> Caller:
        """Who calls with such a token."""
        return _SERVICE
