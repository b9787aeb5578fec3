"""The pages people copy from, taken apart: each example with the answer that is printed below it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))

#: Every page of ours, those for who changes something included.
ALL_PAGES = (
    *PAGES,
    "CHANGELOG.md",
    *sorted(
        str(path.relative_to(ROOT))
        for folder in (".github", "examples", "functions", "infra", "sql")
        for path in (ROOT / folder).rglob("*.md")
        if not {"node_modules", "venv", ".build"} & set(path.parts)
    ),
)

_FENCED = re.compile(r"^```(\w+)\n(.*?)^```\n(?:\n```(?:json|http)\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """One block as it is printed, and the lines it is said to answer: … stands for anything."""

    language: str
    text: str
    answers: tuple[str, ...]


def page(name: str) -> str:
    """A page's text, by its name in the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def examples(name: str, language: str) -> list[Example]:
    """A page's blocks in a language, in order.

    What is answered is the block of `json` (or `http`: events) right after a block of `bash`, where a line that begins
    with a space goes on the one before; in `sql` the comments below the statements.
    """
    found = []
    for kind, text, answer in _FENCED.findall(page(name)):
        if kind != language:
            continue
        if kind == "sql":
            answers = re.findall(r"^-- (.*)$", text, re.MULTILINE)
        else:
            answers = re.sub(r"\n +", "", answer).splitlines()
        found.append(Example(kind, text, tuple(answers)))
    return found


def matches(printed: str, said: str) -> bool:
    """Whether a line is what a page says of it."""
    return re.fullmatch(".*".join(map(re.escape, said.split("…"))), printed) is not None
