"""Stands for your model: it writes posts, writes them anew, and marks them as posted."""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Any

__all__ = ["picture", "respond"]

_WORDINGS = (
    "Some thoughts on {topic}, over the first coffee of the day.",
    "{topic}: what nobody told me, and what I would do again.",
    "Three small things about {topic} that made a difference.",
)


def respond(state: Any, text: str, context: dict[str, Any]) -> tuple[str, str | None]:
    """The reply, and the address of a picture if it has one. state: its list `posts` is changed in place."""
    posts = state.setdefault("posts", [])
    wish = text.lower()
    if about := re.search(r"\bpost about (.+?)[.!?]*$", text, re.IGNORECASE):
        posts.append({"id": uuid.uuid4().hex[:12], "topic": about[1], "version": 0, "status": "draft"})
        return _written(posts[-1], "Here is a draft.")
    if "regenerate" in wish or wish.startswith("post it"):
        if not posts:
            return "There is no post yet: ask me for a post about something.", None
        if wish.startswith("post it"):
            posts[-1]["status"] = "posted"
            return "It is out.", None
        return _written(_draft_of(posts), "I wrote it anew.")
    looking_at = f" You are looking at {context['title']}." if context.get("title") else ""
    return f"I am here.{looking_at} Ask me for a post about something.", None


def _draft_of(posts: Any) -> Any:
    """The last post as a draft to be changed. What is out stays as it is: a new draft goes in its place."""
    last = posts[-1]
    if last["status"] == "posted":
        fresh = {"id": uuid.uuid4().hex[:12], "status": "draft", "instead_of": last["id"]}
        posts.append({**fresh, "topic": last["topic"], "version": last["version"]})
    return posts[-1]


def _written(post: Any, remark: str) -> tuple[str, str]:
    post["text"] = _WORDINGS[post["version"] % len(_WORDINGS)].format(topic=post["topic"])
    post["version"] += 1
    post["imageUrl"] = f"/images/{post['id']}-{post['version']}.svg"
    return f"{remark}\n\n{post['text']}", post["imageUrl"]


def picture(name: str) -> str:
    """A picture as SVG, the same each time for a name."""
    hues = [byte * 360 // 256 for byte in hashlib.sha256(name.encode()).digest()[:4]]
    rings = "".join(
        f'<circle cx="{60 + 90 * place}" cy="{70 + hue % 40}" r="{40 + hue % 50}" fill="hsl({hue} 45% 60%)"/>'
        for place, hue in enumerate(hues)
    )
    background = f'<rect width="400" height="180" fill="hsl({hues[0]} 30% 88%)"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 180">{background}{rings}</svg>'
