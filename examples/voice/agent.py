"""The voice agent: a process of its own, which talks with pages over WebRTC.

    python -m examples.voice.agent      a line of JSON in for each page that calls, {"sdp", "type"}; its answer out

It keeps nothing. A page hands over the last messages of its conversation when the line is made and whenever its
person has said something; if the last one has no answer yet, or the answer broke off, that is what the agent does
next. So an agent that was killed in the middle of a sentence is replaced by one that ends it.

page -> agent   messages: [{role, content, status?}, …]
agent -> page   state: idle | listening | processing | speaking;  heard: …;  word: …;  end: whole | interrupted
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from array import array
from collections.abc import Coroutine
from fractions import Fraction
from typing import Any, Final

from aiortc import MediaStreamTrack, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from examples.voice.speech import RATE, Message, recognise, synthesise, think

FRAME: Final = RATE // 50  # samples of 20 ms
LOUD: Final = 1_000  # of 32,767: what is louder is somebody speaking
PAUSE: Final = 0.7  # seconds of silence that end what somebody says


class Mouth(MediaStreamTrack):
    """The sound that the agent makes, and silence in between."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._sound = b""
        self._count = 0
        self._began = time.monotonic()

    def say(self, sound: bytes) -> None:
        """Put sound after what is still to be heard."""
        self._sound += sound

    def hush(self) -> None:
        """Be silent at once."""
        self._sound = b""

    async def recv(self) -> AudioFrame:
        """The next 20 ms, when it is time for them; aiortc asks."""
        await asyncio.sleep(self._began + self._count * FRAME / RATE - time.monotonic())
        frame = AudioFrame(format="s16", layout="mono", samples=FRAME)
        piece, self._sound = self._sound[: FRAME * 2], self._sound[FRAME * 2 :]
        frame.planes[0].update(piece.ljust(FRAME * 2, b"\0"))
        frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
        frame.pts = self._count * FRAME
        self._count += 1
        return frame


class Call:
    """One page on the line. word_seconds, thinking_seconds: how slow the stand-ins are."""

    def __init__(self, word_seconds: float = 0.28, thinking_seconds: float = 0.4) -> None:
        self.peer = RTCPeerConnection()
        self._word_seconds = word_seconds
        self._thinking_seconds = thinking_seconds
        self._mouth = Mouth()
        self._words: RTCDataChannel | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._answering: asyncio.Task[None] | None = None
        self.peer.addTrack(self._mouth)
        self.peer.on("datachannel", self._opened)
        self.peer.on("track", lambda track: self._begin(self._listen(track)))
        self.peer.on("connectionstatechange", self._changed)

    async def answer(self, sdp: str, kind: str) -> dict[str, str]:
        """The answer to a page's offer."""
        await self.peer.setRemoteDescription(RTCSessionDescription(sdp, kind))
        await self.peer.setLocalDescription(await self.peer.createAnswer())
        return {"sdp": self.peer.localDescription.sdp, "type": self.peer.localDescription.type}

    async def close(self) -> None:
        """Hang up."""
        for task in self._tasks:
            task.cancel()
        await self.peer.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _opened(self, channel: RTCDataChannel) -> None:
        self._words = channel
        channel.on("message", self._told)

    async def _changed(self) -> None:
        if self.peer.connectionState in ("failed", "closed"):
            await self.close()

    def _tell(self, **message: str) -> None:
        if self._words is not None and self._words.readyState == "open":
            self._words.send(json.dumps(message))

    def _told(self, text: str) -> None:
        """A page says what was said; whatever was being answered is not any more."""
        messages: list[Message] = json.loads(text)["messages"]
        self._hush()
        if messages and (messages[-1]["role"] == "user" or messages[-1].get("status") == "speaking"):
            self._answering = self._begin(self._answer(messages))
        else:
            self._tell(state="idle")

    def _hush(self) -> bool:
        """Break off; whether there was something to break off."""
        self._mouth.hush()
        return self._answering is not None and self._answering.cancel()

    async def _answer(self, messages: list[Message]) -> None:
        self._tell(state="processing")
        async for word in think(messages, self._thinking_seconds):
            self._tell(state="speaking", word=word)
            self._mouth.say(synthesise(word, self._word_seconds))
            await asyncio.sleep(self._word_seconds)
        self._tell(state="idle", end="whole")

    async def _listen(self, track: MediaStreamTrack) -> None:
        """Tell when somebody begins to speak, and what was said when they end. Who is spoken to is silent."""
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
                if self._hush():
                    self._tell(end="interrupted")
                self._tell(state="listening")
            silence = 0.0 if is_loud else silence + length
            seconds += length if is_loud or seconds else 0.0
            if seconds and silence >= PAUSE:
                self._tell(heard=recognise(seconds - silence))
                seconds = 0.0


async def main() -> None:
    """Answers who calls, until its input ends: with whoever started it."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    calls: list[Call] = []
    while line := await lines.readline():
        offer: dict[str, Any] = json.loads(line)
        calls = [call for call in calls if call.peer.connectionState != "closed"]
        calls.append(Call(**offer.get("settings", {})))
        try:
            answer = await calls[-1].answer(offer["sdp"], offer["type"])
        except Exception:  # one page's bad offer is not the end of the others' calls
            logging.exception("an offer that could not be answered")
            answer = {}
        print(json.dumps(answer), flush=True)
    await asyncio.gather(*(call.close() for call in calls))


if __name__ == "__main__":
    asyncio.run(main())
