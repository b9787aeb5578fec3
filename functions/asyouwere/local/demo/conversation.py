"""The conversation that the demo plays: an assistant that explains the standard library from its source.

It is built from text that every Python carries with it (source code through ``inspect``, the language
reference through ``pydoc_data``), so it is realistic in size and shape, needs no network, and is the same in
every run on the same Python. Messages have the shape that chat APIs use: role and content, tool calls with
their arguments as a JSON string, tool results that name the call.

    script = build(400)
    state = {}
    for step in script.steps:
        apply(state, step)

A `Step` is what an app saves at once: one or two messages and one or two other parts of the state.
"""

from __future__ import annotations

import base64
import importlib
import inspect
import itertools
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from asyouwere.local.demo.phrases import PHRASES, SNIPPETS, SUBJECTS, Phrase

Message = dict[str, Any]
State = dict[str, Any]

TOOL_RESULT_LIMIT = 8_000
"""Characters of a tool result that the agent keeps; agents cut long results the same way."""

WHOLE_STATE_EVERY = 25
"""Each so many steps the app sends the whole state instead of its changes."""

SYSTEM_PROMPT = (
    "You explain Python's standard library from its source. Read before you answer, quote what you read, "
    "answer in the language of the question, and keep a note of every function you have read."
)


@dataclass(frozen=True)
class Step:
    """One save: messages to append and other parts to set, by JSON Pointer.

    ``whole`` asks for the whole state to be sent instead of the changes; ``label`` names the snapshot.
    """

    messages: tuple[Message, ...]
    set: dict[str, Any]
    whole: bool = False
    label: str | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """The step in the form that the save function takes as ``changes``."""
        return {"append": {"/messages": list(self.messages)}, "set": self.set}


@dataclass(frozen=True)
class Script:
    """The whole conversation, in order. The first step is a whole state with the system message."""

    steps: tuple[Step, ...]
    languages: int

    @property
    def messages(self) -> list[Message]:
        return [message for step in self.steps for message in step.messages]

    @property
    def labels(self) -> dict[str, int]:
        """Each label and the index of its step."""
        return {step.label: index for index, step in enumerate(self.steps) if step.label is not None}


def first_state() -> State:
    """What a session holds before its first message."""
    return {
        "messages": [],
        "currentStep": 0,
        "status": "idle",
        "memory": {"blackboard": {}, "goal": "Know the standard library well enough to teach it."},
        "toolState": {},
        "usage": {"inputCharacters": 0, "outputCharacters": 0},
    }


def apply(state: State, step: Step) -> None:
    """Do to a plain dict what the step does to the session: the demo's own idea of what must come back."""
    if not state:
        state.update(first_state())
    for pointer, value in step.set.items():
        put(state, pointer, value)
    state["messages"].extend(step.messages)


