"""Tokens that must not open a door, each wrong in one way, and what they are made with."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.functions.api import ISSUER, SECRET

SUB = str(uuid.UUID(int=7))


def encoded(part: Any) -> str:
    """One part of a token."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {"iss": ISSUER, "aud": "authenticated", "sub": SUB, "role": "authenticated", "exp": now + 600}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(header: dict[str, Any] | None = None, secret: str = SECRET, **changes: Any) -> str:
    return jwt.encode(claims(**changes), secret, "HS256", headers=header)


def unsigned(header: dict[str, Any], **changes: Any) -> str:
    return f"{encoded(header)}.{encoded(claims(**changes))}."


RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC_PEM = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def signed_by_hand(
    header: dict[str, Any], payload: dict[str, Any] | bytes, secret: bytes = SECRET.encode()
) -> str:
    """HS256 over anything, also what a library refuses to sign."""
    signing_input = f"{encoded(header)}.{encoded(payload)}"
    signature = hmac.new(secret, signing_input.encode(), hashlib.sha256).digest()
    return f"{signing_input}.{encoded(signature)}"


PUBLIC_JWK = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key()))
OTHER_JWK = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(OTHER_RSA_KEY.public_key()))


def by_header(**header: Any) -> str:
    """Signed with a key that only the header could know of."""
    return jwt.encode(claims(), OTHER_RSA_KEY, "RS256", headers=header)


