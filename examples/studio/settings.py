"""What can be set: make example NAME=studio SET="poll_seconds=1 asks_login=true"."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from asyouwere.local.errors import LocalError

__all__ = ["Settings"]


class Settings(BaseModel, extra="forbid"):
    """All that depends on the agent's site is in the first paragraph: when they change it, change it here.

    site: its start page, by default the stand-in's. agent: pattern of an agent's path, with its id as the group.
    Selectors: box to type into, button that submits, entries of the transcript (``data-author`` is user or agent,
    ``aria-busy`` while it is still written), those of them that the person said, links to agents, fields of the form
    that asks who one is.
    """

    site: str = ""
    provider: str = "stand-in"
    agent: str = r"/agent/([\w-]+)"
    box: str = "div[role=textbox][contenteditable]"
    submit: str = "button[type=submit]"
    entry: str = "[data-author]"
    said: str = "[data-author=user]"
    links: str = "a[href*='/agent/']"
    login_name: str = "input[name=name]"
    login_password: str = "input[type=password]"

    box_seconds: float = 5.0  # how long the box, and then the button, may take to show
    poll_seconds: float = 3.0  # between two looks for answers
    frame_seconds: float = 1.0  # between two pictures of the page for those who watch it
    frame_bytes: int = 200_000  # a picture that is larger is not sent
    linger_seconds: float = 120.0  # how long the agent's page stays open without anybody here
    conversations: int = 20  # that are open at once, each a tab of the browser

    asks_login: bool = False  # whether the stand-in asks who one is; any name and the password "studio" will do
    chromium: str = "chromium"  # the program
    login_key: str | None = None  # 32 bytes in base64url, to keep logins under; by default made, in a file
    token_seconds: float = 3600.0  # how long a page's token is good for: see examples/pages.py

    @classmethod
    def of(cls, options: dict[str, Any]) -> Settings:
        """From the app's options. Raises LocalError for one that is none."""
        try:
            return cls(**options)
        except ValidationError as error:
            raise LocalError(f"the studio's settings are {', '.join(cls.model_fields)}; {error}") from None
