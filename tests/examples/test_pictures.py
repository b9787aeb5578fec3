"""The pictures in docs/ are what the code draws today: words that are outlines would outlive a change of names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from asyouwere.local.demo import picture as demo
from asyouwere.local.demo.measurements import Measurements, SavePoint, StoragePoint
from tests.bench.peers import picture as peers
from tests.examples.pages import ROOT

TEXT = "{http://www.w3.org/2000/svg}text"


def words(path: Path) -> set[str]:
    """What can be read in a picture, without figures."""
    texts = {"".join(element.itertext()).strip() for element in ElementTree.parse(path).iter(TEXT)}
    return {re.sub(r",? ?\d[\d.,]*( ms| k?B| MB)?$", "", text) for text in texts} - {""}


@pytest.mark.slow
def test_demo_picture__in_docs__has_the_words_that_the_demo_writes(tmp_path: Path) -> None:
    saves = [SavePoint(count, 4.0, count / 10, 100, whole=count % 50 == 0) for count in range(1, 321)]
    storage = [StoragePoint(count, 500_000, 20_000 * count, 1_000 * count) for count in range(1, 321)]
    demo.draw(Measurements(saves=saves, storage=storage, crashes=[110, 210]), tmp_path)
    assert words(ROOT / "docs/demo.svg") == words(tmp_path / "demo.svg")
    assert "asyouwere over HTTP," in {word.strip("◇ ") for word in words(tmp_path / "demo.svg")}


def test_peers_picture__in_docs__has_the_words_that_the_bench_writes(tmp_path: Path) -> None:
    figures = {name: 3.0 + place for place, name in enumerate(peers.LINES)}
    results = [
        {"kind": peers.KIND, "messages": count, "ms": {"save": figures}, "stored": figures}
        for count in (10, 100, 1000)
    ]
    (tmp_path / "peers.json").write_text(json.dumps({"results": results}))
    peers.draw(tmp_path / "peers.json", tmp_path)
    assert words(ROOT / "docs/peers.svg") == words(tmp_path / "peers.svg")
    assert {label for label, _, _ in peers.LINES.values()} <= words(tmp_path / "peers.svg")


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.svg")), ids=lambda path: path.name)
def test_pictures__in_docs__keep_text_as_text(path: Path) -> None:
    assert words(path)
    assert re.findall(r'id="\w*(?:Sans|Serif|Mono)\w*-', path.read_text()) == []
