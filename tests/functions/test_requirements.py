"""What the deployed functions install: listed, pinned, hashed."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FUNCTIONS = Path(__file__).parents[2] / "functions"


def pins() -> list[tuple[Requirement, str]]:
    """Each pin of requirements.lock, and its hashes."""
    text = (FUNCTIONS / "requirements.lock").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(Requirement(line.split(" --hash")[0].strip()), line) for line in lines]


def test_lock__pins_everything_by_version_and_hash_and_names_no_server() -> None:
    for requirement, line in pins():
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), line[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", line)
    text = (FUNCTIONS / "requirements.lock").read_text("utf-8")
    assert "://" not in text
    assert "--index" not in text


def test_lock__is_of_what_requirements_lists() -> None:
    listed = [
        Requirement(line)
        for line in (FUNCTIONS / "requirements.txt").read_text("utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    for wanted in listed:
        found = [pin for pin, _ in pins() if canonicalize_name(pin.name) == canonicalize_name(wanted.name)]
        assert found, f"{wanted.name}: make lock"
        for pin in found:
            version = str(pin.specifier).removeprefix("==")
            assert wanted.specifier.contains(version), f"{wanted}: make lock"
