"""Sealing what leaves a client: spec/encryption.md says how, spec/cases/encryption.json has the vectors.

    key = Key.from_passphrase("2026", passphrase, salt=user_id)      # or Key("2026", 32 bytes)
    asyouwere.open(url, …, encryption=Encryption(key, old_key))

Needs the extra ``encryption``.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import unicodedata
from collections.abc import Iterable
from hashlib import pbkdf2_hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from asyouwere.client.errors import KeyMissing, Tampered

__all__ = ["Encryption", "Key"]

_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,32}")
_TOKEN: Final = re.compile(r"ayw1\.(part|item|chunk)\.([A-Za-z0-9_]{1,32}-[0-9a-f]{8})\.([A-Za-z0-9_-]*)")
_ROUNDS: Final = 600_000
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16


class Key:
    """A key of 32 random bytes, and the app's name for it (1 to 32 of A-Z a-z 0-9 _)."""

    def __init__(self, name: str, secret: bytes) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError("a key's name has 1 to 32 of A-Z a-z 0-9 _")
        if len(secret) != 32:
            raise ValueError("a key has 32 bytes")
        self._cipher = AESGCM(secret)
        check = self._cipher.encrypt(bytes(_NONCE_BYTES), b"", b"asyouwere key check")[:4].hex()
        self.id = f"{name}-{check}"

    @classmethod
    def from_passphrase(cls, name: str, passphrase: str, *, salt: str, iterations: int = _ROUNDS) -> Key:
        """The key of a passphrase. salt: the same on all of a user's devices, at least 8 bytes: the user's id.
        Takes a third of a second."""
        if len(salt.encode()) < 8:
            raise ValueError("a salt has at least 8 bytes")
        secret = unicodedata.normalize("NFC", passphrase).encode()
        return cls(name, pbkdf2_hmac("sha256", secret, salt.encode(), iterations, 32))

    def seal(self, kind: str, session: str, place: str, text: str, *, nonce: bytes | None = None) -> str:
        """The token of a value's JSON text. nonce: for test vectors alone."""
        nonce = nonce or os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), associated(kind, session, place, self.id))
        return f"ayw1.{kind}.{self.id}.{base64.urlsafe_b64encode(sealed).rstrip(b'=').decode()}"

    def opened(self, kind: str, session: str, place: str, sealed: bytes) -> str:
        """The text of what was sealed. Raises InvalidTag."""
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        return self._cipher.decrypt(nonce, rest, associated(kind, session, place, self.id)).decode()

    def __repr__(self) -> str:
        return f"<Key {self.id}>"


def associated(kind: str, session: str, place: str, key: str) -> bytes:
    """What a token is bound to."""
    text = json.dumps(["ayw1", kind, session.lower(), place, key], separators=(",", ":"))
    return text.replace("\x7f", "\\u007f").encode()


class Encryption:
    """The key to seal with, and the ones before it, to open with.

    allow_plain: also take what is not sealed, of a session that is older than its encryption; origins: ids of the
    sessions that a branch comes from.
    """

    def __init__(self, key: Key, *older: Key, allow_plain: bool = False, origins: Iterable[str] = ()) -> None:
        self.key = key
        self.allow_plain = allow_plain
        self._origins = tuple(origins)
        self._keys = {one.id: one for one in (*older, key)}

    def seal(self, kind: str, session: str, place: str, text: str) -> str:
        """The token of a value's JSON text, with quotes."""
        return f'"{self.key.seal(kind, session, place, text)}"'

    def open(self, kind: str, session: str, place: str, token: str, seen: set[bytes] | None = None) -> str:
        """The JSON text of a value. seen: the nonces of an answer so far. Raises KeyMissing, Tampered."""
        match = _TOKEN.fullmatch(token)
        if match is None or match[1] != kind:
            raise Tampered
        key = self._keys.get(match[2])
        if key is None:
            raise KeyMissing(f"A part was sealed with the key {match[2]}, which is not here. Pass it to read it.")
        try:
            sealed = base64.b64decode(match[3] + "=" * (-len(match[3]) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise Tampered from None
        if len(sealed) < _NONCE_BYTES + _TAG_BYTES:
            raise Tampered
        if seen is not None:
            nonce = sealed[:_NONCE_BYTES]
            if nonce in seen:
                raise Tampered("A value was copied: the same one is there twice.")
            seen.add(nonce)
        for origin in (session, *self._origins):
            try:
                return key.opened(kind, origin, place, sealed)
            except InvalidTag:
                continue
        raise Tampered

    def __repr__(self) -> str:
        return f"<Encryption with {self.key.id}>"
