"""GitHub's workflows: linted, pinned, and nothing released from a pull request."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from asyouwere.local.node import find_node

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
NODE = ROOT / "tests" / "node" / "node_modules"


def workflow(name: str) -> dict[str, Any]:
    """A workflow; YAML 1.1 reads its key `on` as true."""
    found: dict[Any, Any] = yaml.safe_load((GITHUB / "workflows" / name).read_text("utf-8"))
    return {"on" if key is True else key: value for key, value in found.items()}


def test_zizmor__finds_nothing() -> None:
    zizmor = Path(sys.executable).with_name("zizmor")
    done = subprocess.run(
        [zizmor, "--offline", "--quiet", "--persona=pedantic", "--no-progress", str(GITHUB)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def newer_than_this_actionlint(finding: dict[str, Any]) -> bool:
    """What GitHub has added since."""
    return 'label "ubuntu-24.04" is unknown' in finding["message"] or (
        'unknown permission scope "attestations"' in finding["message"]
    )


def test_actionlint__finds_nothing(tmp_path: Path) -> None:
    if not (NODE / "actionlint").exists():
        pytest.skip("tests/node is not installed: scripts/setup test")
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(
        "on: push\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'echo ${{ nothing.x }}'}]}}\n"
    )
    done = subprocess.run(
        [find_node().program, str(Path(__file__).with_name("actionlint.mjs")), *map(str, WORKFLOWS), str(wrong)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    found = [finding for finding in findings if not newer_than_this_actionlint(finding)]
    assert [Path(finding["file"]).name for finding in found] == ["wrong.yml"]


def test_actions__are_pinned_by_commit_with_their_version_beside() -> None:
    pinned = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    for path in WORKFLOWS:
        for line in path.read_text("utf-8").splitlines():
            if "uses:" in line:
                assert pinned.search(line), f"{path.name}: {line.strip()}"


def test_release__only_for_tags_and_tokens_only_where_they_are_used() -> None:
    release = workflow("release.yml")
    assert release["on"] == {"push": {"tags": ["v[0-9]*"]}}
    permissions = {name: job["permissions"] for name, job in release["jobs"].items()}
    assert release["permissions"] == {}
    assert permissions == {
        "build": {"contents": "read"},
        "attest": {"id-token": "write", "attestations": "write"},
        "pypi": {"id-token": "write"},
        "image": {"contents": "read", "packages": "write", "id-token": "write", "attestations": "write"},
        "github": {"contents": "write"},
    }
    assert release["jobs"]["pypi"]["environment"] == "pypi"
    # What is published is what was built and attested, in that order.
    needs = {name: job.get("needs") for name, job in release["jobs"].items()}
    assert needs == {
        "build": None,
        "attest": "build",
        "pypi": "attest",
        "image": "attest",
        "github": ["pypi", "image"],
    }
    assert "secrets." not in (GITHUB / "workflows" / "release.yml").read_text("utf-8")


def test_release__runs_tools_of_fixed_versions() -> None:
    text = (GITHUB / "workflows" / "release.yml").read_text("utf-8")
    assert text.count("pipx run") == len(re.findall(r"pipx run --spec [a-z-]+==[0-9.]+ ", text)) == 3


def test_ci__has_no_right_but_to_read_and_tests_what_we_support() -> None:
    ci = workflow("ci.yml")
    assert ci["permissions"] == {}
    assert all(job["permissions"] == {"contents": "read"} for job in ci["jobs"].values())
    assert ci["jobs"]["postgres"]["strategy"]["matrix"]["postgres"] == ["15", "16", "17", "18"]
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    for python in ci["jobs"]["test"]["strategy"]["matrix"]["python"]:
        assert f'"Programming Language :: Python :: {python}"' in project


def test_ci__images_are_pulled_by_one_job() -> None:
    jobs = workflow("ci.yml")["jobs"]
    commands = {
        name: " ".join(str(step.get("run", "")) for step in job["steps"]) for name, job in jobs.items()
    }
    collecting = {
        name for name, said in commands.items() if re.search(r"make test\b|pytest(?!.*\btests/)|tests/containers", said)
    }
    assert collecting == {"test", "containers"}
    docker = {name: job.get("env", {}).get("ASYOUWERE_REQUIRE_DOCKER") for name, job in jobs.items()}
    assert {name: docker[name] for name in collecting} == {"test": "0", "containers": "1"}


@pytest.mark.parametrize(("tag", "code"), [("v0.0.1", 1), ("0.1.0", 1), ("", 1)])
def test_release_check__another_tag_is_refused(tag: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "release-check", tag], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert "pyproject.toml" in done.stderr


def test_release_check__the_version_is_taken() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version is not None
    subprocess.run([sys.executable, ROOT / "scripts" / "release-check", f"v{version.group(1)}"], check=True)


def test_dependabot__looks_at_every_list_of_packages() -> None:
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text("utf-8"))["updates"]
    watched = {
        (update["package-ecosystem"], folder)
        for update in updates
        for folder in update.get("directories", [update.get("directory")])
    }
    assert all(update["cooldown"]["default-days"] >= 7 for update in updates)
    lists = {("github-actions", "/")}
    for path in ROOT.rglob("*"):
        if {".venv", "node_modules"} & set(path.parts):
            continue
        if path.name in ("requirements.txt", "pyproject.toml"):
            lists.add(("pip", "/" + path.parent.relative_to(ROOT).as_posix().strip(".")))
        if path.name == "package.json":
            lists.add(("npm", "/" + path.parent.relative_to(ROOT).as_posix()))
    assert watched == lists
