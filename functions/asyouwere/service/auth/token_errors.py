"""Why a token is refused: told to the owner's log in a stable word, and to nobody who sends one.

Callers get one answer for every reason, so that they learn nothing of keys and rules. The word is enough to tell a
clock that is off from a wrong setting; the token, and what it says of whom, is in no log.
"""

from __future__ import annotations

from typing import Final

from asyouwere.errors import Unauthorized

__all__ = ["REASONS", "TokenError", "reason_of"]

#: Each reason with what it means and where to look.
REASONS: Final[dict[str, str]] = {
    "no_token": "the request has no Authorization header",
    "malformed": "not one `Bearer` and a JWT that can be read; it insists on an extension; or a time in it is none",
    "expired": "its `exp` has passed: the client must refresh it; if many do, compare the clocks",
    "not_yet_valid": "its `nbf` or `iat` is in the future: compare the clocks",
    "missing_claim": "`exp`, `aud`, `iss` or `sub` is not in it",
    "wrong_audience": "its `aud` is not `ASYOUWERE_JWT_AUDIENCE` (the scheduler's: `ASYOUWERE_SCHEDULER_AUDIENCE`)",
    "wrong_issuer": "its `iss` is not `ASYOUWERE_JWT_ISSUER`: a token of another project",
    "unknown_key": "its `kid` is none of the public keys: another project's, or one that was withdrawn",
    "wrong_algorithm": "signed in a way that these settings have no key for (`ASYOUWERE_JWT_SECRET` is for HS256, "
    "`ASYOUWERE_JWKS_URL` for RS256 and ES256), or not as its key says",
    "bad_signature": "signed with another secret or key, or changed on the way",
    "wrong_role": "its `role` is none that this function is for",
    "wrong_subject": "its `sub` is no user's id",
    "wrong_account": "the scheduler's: its `email` is not `ASYOUWERE_SCHEDULER_EMAIL`, or not verified",
    "by_database": "good here, and refused by PostgREST: its JWT settings are not those of the functions",
}

#: PyJWT's errors by name, so that the library need not be there; whatever else it says is a form of malformed.
_OF_LIBRARY: Final = {
    "ExpiredSignatureError": "expired",
    "ImmatureSignatureError": "not_yet_valid",
    "MissingRequiredClaimError": "missing_claim",
    "InvalidAudienceError": "wrong_audience",
    "InvalidIssuerError": "wrong_issuer",
    "InvalidSubjectError": "wrong_subject",
    "InvalidSignatureError": "bad_signature",
    "InvalidAlgorithmError": "wrong_algorithm",
}


class TokenError(Unauthorized):
    """401, the same for everybody; reason: one of ``REASONS``, for the log alone."""

    def __init__(self, reason: str) -> None:
        super().__init__("invalid_token")
        self.reason = reason


def reason_of(error: Exception) -> str:
    """Why PyJWT refused a token."""
    return _OF_LIBRARY.get(type(error).__name__, "malformed")
