"""Change rows on their way from a request to ``save_session_parts``."""

from __future__ import annotations

from typing import cast

from asyouwere.service.database import Argument
from asyouwere.service.database.text_array import TextArray
from asyouwere.state.rows import ChangeRows

__all__ = ["array_rows", "row_arguments"]


def array_rows() -> ChangeRows:
    """Empty rows whose columns are built as Postgres takes them, so that a large body is copied once."""
    return ChangeRows(paths=TextArray(), bodies=TextArray())


def row_arguments(rows: ChangeRows) -> dict[str, Argument]:
    """The four columns as arguments, of rows that ``array_rows`` began."""
    return {
        "p_ops": TextArray(rows.ops),
        "p_paths": cast("TextArray[str]", rows.paths),
        "p_items": rows.items,
        "p_bodies": cast("TextArray[str | None]", rows.bodies),
    }
