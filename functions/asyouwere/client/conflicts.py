"""What becomes of doubts: mine stands, the app is told of each, and may decide otherwise."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, Final

from asyouwere.client.document import Document
from asyouwere.state.rebasing import Doubt
from asyouwere.state.tree import Tree, render

__all__ = ["decide", "told"]

_LOG: Final = logging.getLogger("asyouwere")


def told(doubts: list[Doubt]) -> list[dict[str, Any]]:
    """Each as the event ``conflict`` has it: address, and what was at the base, mine and theirs, as values; None:
    nothing."""
    sides = ("base", "mine", "theirs")
    return [{"address": doubt.address} | {side: _value(getattr(doubt, side)) for side in sides} for doubt in doubts]


def decide(document: Document, doubts: list[Doubt], resolve: Callable[[Doubt], Any]) -> None:
    """Put theirs where ``resolve`` says "theirs"; with a container all that is in it is decided. Where it raises,
    mine stands."""
    theirs: list[Doubt] = []
    for doubt in doubts:
        if any(doubt.address.startswith(f"{above.address}/") for above in theirs):
            continue
        try:
            answer = resolve(doubt)
        except Exception as exc:  # noqa: BLE001 - the app's code
            _LOG.error("resolve failed (%s): mine stands", type(exc).__name__)
            continue
        if answer == "theirs":
            theirs.append(doubt)
    for doubt in theirs:
        if doubt.mine is None:  # the app had removed it
            document.insert(doubt.address, _value(doubt.theirs))
        elif doubt.theirs is not None:
            document.set(doubt.address, _value(doubt.theirs))
    for doubt in reversed(theirs):  # from the end, or those behind would move
        if doubt.theirs is None:
            document.remove(doubt.address)


def _value(tree: Tree | None) -> Any:
    return None if tree is None else json.loads(render(tree))
