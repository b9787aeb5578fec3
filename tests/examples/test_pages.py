"""README.md and docs/: short, linked, and true to the settings and the layout they name."""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta

import psycopg
import pytest

from asyouwere.service.settings import VARIABLES, Settings
from tests.examples.pages import ALL_PAGES, PAGES, ROOT, page
from tests.support.database import Db

MEBIBYTE = 1024**2


def test_readme__is_read_in_a_few_minutes() -> None:
    assert len(page("README.md").splitlines()) <= 150


def anchors(text: str) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", ALL_PAGES)
def test_links__to_files_and_headings__exist(name: str) -> None:
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#]*)#?([^)]*)\)", page(name)):
        path = ((ROOT / name).parent / target).resolve() if target else ROOT / name
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.read_text()), f"{target}#{anchor}"
    for path in re.findall(r"`((?:sql|functions|docs|infra|spec|tests)/[\w/.-]+)`", page(name)):
        assert (ROOT / path).exists() or "NNNN" in path, path


def test_pages__in_docs__are_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[^)#]+\.md)", page("README.md")))
    assert linked == set(PAGES) - {"README.md"}


def test_make_targets__named_in_pages__exist() -> None:
    targets = re.findall(r"^([a-z]+):", page("Makefile"), re.MULTILINE)
    for name in ALL_PAGES:
        named = re.findall(r"(?:`|^)make ([a-z]+)", page(name), re.MULTILINE)
        assert set(named) <= set(targets), name


def test_former_name__stands_in_the_changelog_once_and_nowhere_else() -> None:
    former = "left" + "off"
    found = subprocess.run(
        ["git", "grep", "--ignore-case", "--line-number", former],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode > 1:
        pytest.skip("not a git clone")
    assert [line.partition(":")[0] for line in found.stdout.splitlines()] == ["CHANGELOG.md"]


def test_limits__are_those_of_the_functions_and_the_database(db: Db) -> None:
    rows = [line.strip("| ").split(" | ") for line in page("docs/limits.md").splitlines() if line.startswith("| ")]
    said = {what: default for what, default, _ in rows[1:]}
    functions = Settings(database_url="postgresql://", jwt_secret="x" * 32, jwt_issuer="x")
    with psycopg.connect(db.dsn) as admin:
        cursor = admin.execute("select * from asyouwere.settings")
        row = cursor.fetchone()
        assert row is not None
        assert cursor.description is not None
        ours = dict(zip([column.name for column in cursor.description], row, strict=True))
    expected = {
        "request body": f"{functions.max_body_bytes // MEBIBYTE} MB (import {functions.max_import_bytes // MEBIBYTE} MB;"
        f" without a session's content {functions.small_body_bytes // MEBIBYTE} MB)",
        "state": f"{ours['max_state_bytes'] // MEBIBYTE} MB: each part's JSON, its address and 100 bytes for its row",
        "nesting": f"{ours['max_nesting']} containers",
        "kept snapshots": f"newest {ours['keep_snapshots']}, those of {ours['keep_for'].days} days,"
        " then one an hour, a day, a month; all labelled",
        "idle chat expires, then is deleted": f"{ours['chat_expires_after'] // timedelta(minutes=1)} minutes,"
        f" {ours['delete_expired_after'].days} days",
        "idempotency keys": f"{ours['keep_keys_for'].days} days",
        "writes of one person": f"{ours['writes_per_second']:.0f} a second, {ours['writes_at_once']:,} at once;"
        " a write counts once and once more for each MB",
        "sessions, stored JSON of one person": f"{ours['max_sessions_per_user']:,},"
        f" {ours['max_stored_bytes_per_user'] // 1024**3} GB",
        "members and open invitations of a session": f"{ours['max_members_per_session']:,}",
        "open invitations: sent by one owner, to one person, from one to one": f"{ours['max_invitations_sent']:,},"
        f" {ours['max_invitations_received']:,}, {ours['max_invitations_from_one']:,}",
    }
    assert {what: said.get(what) for what in expected} == expected


def test_limits__name_settings_that_exist(db: Db) -> None:
    table = [line for line in page("docs/limits.md").splitlines() if line.startswith("| ")]
    text = "\n".join(line.strip("| ").split(" | ")[2] for line in table)
    with psycopg.connect(db.dsn) as admin:
        columns = admin.execute(
            "select attname from pg_attribute where attrelid = 'asyouwere.settings'::regclass"
            " and attnum > 0 and not attisdropped and attname <> 'only_row'"
        ).fetchall()
    assert set(re.findall(r"`(?:asyouwere\.settings\.)?([a-z]+(?:_[a-z]+)+)`", text)) == {name for (name,) in columns}
    for name in PAGES:
        named = set(re.findall(r"\bASYOUWERE_(?!TEST_)[A-Z_]+\b", page(name)))
        assert named <= set(VARIABLES), name
