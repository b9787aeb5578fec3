"""The short form of the clean-up's interleavings, and that they would notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trust import cleanup
from tests.trust.place import Place
from tests.trust.report import Outcome


def test_cleanup__short_form(run_folder: Path) -> None:
    outcome = Outcome("cleanup")
    cleanup.run(outcome, run_folder, long=False, say=lambda line: None)
    assert outcome.held, outcome.failures
    for name in ("restored whole", "snapshots removed meanwhile", "forked whole"):
        assert outcome.figures[name], f"nothing was {name}: the run shows nothing"


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ("l.label is null and k.kept_until", "k.kept_until"),
        ("max(j.number) filter (where not j.goes)", "max(j.number) filter (where not j.goes and j.label is null)"),
        ("latest_number::bigint - p_retention.newest", "latest_number::bigint - p_retention.newest + 1"),
    ],
    ids=["takes labelled ones", "takes their parts", "keeps one too few"],
)
def test_play__notices_a_clean_up_that_takes_too_much(run_folder: Path, there: str, instead: str) -> None:
    with Place(run_folder, settings={"fsync": "off"}, environment=cleanup.ENVIRONMENT) as place:
        storage = place.storage()
        (row,) = storage.rows("select pg_get_functiondef('asyouwere.prune_session'::regproc) as text")
        assert there in row["text"]
        storage.rows_without(row["text"].replace(there, instead).replace("%", "%%"))
        with pytest.raises(AssertionError, match="interleaving"):
            cleanup.play(Outcome("cleanup"), place, 200, lambda line: None)
