from __future__ import annotations

import json
import subprocess
import sys

import pytest

from asyouwere.service.export import FORMATS, render
from tests.unit.export.documents import conversation_of, document_of


def test_render__json_is_the_document_itself() -> None:
    text = document_of({"messages": [{"role": "user", "content": "\x00 \ud800 é 😀"}], "n": 1.50})
    rendered = render(text, "json")
    assert rendered.body.decode() == text
    assert rendered.media_type == "application/json"
    assert rendered.filename == "a-test.json"


def test_render__json_with_a_raw_half_character_is_still_the_same_json() -> None:
    text = '{"format":"asyouwere-session","x":"\ud83d"}'
    assert json.loads(render(text, "json").body) == json.loads(text)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("Café: the “plan”/v2", "cafe-the-plan-v2"),
        ("../../etc/passwd\r\nX-Evil: 1", "etc-passwd-x-evil-1"),
        ("排序", "session"),
        ("", "session"),
        ("x" * 300, "x" * 60),
    ],
)
def test_render__filename_is_plain_ascii(name: str, stem: str) -> None:
    assert render(document_of({}, name=name), "markdown").filename == f"{stem}.md".replace(
        "session.md", "untitled-session.md" if not name else "session.md"
    )


def test_render__says_when_it_is_no_export() -> None:
    for text in ("[]", "{}", '{"format":"other"}', "not JSON"):
        with pytest.raises(ValueError, match=r"."):
            render(text, "markdown")


def test_import__is_light() -> None:
    """The functions import the export with the rest; the typesetter must wait until somebody wants a PDF."""
    code = (
        "import sys; from asyouwere.service.export import render\n"
        f"render({conversation_of('hello')!r}, 'markdown')\n"
        "print([m for m in ('typst', 'markdown_it', 'asyouwere.service.export.typesetting') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="functions"
    )
    assert done.stdout.strip() == "[]"


def test_formats__are_those_that_render_knows() -> None:
    assert set(FORMATS) == {"json", "markdown", "pdf"}
    with pytest.raises(ValueError, match="unknown format"):
        render(conversation_of(), "docx")  # type: ignore[arg-type]
