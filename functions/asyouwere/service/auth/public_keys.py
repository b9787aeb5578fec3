"""The public keys of the token issuer (JWKS): refreshed seldom, kept while the issuer is away."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
import urllib.request
from typing import Any, Final, NamedTuple

from asyouwere.errors import Unavailable

__all__ = ["Key", "KeySet"]

#: Least time between two fetches, whatever callers send: unknown key ids must not become a load on the
#: issuer.
RETRY_SECONDS: Final = 30.0
#: Age after which a known key is looked up again in the background.
FRESH_SECONDS: Final = 600.0
FETCH_TIMEOUT_SECONDS: Final = 5.0
MAX_DOCUMENT_BYTES: Final = 256 * 1024


class Key(NamedTuple):
    """A public key and the one algorithm it may be used with."""

    key: Any
    algorithm: str


class KeySet:
    """The keys at one address, by key id."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str, Key] | None = None
        self._tried = float("-inf")
        self._fetched = float("-inf")
        self._running: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> Key | None:
        """The key of that id, or None. Raises Unavailable if no keys could be fetched yet."""
        now = time.monotonic()
        key = (self._keys or {}).get(kid)
        if key is not None:
            if now - self._fetched > FRESH_SECONDS and now - self._tried >= RETRY_SECONDS:
                self._start(now)  # the key at hand serves meanwhile
            return key
        if self._running is None and now - self._tried >= RETRY_SECONDS:
            self._start(now)
        if self._running is not None:
            # Shielded: one caller who goes away must not stop the fetch that others wait for.
            await asyncio.shield(self._running)
        if self._keys is None:
            raise Unavailable("keys_unavailable", retry_after=5)
        return self._keys.get(kid)

    def _start(self, now: float) -> None:
        self._tried = now
        self._running = asyncio.get_running_loop().create_task(self._refresh())

    async def _refresh(self) -> None:
        try:
            # A timeout of its own: the one of the connection begins anew with every byte that drips in.
            async with asyncio.timeout(FETCH_TIMEOUT_SECONDS):
                document = await asyncio.to_thread(_fetch, self._url)
            self._keys = _parse(document)
            self._fetched = time.monotonic()
        except (OSError, ValueError, LookupError, TypeError, RecursionError, http.client.HTTPException):
            pass  # whatever the server does or sends: the keys at hand, if any, stay in use
        finally:
            self._running = None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Keys come from the address that was configured and from nowhere else, least of all over plain http."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _fetch(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "asyouwere"})
    with urllib.request.build_opener(_NoRedirect).open(request, timeout=FETCH_TIMEOUT_SECONDS) as response:
        body: bytes = response.read(MAX_DOCUMENT_BYTES + 1)
    if len(body) > MAX_DOCUMENT_BYTES:
        raise ValueError("the key document is too large")
    return body


def _parse(document: bytes) -> dict[str, Key]:
    """Every signing key we can use; a key of a kind we do not know must not cost us the others."""
    import jwt

    listed = json.loads(document)["keys"]
    if not isinstance(listed, list):
        raise ValueError("no list of keys")
    keys = {}
    for entry in listed:
        algorithm = _algorithm(entry)
        if algorithm is None:
            continue
        try:
            keys[entry["kid"]] = Key(jwt.PyJWK(entry, algorithm=algorithm).key, algorithm)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
    if not keys:
        raise ValueError("no key that could be used")  # a fault at the issuer, which always has one
    return keys


def _algorithm(entry: object) -> str | None:
    """The algorithm that a key's kind allows, None if the key is not for verifying signatures with us."""
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str):
        return None
    if entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ["verify"]):
        return None
    kind = f"{entry.get('kty')} {entry.get('crv', '')}".strip()
    algorithm = {"RSA": "RS256", "EC P-256": "ES256", "OKP Ed25519": "EdDSA"}.get(kind)
    return algorithm if entry.get("alg", algorithm) == algorithm else None