def put(state: State, pointer: str, value: Any) -> None:
    """Set one value by JSON Pointer, as an app does that catches up with what others changed."""
    *parents, key = (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
    target: Any = state
    for parent in parents:
        target = target[int(parent) if isinstance(target, list) else parent]
    if isinstance(target, list) and int(key) == len(target):
        target.append(value)
    else:
        target[int(key) if isinstance(target, list) else key] = value


def build(messages: int) -> Script:
    """The first steps of the conversation, up to the end of the exchange that reaches so many messages."""
    steps = [Step(({"id": "msg_0000", "role": "system", "content": SYSTEM_PROMPT},), {}, whole=True)]
    ends: list[int] = []  # the last step of each exchange
    writer = _Writer()
    count = 1
    for subject in _subjects():
        if count >= messages:
            break
        exchange = writer.exchange(subject)
        steps += exchange
        ends.append(len(steps) - 1)
        count += sum(len(step.messages) for step in exchange)
    else:
        raise RuntimeError(f"this Python has text for {count} messages only; ask for fewer")
    for index in range(WHOLE_STATE_EVERY, len(steps), WHOLE_STATE_EVERY):
        steps[index] = replace(steps[index], whole=True)
    for label, share in (("first answers", 1 / 4), ("halfway – 折り返し 🏁", 1 / 2)):
        index = ends[int(len(ends) * share)]
        steps[index] = replace(steps[index], label=label)
    spoken = {phrase.language for phrase in PHRASES[: len(ends)]} - {"emoji", "maths"}
    return Script(tuple(steps), len(spoken))


@dataclass(frozen=True)
class _Subject:
    """Something to talk about: the name people use, where it is kept, and its real text."""

    name: str
    target: str
    text: str
    opening: str


def _subjects() -> Iterator[_Subject]:
    """Functions of the standard library, then the language reference. What this Python lacks is left out."""
    for target in SUBJECTS:
        module, _, qualified = target.partition(":")
        try:
            thing = importlib.import_module(module)
            for attribute in qualified.split("."):
                thing = getattr(thing, attribute)
            text = inspect.getsource(thing)
        except (ImportError, AttributeError, OSError, TypeError, ValueError):
            continue
        opening = "\n".join(text.splitlines()[:12])
        yield _Subject(
            f"{module}.{qualified}()", target.replace(":", "/"), text, f"```python\n{opening}\n```"
        )
    for topic, text in _topics():
        opening = "\n".join("> " + line for line in text.strip().splitlines()[:8])
        yield _Subject(f"“{topic}”", f"reference/{topic}", text, opening)


def _topics() -> list[tuple[str, str]]:
    try:
        from pydoc_data.topics import topics
    except ImportError:  # some systems put it in another package
        return []
    return sorted((name, text) for name, text in topics.items() if len(text) > 500)


@dataclass
class _Writer:
    """Writes one exchange after the other and counts messages, calls and characters on the way."""

    messages: int = 1
    exchanges: int = 0
    calls: dict[str, int] = field(default_factory=dict)
    characters: list[int] = field(default_factory=lambda: [0, 0])
    topics: Iterator[tuple[str, str]] = field(
        default_factory=lambda: itertools.cycle(_topics() or [("-", "-")])
    )

    def exchange(self, subject: _Subject) -> list[Step]:
        """A question, tool calls, their results, sometimes a second round of tools, and an answer."""
        turn, phrase = self.exchanges, PHRASES[self.exchanges % len(PHRASES)]
        self.exchanges += 1
        words = {"name": subject.name, "lines": subject.text.count("\n")}
        question: Any = phrase.ask.format(**words)
        if turn % 12 == 5:
            picture = {"type": "image_url", "image_url": {"url": _picture(turn)}}
            question = [{"type": "text", "text": question}, picture]
        steps = [
            self._step([self._message("user", question)], {"/currentStep": turn * 3, "/status": "running"})
        ]

        wanted: list[tuple[str, dict[str, Any], str]] = []
        wanted.append(("read_source", {"target": subject.target}, subject.text))
        if turn % 3 == 0:
            topic, text = next(self.topics)
            wanted.append(("search_reference", {"topic": topic, "language": phrase.language}, text))
        if turn % 10 == 3:
            wanted.append(("read_bytes", {"path": "/var/lib/app/state.db", "count": 16}, _bytes_as_text()))
        steps += self._round(wanted, turn, phrase, subject)
        if turn % 2:
            code = SNIPPETS[turn // 2 % len(SNIPPETS)]
            result = repr(eval(code, {}))
            steps += self._round(
                [("run_python", {"code": code, "timeout_seconds": 5}, result)], turn, phrase, subject
            )

        answer = f"{phrase.answer.format(**words)}\n\n{subject.opening}\n\n{phrase.closing}"
        self.characters[1] += len(answer)
        usage = dict(zip(("inputCharacters", "outputCharacters"), self.characters, strict=True))
        steps.append(self._step([self._message("assistant", answer)], {"/usage": usage, "/status": "idle"}))
        return steps

    def _round(
        self, wanted: list[tuple[str, dict[str, Any], str]], turn: int, phrase: Phrase, subject: _Subject
    ) -> list[Step]:
        """The assistant calls tools, and their results come in. Two saves."""
        calls, results, tool_state = [], [], {}
        for tool, arguments, text in wanted:
            number = self.calls[tool] = self.calls.get(tool, 0) + 1
            call_id = f"call_{zlib.crc32(f'{turn} {tool} {number}'.encode()):08x}"
            function = {"name": tool, "arguments": json.dumps(arguments, ensure_ascii=False)}
            calls.append({"id": call_id, "type": "function", "function": function})
            cut = text if len(text) <= TOOL_RESULT_LIMIT else text[:TOOL_RESULT_LIMIT] + "\n… [cut]"
            results.append((call_id, tool, cut))
            self.characters[0] += len(cut)
            tool_state[f"/toolState/{tool}"] = {"calls": number, "last": arguments}
        asking = self._message("assistant", None)
        asking["tool_calls"] = calls
        answers = []
        for call_id, tool, text in results:
            answers.append(self._message("tool", text) | {"tool_call_id": call_id, "name": tool})
        note = {
            "note": phrase.note.format(name=subject.name),
            "characters": len(subject.text),
            "read": True,
        }
        key = subject.target.replace("~", "~0").replace("/", "~1")
        return [
            self._step([asking], tool_state),
            self._step(answers, {f"/memory/blackboard/{key}": note, "/currentStep": turn * 3 + 1}),
        ]

    def _message(self, role: str, content: Any) -> Message:
        number = self.messages
        self.messages += 1
        minutes, seconds = divmod(number * 7, 60)
        return {
            "id": f"msg_{number:04d}",
            "role": role,
            "content": content,
            "createdAt": f"2026-03-02T{9 + minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}Z",
        }

    @staticmethod
    def _step(messages: list[Message], parts: dict[str, Any]) -> Step:
        return Step(tuple(messages), parts)


def _bytes_as_text() -> str:
    """What a tool returns that reads bytes as text: the NUL of a file's magic number, and lone surrogates."""
    return b"SQLite format 3\x00 M\xfcller, Stra\xdfe 1".decode("utf-8", "surrogateescape")


def _picture(turn: int) -> str:
    """A small PNG as a data URL, as chat apps attach screenshots: 48 x 48 pixels, 8-bit grey."""
    rows = b"".join(b"\x00" + bytes((x * y * (turn + 1)) & 255 for x in range(48)) for y in range(48))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    header = (48).to_bytes(4) + (48).to_bytes(4) + bytes((8, 0, 0, 0, 0))
    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )
    return "data:image/png;base64," + base64.b64encode(png).decode()
