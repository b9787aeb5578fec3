"""What is uploaded."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from pathlib import Path

from asyouwere_infra.archive import FUNCTIONS, archive, files

#: What runs on people's machines.
NOT_DEPLOYED = ("asyouwere/__main__.py", "asyouwere/client/", "asyouwere/local/")


def names(packed: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(packed)).namelist()


def test_archive__holds_what_a_function_runs_and_nothing_else() -> None:
    found = names(archive()[0])
    assert {"main.py", "requirements.txt", "asyouwere/__init__.py", "asyouwere/service/http/log.py"} <= set(found)
    assert any(name.startswith("asyouwere/service/export/fonts/") for name in found)
    expected = {
        path.relative_to(FUNCTIONS).as_posix()
        for path in FUNCTIONS.rglob("*")
        if path.suffix in (".py", ".typ", ".xz", ".json") and "__pycache__" not in path.parts
    }
    elsewhere = {name for name in expected if name.startswith(NOT_DEPLOYED)}
    assert elsewhere
    assert expected - elsewhere <= set(found)
    for name in found:
        assert not name.startswith((*NOT_DEPLOYED, "tests/", ".")), name
        assert "__pycache__" not in name
        assert not name.endswith((".pyc", ".pyi", "cli.py"))
    assert found == sorted(found)


def test_archive__same_bytes_from_another_place_and_time(tmp_path: Path) -> None:
    copy = tmp_path / "functions"
    shutil.copytree(FUNCTIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "asyouwere" / "__pycache__").mkdir()
    (copy / "asyouwere" / "__pycache__" / "auth.cpython-311.pyc").write_bytes(b"x")
    for path in files(copy):
        os.utime(copy / path, (1, 1))
        (copy / path).chmod(0o600)
    assert archive(copy) == archive()
    (copy / "main.py").write_text("# other\n")
    assert archive(copy)[1] != archive()[1]
