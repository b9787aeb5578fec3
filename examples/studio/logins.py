"""Users' logins at the agent's site, each in a file that only the key opens."""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path
from typing import Any

from asyouwere.client.encryption import Encryption, Key
from asyouwere.errors import AsYouWereError
from asyouwere.local.errors import LocalError

__all__ = ["Logins"]


class Logins:
    """What Playwright calls the storage state (cookies and local storage), by user.

    Sealed for that user: a file under another's name does not open. Nothing of it is ever logged.
    """

    def __init__(self, folder: Path, key: str | None) -> None:
        self._folder = folder / "logins"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        own = folder / "login.key"  # for trying it out; in your app the key comes from where its other secrets are
        if key is None and not own.exists():
            _write(own, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
        try:
            self._seals = Encryption(Key("studio", base64.urlsafe_b64decode(key or own.read_text())))
        except ValueError:
            raise LocalError("login_key is 32 bytes in base64url: openssl rand -base64 32 | tr +/ -_") from None

    def read(self, user: str) -> Any:
        """The user's storage state; None if there is none, or none that this key opens: then the site asks again."""
        try:
            return json.loads(self._seals.open("part", user, "/login", (self._folder / user).read_text()))
        except (FileNotFoundError, AsYouWereError):
            return None

    def write(self, user: str, state: Any) -> None:
        """Keep it, in place of what was kept."""
        _write(self._folder / user, self._seals.key.seal("part", user, "/login", json.dumps(state)))


def _write(file: Path, text: str) -> None:
    """For its owner's eyes; beside and renamed, so a file that is half written never counts."""
    part = file.with_suffix(".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        opened.write(text)
    part.rename(file)
