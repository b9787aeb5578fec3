"""What the deployed functions install (listed, pinned, hashed, under licences that allow it), and what bandit thinks of
the code that is deployed and deploys. Known vulnerabilities need the network: `make audit`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.install import clean_environment, unpack

ROOT = Path(__file__).parents[2]
FUNCTIONS = ROOT / "functions"

#: Any use, also in a closed product, as long as the notice is kept.
FREE = re.compile(r"\b(MIT|MIT-0|BSD|Apache|PSF)\b", re.IGNORECASE)
#: Free to use unchanged, which is how we use them; a change to them would have to be published.
UNCHANGED = {"psycopg": "LGPL-3.0-only", "psycopg-binary": "LGPL-3.0-only", "certifi": "MPL-2.0"}

#: What bandit finds of medium weight or more, each with the reason why it stays.
EXPLAINED = {
    (
        "functions/asyouwere/service/database/direct.py",
        "B608",
    ): "names are our own and checked to be identifiers; values are parameters",
    (
        "functions/asyouwere/service/__main__.py",
        "B104",
    ): "a container's own network, which the platform leads to; nothing else starts this",
}

_LICENCES = """
import json
from importlib.metadata import distributions

def licence(metadata):
    if metadata.get("License-Expression"):
        return metadata["License-Expression"]
    named = [c.split(" :: ")[-1] for c in metadata.get_all("Classifier", []) if c.startswith("License ::")]
    return " OR ".join(named) or (metadata.get("License") or "")[:100]

print(json.dumps({d.name.lower().replace("_", "-"): licence(d.metadata) for d in distributions()}))
"""


#: What is deployed, without telemetry and with it.
LOCKS = ("requirements", "requirements-telemetry")


def pins(lock: str) -> list[tuple[Requirement, str]]:
    """Each pin of a lock, and its hashes."""
    text = (FUNCTIONS / f"{lock}.lock").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(Requirement(line.split(" --hash")[0].strip()), line) for line in lines]


def listed(lock: str = "requirements") -> list[Requirement]:
    """What the text file beside a lock asks for, with what it includes."""
    lines = (FUNCTIONS / f"{lock}.txt").read_text("utf-8").splitlines()
    wanted = [Requirement(line) for line in lines if line.strip() and not line.startswith(("#", "-r "))]
    return wanted + [more for line in lines if line.startswith("-r ") for more in listed(line[3:].removesuffix(".txt"))]


def required(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for, with these extras and those that they name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = list(map(Requirement, project["dependencies"]))
    for extra in extras:
        wanted += map(Requirement, project["optional-dependencies"][extra])
    for itself in [requirement for requirement in wanted if requirement.name == project["name"]]:
        wanted.remove(itself)
        wanted += [inner for inner in required(*itself.extras) if inner not in wanted]
    return wanted


@pytest.mark.parametrize("lock", LOCKS)
def test_lock__pins_everything_by_version_and_hash_and_names_no_server(lock: str) -> None:
    for requirement, line in pins(lock):
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), line[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", line)
    text = (FUNCTIONS / f"{lock}.lock").read_text("utf-8")
    assert "://" not in text
    assert "--index" not in text


def test_requirements__are_the_client_the_functions_and_pdf_without_asyouwere_itself() -> None:
    """pyproject.toml says the same to who installs the package. The folder of main.py comes last on the path, so an
    installed asyouwere would hide the deployed one."""
    assert sorted(map(str, listed())) == sorted(map(str, required("functions", "pdf")))
    assert "asyouwere" not in {requirement.name for requirement in listed()}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock__is_of_what_requirements_lists(lock: str) -> None:
    for wanted in listed(lock):
        found = [pin for pin, _ in pins(lock) if canonicalize_name(pin.name) == canonicalize_name(wanted.name)]
        assert found, f"{wanted.name}: make lock"
        for pin in found:
            version = str(pin.specifier).removeprefix("==")
            assert wanted.specifier.contains(version), f"{wanted}: make lock"


def test_locks__with_telemetry_it_is_the_same_and_more() -> None:
    bare, more = ({str(pin) for pin, _ in pins(lock)} for lock in LOCKS)
    assert bare < more


def test_licences__allow_any_use(tmp_path: Path) -> None:
    python = clean_environment(unpack(tmp_path, telemetry=True) / "requirements.txt") / "python"
    done = subprocess.run([python, "-I", "-c", _LICENCES], capture_output=True, text=True, check=True)
    licences: dict[str, str] = json.loads(done.stdout)
    assert len(licences) > 30
    other = {name: licence for name, licence in licences.items() if not FREE.search(licence)}
    assert other.keys() == UNCHANGED.keys()
    assert all("Mozilla" in other[name] or other[name] == UNCHANGED[name] for name in other)


def test_bandit__finds_nothing_that_is_not_explained(tmp_path: Path) -> None:
    deployed = unpack(tmp_path / "functions")
    wanted = ("--recursive", "--quiet", "--format", "json", "--severity-level", "medium")
    done = subprocess.run(
        [sys.executable, "-m", "bandit", *wanted, str(deployed), str(ROOT / "infra" / "asyouwere_infra")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    report = json.loads(done.stdout)
    assert report["errors"] == []
    assert report["metrics"]["_totals"]["loc"] > 3000
    found = {
        (finding["filename"].replace(f"{tmp_path}/", ""), finding["test_id"]) for finding in report["results"]
    }
    assert found == EXPLAINED.keys()
