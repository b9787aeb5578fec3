"""Users' logins at the agent's site, each in a file that only the key opens."""

from __future__ import annotations

import base64
import json
import logging
import os
import secrets
from pathlib import Path
from typing import Any

from asyouwere.client.encryption import Encryption, Key
from asyouwere.errors import AsYouWereError
from asyouwere.local.errors import LocalError

__all__ = ["Logins"]

_LOG = logging.getLogger("studio")


class Logins:
    """What Playwright calls the storage state (cookies and local storage), by user.

    Sealed for that user: a file under another's name does not open. Nothing of it is ever logged.
    """

    def __init__(self, folder: Path, key: str | None) -> None:
        self._folder = folder / "logins"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        try:
            self._seals = Encryption(Key("studio", base64.urlsafe_b64decode(key or _own_key(folder))))
        except ValueError:
            raise LocalError("login_key is 32 bytes in base64url: openssl rand -base64 32 | tr +/ -_") from None

    def read(self, user: str) -> Any:
        """The user's storage state; None if there is none, or none that this key opens: they are asked again."""
        try:
            return json.loads(self._seals.open("part", user, "/login", self._file(user).read_text()))
        except FileNotFoundError:
            return None
        except (AsYouWereError, ValueError):
            _LOG.warning("a login is kept under another key, so the site will ask for it again")
            return None

    def write(self, user: str, state: Any) -> None:
        """Keep it, in place of what was kept."""
        file = self._file(user)
        _write(file.with_suffix(".part"), self._seals.key.seal("part", user, "/login", json.dumps(state)))
        file.with_suffix(".part").replace(file)

    def _file(self, user: str) -> Path:
        return self._folder / f"{user}.sealed"


def _own_key(folder: Path) -> str:
    """For trying it out. In an app of your own the key comes from where its other secrets are."""
    file = folder / "login.key"
    if not file.exists():
        _write(file, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    return file.read_text()


def _write(file: Path, text: str) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        opened.write(text)
