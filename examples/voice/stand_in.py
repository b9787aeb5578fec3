"""Stand-ins for the three models of a voice agent, as this machine has none.

Nothing here understands speech. Each says what a real one takes and gives: replace the three, and the agent is real.
"""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import AsyncIterator
from typing import Final, TypedDict

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

__all__ = ["Message", "recognise", "synthesise", "think"]

RATE: Final = 8_000  # samples per second of what the agent says, as aiortc's silence has
LOUD: Final = 1_000  # of 32,767: what is louder is somebody speaking
PAUSE: Final = 0.7  # seconds of silence that end what somebody says


class Message(TypedDict, total=False):
    """What was said: role user or assistant. status: speaking, as long as an answer is not whole."""

    role: str
    content: str
    status: str


async def recognise(track: MediaStreamTrack) -> AsyncIterator[str | None]:
    """None when somebody begins to speak, and what they have said when they end; until the page hangs up.

    STAND-IN: knows for how long there was sound. A real one (Whisper, Deepgram, …) takes the same frames.
    """
    seconds = silence = 0.0
    while True:
        try:
            frame = await asyncio.wait_for(track.recv(), PAUSE)
        except TimeoutError:  # the microphone is off
            length, is_loud = PAUSE, False
        except MediaStreamError:  # the page has hung up
            return
        else:
            assert isinstance(frame, AudioFrame)
            samples = array("h", bytes(frame.planes[0]))
            length, is_loud = frame.samples / frame.sample_rate, max(max(samples), -min(samples)) > LOUD
        if is_loud and not seconds:
            yield None
        silence = 0.0 if is_loud else silence + length
        seconds += length if is_loud or seconds else 0.0
        if seconds and silence >= PAUSE:
            yield f"[{seconds - silence:.1f} seconds of sound]"
            seconds = 0.0


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
    """A word as sound: samples of 16 bit, one channel, RATE. STAND-IN: a soft tone, whose pitch is the word's.

    A real one (Piper, ElevenLabs, …) gives as many samples as the word takes to say.
    """
    count = int(RATE * seconds)
    pitch = 220 * 2 ** (sum(map(ord, word)) % 13 / 12)
    loud = 6_000 / max(count, 1)
    # It fades away, so that words can be told apart.
    return array(
        "h", (int(loud * (count - n) * math.sin(2 * math.pi * pitch * n / RATE)) for n in range(count))
    ).tobytes()
