"""A model behind any OpenAI-compatible address (Ollama, vLLM, OpenAI itself), asked for one streamed answer."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

__all__ = ["Model", "ModelFailed", "model_settings", "stream_answer"]

_VARIABLES: Final = ("ASYOUWERE_MODEL_URL", "ASYOUWERE_MODEL", "ASYOUWERE_MODEL_KEY")

_SECONDS: Final = httpx.Timeout(120, connect=10)
_MOST_MESSAGES: Final = 40


class ModelFailed(Exception):
    """The model did not answer; the message is one line for a person, without what was said."""


@dataclass(frozen=True)
class Model:
    """An OpenAI-compatible endpoint. url: for example http://127.0.0.1:11434/v1."""

    url: str
    name: str
    key: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Model | None:
        """ASYOUWERE_MODEL_URL, and optionally ASYOUWERE_MODEL (default llama3.2) and ASYOUWERE_MODEL_KEY."""
        url, name, key = map(environ.get, _VARIABLES)
        return cls(url, name or "llama3.2", key) if url else None


def model_settings(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The model's variables, for a child process."""
    return {name: environ[name] for name in _VARIABLES if environ.get(name)}


async def stream_answer(model: Model, messages: Sequence[Mapping[str, Any]]) -> AsyncIterator[str]:
    """The answer's text as it comes. Raises ModelFailed."""
    url = model.url.rstrip("/")
    asked = [{"role": m["role"], "content": m["content"]} for m in messages if m.get("role") in ("user", "assistant")]
    body = {"model": model.name, "stream": True, "messages": asked[-_MOST_MESSAGES:]}
    is_silent = True
    headers = {"Authorization": f"Bearer {model.key}"} if model.key else {}
    try:
        async with (
            httpx.AsyncClient(timeout=_SECONDS) as client,
            client.stream("POST", f"{url}/chat/completions", json=body, headers=headers) as response,
        ):
            if response.status_code != 200:
                raise ModelFailed(f"{model.name} at {url} answered {response.status_code}")
            async for line in response.aiter_lines():
                data = line.removeprefix("data:").strip()
                if line.startswith("data:") and data != "[DONE]":
                    told = json.loads(data)
                    if told.get("error"):
                        raise ModelFailed(f"{model.name} at {url} failed")
                    for choice in told.get("choices", []):
                        if text := (choice.get("delta") or {}).get("content"):
                            is_silent = False
                            yield text
    except (httpx.HTTPError, ValueError, AttributeError, TypeError) as exc:
        raise ModelFailed(f"{model.name} at {url} did not answer: {type(exc).__name__}") from exc
    if is_silent:
        raise ModelFailed(f"{model.name} at {url} said nothing")
