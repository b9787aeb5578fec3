"""The demo's conversation is what it claims to be: long, mixed, real, and the same every time."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter

import pytest

from asyouwere.local.demo.conversation import Script, State, apply, build
from asyouwere.local.demo.streaming import in_chunks


@pytest.fixture(scope="module")
def script() -> Script:
    return build(400)


def test_build__is_long_and_mixed(script: Script) -> None:
    roles = Counter(message["role"] for message in script.messages)
    assert len(script.messages) >= 400
    assert min(roles["user"], roles["assistant"], roles["tool"]) > 50
    text = json.dumps(script.messages, ensure_ascii=False)
    scripts = {unicodedata.name(character, "?").split()[0] for character in text}
    assert scripts >= {
        "LATIN",
        "CJK",
        "HIRAGANA",
        "HANGUL",
        "ARABIC",
        "HEBREW",
        "DEVANAGARI",
        "CYRILLIC",
        "THAI",
    }
    assert "\u200d" in text, "emoji sequences are joined by this"
    assert "\\u0000" in text
    assert "\udcfc" in text, "a lone surrogate"
    assert text.count("def ") > 100
    assert len(text) > 300_000


def test_build__tool_calls_have_arguments_as_json_and_one_result_each(script: Script) -> None:
    calls = [call for message in script.messages for call in message.get("tool_calls", [])]
    results = [message["tool_call_id"] for message in script.messages if message["role"] == "tool"]
    assert all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls)
    assert sorted(call["id"] for call in calls) == sorted(results)
    assert len(set(results)) == len(results)


def test_build__each_turn_changes_messages_and_one_or_two_other_parts(script: Script) -> None:
    for step in script.steps[1:]:
        assert step.messages
        assert 1 <= len(step.set) <= 3
    assert sum(len(step.set) <= 2 for step in script.steps) > 0.9 * len(script.steps)
    assert 5 < sum(step.whole for step in script.steps) < 40
    assert len(script.labels) == 2


def test_build__is_the_same_every_time(script: Script) -> None:
    assert build(400) == script


def test_build__says_when_there_is_not_enough_text() -> None:
    with pytest.raises(RuntimeError, match="ask for fewer"):
        build(100_000)


def test_apply__escaped_pointer(script: Script) -> None:
    state: State = {}
    for step in script.steps[:10]:
        apply(state, step)
    assert "json.decoder/py_scanstring" in state["memory"]["blackboard"]
    assert [message["id"] for message in state["messages"]] == [
        f"msg_{n:04d}" for n in range(len(state["messages"]))
    ]


def test_in_chunks__nothing_is_lost() -> None:
    text = "\n Green,  or\tblack 折 🙂\n"
    for count in (1, 3, 60):
        chunks = in_chunks(text, count)
        assert "".join(chunks) == text
        assert all(chunks)
    assert len(in_chunks("word " * 100, 60)) == 60