def with_spare_bits(token: str) -> str:
    """The same bytes with another last letter, of whose bits base64 does not use all."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + letters[letters.index(token[-1]) + 1]


def now() -> int:
    """Asked for each token: whoever keeps the time of the import has tokens that become good after a while."""
    return int(time.time())


HS256 = {"alg": "HS256", "typ": "JWT"}

BAD: dict[str, Callable[[], str]] = {
    "empty": lambda: "Bearer",
    "no_scheme": lambda: signed(),
    "basic": lambda: "Basic " + base64.b64encode(b"user:password").decode(),
    "two_tokens": lambda: f"Bearer {signed()} {signed()}",
    "comma": lambda: f"Bearer {signed()}, Bearer {signed()}",
    "not_a_token": lambda: "Bearer x",
    "two_parts": lambda: "Bearer " + signed().rpartition(".")[0],
    "padded": lambda: "Bearer " + signed() + "==",
    "none": lambda: "Bearer " + unsigned({"alg": "none", "typ": "JWT"}),
    "None": lambda: "Bearer " + unsigned({"alg": "None"}) + "AA",
    "no_algorithm": lambda: "Bearer " + signed_by_hand({"typ": "JWT"}, claims()),
    # by three of 43 letters: what is left is whole bytes, so that only the signature is wrong
    "signature_cut": lambda: "Bearer " + signed()[:-3],
    "signature_of_another": lambda: (
        "Bearer " + signed().rpartition(".")[0] + "." + signed(sub="x").rpartition(".")[2]
    ),
    "other_secret": lambda: "Bearer " + signed(secret="another secret, just as long as the first"),
    "empty_secret": lambda: "Bearer " + signed_by_hand(HS256, claims(), b""),
    "hs512": lambda: "Bearer " + jwt.encode(claims(), SECRET * 2, "HS512"),
    "rs256_by_a_stranger": lambda: "Bearer " + jwt.encode(claims(), RSA_KEY, "RS256", headers={"kid": "rsa"}),
    "hs256_with_a_public_key": lambda: "Bearer " + signed_by_hand(HS256, claims(), PUBLIC_PEM),
    "expired": lambda: "Bearer " + signed(exp=now() - 60),
    "no_exp": lambda: "Bearer " + signed(exp=None),
    "exp_is_text": lambda: "Bearer " + signed_by_hand(HS256, {**claims(), "exp": "soon"}),
    "exp_is_infinite": lambda: (
        "Bearer " + signed_by_hand(HS256, json.dumps(claims())[:-1].encode() + b',"exp":1e999}')
    ),
    "not_yet_valid": lambda: "Bearer " + signed(nbf=now() + 600),
    "issued_in_the_future": lambda: "Bearer " + signed(iat=now() + 600),
    "no_aud": lambda: "Bearer " + signed(aud=None),
    "wrong_aud": lambda: "Bearer " + signed(aud="anon"),
    "aud_is_a_part": lambda: "Bearer " + signed(aud="authenticate"),
    "no_iss": lambda: "Bearer " + signed(iss=None),
    "wrong_iss": lambda: "Bearer " + signed(iss=ISSUER + "/"),
    "no_sub": lambda: "Bearer " + signed(sub=None),
    "sub_is_no_uuid": lambda: "Bearer " + signed(sub="1 or 1=1"),
    "sub_is_a_number": lambda: "Bearer " + signed_by_hand(HS256, {**claims(), "sub": 7}),
    "no_role": lambda: "Bearer " + signed(role=None),
    "anon": lambda: "Bearer " + signed(role="anon"),
    "service_role": lambda: "Bearer " + signed(role="service_role"),
    "postgres": lambda: "Bearer " + signed(role="postgres"),
    "role_is_a_list": lambda: "Bearer " + signed(role=["authenticated"]),
    "role_elsewhere": lambda: "Bearer " + signed(role=None, app_metadata={"role": "authenticated"}),
    "critical_extension": lambda: "Bearer " + signed({"crit": ["exp"], "exp": 1}),
    "unencoded_payload": lambda: "Bearer " + signed({"b64": True, "crit": ["b64"]}),
    "unknown_kid": lambda: "Bearer " + jwt.encode(claims(), EC_KEY, "ES256", headers={"kid": "nobody"}),
    "payload_is_a_list": lambda: "Bearer " + signed_by_hand(HS256, b"[1]"),
    "payload_is_no_json": lambda: "Bearer " + signed_by_hand(HS256, b"\xff\xfe"),
    "payload_is_deep": lambda: "Bearer " + signed_by_hand(HS256, b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "header_is_deep": lambda: "Bearer " + encoded(b"[" * 5000) + "." + encoded(claims()) + ".AA",
    "signature_with_spare_bits": lambda: "Bearer " + with_spare_bits(signed()),
    "trailing_part": lambda: "Bearer " + signed() + ".AA",
    "trailing_bytes": lambda: "Bearer " + signed() + "AAAA",
    "standard_base64": lambda: "Bearer " + signed().replace("_", "/").replace("-", "+") + "+/==",
    "embedded_key": lambda: "Bearer " + jwt.encode(claims(), RSA_KEY, "RS256", headers={"jwk": PUBLIC_JWK}),
    "embedded_key_of_a_known_id": lambda: (
        "Bearer " + jwt.encode(claims(), OTHER_RSA_KEY, "RS256", headers={"jwk": OTHER_JWK, "kid": "rsa"})
    ),
    "key_from_elsewhere": lambda: "Bearer " + by_header(jku="http://127.0.0.1:1/keys.json"),
    "certificate_from_elsewhere": lambda: "Bearer " + by_header(x5u="http://127.0.0.1:1/c.pem"),
    "certificate_in_the_header": lambda: "Bearer " + by_header(x5c=["AAAA"]),
    "kid_is_a_path": lambda: "Bearer " + by_header(kid="../../../../dev/null"),
    "kid_is_sql": lambda: "Bearer " + by_header(kid="x' union select 'k"),
    "kid_is_a_list": lambda: "Bearer " + signed_by_hand({"alg": "RS256", "kid": ["rsa"]}, claims()),
    "algorithm_is_a_list": lambda: "Bearer " + signed_by_hand({"alg": ["HS256"]}, claims()),
    "algorithm_in_small_letters": lambda: "Bearer " + signed_by_hand({"alg": "hs256"}, claims()),
    "exp_is_digits": lambda: "Bearer " + signed_by_hand(HS256, {**claims(), "exp": str(now() + 600)}),
    "exp_is_nan": lambda: "Bearer " + signed_by_hand(HS256, {**claims(), "exp": float("nan")}),
    "exp_is_true": lambda: "Bearer " + signed_by_hand(HS256, {**claims(), "exp": True}),
    "exp_is_a_list": lambda: "Bearer " + signed_by_hand(HS256, {**claims(), "exp": [now() + 600]}),
    "exp_is_null": lambda: "Bearer " + signed_by_hand(HS256, {**claims(), "exp": None}),
    "exp_is_negative": lambda: "Bearer " + signed(exp=-(10**12)),
    "exp_has_400_digits": lambda: "Bearer " + signed_by_hand(HS256, {**claims(), "exp": 10**400}),
    "exp_is_1e300": lambda: "Bearer " + signed_by_hand(HS256, {**claims(), "exp": 1e300}),
    "nbf_is_text": lambda: "Bearer " + signed_by_hand(HS256, {**claims(), "nbf": "soon"}),
    "iat_is_text": lambda: "Bearer " + signed_by_hand(HS256, {**claims(), "iat": "soon"}),
    "iss_is_a_list": lambda: "Bearer " + signed_by_hand(HS256, {**claims(), "iss": [ISSUER]}),
    "aud_is_an_object": lambda: "Bearer " + signed_by_hand(HS256, {**claims(), "aud": {"authenticated": 1}}),
    "sub_is_empty": lambda: "Bearer " + signed(sub=""),
    "sub_has_a_newline": lambda: "Bearer " + signed(sub=SUB + "\n"),
    "role_twice_the_last_counts": lambda: (
        "Bearer " + signed_by_hand(HS256, json.dumps(claims())[:-1].encode() + b',"role":"service_role"}')
    ),
    "role_in_capitals": lambda: "Bearer " + signed(role="SERVICE_ROLE"),
    "role_of_the_login": lambda: "Bearer " + signed(role="authenticator"),
    "role_with_sql": lambda: "Bearer " + signed(role="authenticated; reset role"),
    "legacy_service_key": lambda: (
        "Bearer " + signed_by_hand(HS256, {"iss": "supabase", "role": "service_role", "exp": now() + 600})
    ),
    "letters_of_another_width": lambda: (
        "Bearer " + signed().replace("e", "\uff45").encode().decode("latin-1")
    ),
    "huge_header": lambda: "Bearer " + signed({"more": "x" * 20_000}),
    "huge": lambda: "Bearer " + signed(more="x" * 40_000),
}
