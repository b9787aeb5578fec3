from __future__ import annotations

import subprocess
import sys

import pytest

from asyouwere.service.export import file_name
from tests.unit.export.documents import Document, conversation_of, render


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
def test_file_name__is_plain_ascii(name: str, stem: str) -> None:
    assert file_name(name, "markdown") == f"{stem}.md"
    assert file_name(name, "pdf") == f"{stem}.pdf"


def test_render__says_when_it_is_no_export() -> None:
    for head in ("[", "{", '{"format":"other","parts":[', "not JSON", '{"format":"asyouwere-session","parts":' + "[" * 9000):
        with pytest.raises(ValueError, match=r"."):
            render(Document(head, []), "markdown")
    for line in ("[]", "not JSON", '["/a/",-1,1,null]'):
        with pytest.raises(ValueError, match=r"."):
            render(Document(conversation_of().head, [line]), "markdown")


def test_import__is_light() -> None:
    """The functions import the export with the rest; the typesetter must wait until somebody wants a PDF."""
    code = (
        "import sys; from asyouwere.service.export import render\n"
        f"render(*{tuple(conversation_of('hello'))!r}, 'markdown')\n"
        "print([m for m in ('typst', 'markdown_it', 'asyouwere.service.export.typesetting') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="functions"
    )
    assert done.stdout.strip() == "[]"

