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
from typing import Any

from aiortc import AudioStreamTrack, MediaStreamTrack, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from av import AudioFrame

from examples.voice.stand_in import Message, recognise, synthesise, think


class Mouth(AudioStreamTrack):
    """The sound that the agent makes, in the silence that aiortc makes."""

    sound = b""

    async def recv(self) -> AudioFrame:
        """The next 20 ms, when it is time for them; aiortc asks."""
        frame = await super().recv()
        assert isinstance(frame, AudioFrame)
        size = frame.planes[0].buffer_size
        frame.planes[0].update(self.sound[:size].ljust(size, b"\0"))
        self.sound = self.sound[size:]
        return frame


class Call:
    """One page on the line. word_seconds, thinking_seconds: how slow the stand-ins are."""

    def __init__(self, word_seconds: float = 0.28, thinking_seconds: float = 0.4) -> None:
        self.peer = RTCPeerConnection()
        self._word_seconds, self._thinking_seconds = word_seconds, thinking_seconds
        self._mouth = Mouth()
        self._words: RTCDataChannel | None = None
        self._answering: asyncio.Task[None] | None = None
        self.peer.addTrack(self._mouth)
        self.peer.on("datachannel", self._opened)
        self.peer.on("track", self._listen)
        self.peer.on("connectionstatechange", self._changed)

    async def answer(self, sdp: str, kind: str) -> dict[str, str]:
        """The answer to a page's offer."""
        await self.peer.setRemoteDescription(RTCSessionDescription(sdp, kind))
        await self.peer.setLocalDescription(await self.peer.createAnswer())
        return {"sdp": self.peer.localDescription.sdp, "type": self.peer.localDescription.type}

    def _opened(self, channel: RTCDataChannel) -> None:
        self._words = channel
        channel.on("message", self._told)

    async def _changed(self) -> None:
        if self.peer.connectionState in ("failed", "closed"):
            self._hush()
            await self.peer.close()

    def _tell(self, **message: str) -> None:
        if self._words is not None and self._words.readyState == "open":
            self._words.send(json.dumps(message))

    def _told(self, text: str) -> None:
        """A page says what was said; whatever was being answered is not any more."""
        messages: list[Message] = json.loads(text)["messages"]
        self._hush()
        if messages and (messages[-1]["role"] == "user" or messages[-1].get("status") == "speaking"):
            self._answering = asyncio.create_task(self._answer(messages))
        else:
            self._tell(state="idle")

    def _hush(self) -> bool:
        """Break off; whether there was something to break off."""
        self._mouth.sound = b""
        return self._answering is not None and self._answering.cancel()

    async def _answer(self, messages: list[Message]) -> None:
        self._tell(state="processing")
        async for word in think(messages, self._thinking_seconds):
            self._tell(state="speaking", word=word)
            self._mouth.sound += synthesise(word, self._word_seconds)
            await asyncio.sleep(self._word_seconds)
        self._tell(state="idle", end="whole")

    async def _listen(self, track: MediaStreamTrack) -> None:
        """Tell when somebody begins to speak, and what was said when they end. Who is spoken to is silent."""
        async for heard in recognise(track):
            if heard is not None:
                self._tell(heard=heard)
                continue
            if self._hush():
                self._tell(end="interrupted")
            self._tell(state="listening")


async def main() -> None:
    """Answers who calls, until its input ends: with whoever started it."""
    calls: list[Call] = []
    while line := await asyncio.to_thread(sys.stdin.readline):
        offer: dict[str, Any] = json.loads(line)
        calls = [call for call in calls if call.peer.connectionState != "closed"]
        calls.append(Call(**offer["settings"]))
        try:
            answer = await calls[-1].answer(offer["sdp"], offer["type"])
        except Exception:  # one page's bad offer is not the end of the others' calls
            logging.exception("an offer that could not be answered")
            answer = {}
        print(json.dumps(answer), flush=True)
    await asyncio.gather(*(call.peer.close() for call in calls))


if __name__ == "__main__":
    asyncio.run(main())
