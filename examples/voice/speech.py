"""Stand-ins for the three models of a voice agent, as this machine has none.

Nothing here understands speech. Each says what a real one takes and gives: replace the three, and the agent is real.
"""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import AsyncIterator
from typing import Final, TypedDict

__all__ = ["RATE", "Message", "recognise", "synthesise", "think"]

RATE: Final = 48_000  # samples per second, as Opus has them


class Message(TypedDict, total=False):
    """What was said: role user or assistant. status: speaking, as long as an answer is not whole."""

    role: str
    content: str
    status: str


def recognise(seconds: float) -> str:
    """What somebody said. STAND-IN: knows for how long there was sound.

    A real one (Whisper, Deepgram, …) takes the frames themselves and gives their words.
    """
    return f"[{seconds:.1f} seconds of sound]"


async def think(context: list[Message], seconds: float) -> AsyncIterator[str]:
    """The answer to the last thing that was said, word by word. STAND-IN: repeats what it was given.

    A real one streams from a language model, with `context` as its messages. An answer that broke off stands last in
    the context, with the status speaking: go on after it, and repeat none of it.
    """
    await asyncio.sleep(seconds)
    last = context[-1]
    begun = last["content"].split() if last["role"] == "assistant" else []
    told = (message["content"] for message in context if message["role"] == "user")
    said = [" ".join(content.split()[:8]).rstrip(".?!") for content in told]
    answer = f"You said: {said[-1]}." if said else "Hello."
    if len(said) > 1:
        known = len(context) - bool(begun)
        answer += f" Before that you said: {said[-2]}. I was given the last {known} messages of this conversation."
    for word in answer.split()[len(begun) :]:
        yield word


def synthesise(word: str, seconds: float) -> bytes:
    """A word as sound, 16 bit samples of one channel. STAND-IN: a soft tone, whose pitch is the word's.

    A real one (Piper, ElevenLabs, …) gives as many samples as the word takes to say.
    """
    count = int(RATE * seconds)
    pitch = 220 * 2 ** (sum(map(ord, word)) % 13 / 12)
    loud = 6_000 / max(count, 1)
    # It fades away, so that words can be told apart.
    return array(
        "h", (int(loud * (count - n) * math.sin(2 * math.pi * pitch * n / RATE)) for n in range(count))
    ).tobytes()
