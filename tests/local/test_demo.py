"""The demo from start to end, shorter: it holds here, and it fails when a guarantee does not hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from asyouwere.local.demo import main
from asyouwere.local.demo.client import Client
from asyouwere.local.demo.play import TITLES
from asyouwere.local.demo.reader import Reader

MESSAGES = 70


def test_demo__all_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(messages=MESSAGES, folder=tmp_path)
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert "All held" in printed
    assert printed.count("✓") == len(TITLES)
    assert "✗" not in printed
    assert printed.count("kill -9") >= 4
    assert re.search(r"until it is read, p50 .*[0-9] ms", printed)
    assert re.search(r"on disk, all versions.* [kM]B", printed)
    assert re.search(r"a save, p50 .*[0-9] ms .*[0-9] ms", printed)
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(tmp_path / "demo.svg").getroot().tag.endswith("svg")
    assert not (tmp_path / "data").exists(), "a run leaves no data behind"


@pytest.fixture
def losing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that loses a save and a chunk, changes a save and doubles a message: what it answers is tampered with."""
    snapshots, restore, messages, take = Client.snapshots, Client.restore, Client.messages, Reader._take

    def without_one(self: Client, session_id: str) -> list[dict[str, Any]]:
        return [found for found in snapshots(self, session_id) if found["number"] != 7]

    def with_another_word(self: Client, session_id: str, **which: Any) -> dict[str, Any]:
        restored = restore(self, session_id, **which)
        if which.get("number") == 9:
            restored["state"]["messages"][3]["content"] += " "
        return restored

    def doubled(self: Client, session_id: str) -> list[dict[str, Any]]:
        return messages(self, session_id) * 2

    def without_chunk(self: Reader, event: dict[bytes, bytes]) -> bool:
        return False if event.get(b"id") == b"7" else take(self, event)

    monkeypatch.setattr(Client, "messages", doubled)
    monkeypatch.setattr(Reader, "_take", without_chunk)
    monkeypatch.setattr(Client, "snapshots", without_one)
    monkeypatch.setattr(Client, "restore", with_another_word)


@pytest.mark.usefixtures("losing")
def test_demo__says_what_does_not_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(messages=MESSAGES, folder=tmp_path)
    printed = capsys.readouterr().out
    assert code == 1
    assert f"5 of {len(TITLES)} did not hold" in printed
    assert "number 7 was answered but is not there" in printed
    assert "number 9: /messages/3/content differs" in printed
    assert "chunk 7 did not come" in printed
    assert "there are 2 messages of this answer" in printed
    assert "two answers have left 4 messages" in printed
    assert printed.count("✗") == 5
