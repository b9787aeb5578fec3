"""An edited copy of a state, brought forward onto what the server has by now.

A client goes on editing while its save is under way, and while others save. ``sent`` is the state that its edits
began from and that the server knows of, ``theirs`` what the server has now, ``mine`` the copy with the edits.
Unlike merging, which refuses what it can't bring together, this always ends with a state: ``mine`` stands, and
each place where that was not plain is told as a doubt. What ``theirs`` had there is in the session's history.

1. **Objects opened in both** copies go key by key, as far as ``sent`` had none there as if it had been empty.
2. **Lists opened in both** go item by item as far as ``sent`` goes, what ``theirs`` appended comes next, what
   ``mine`` appended last. Items that ``mine`` cut off stay cut, items that ``theirs`` appended stay; that
   both happened is a doubt.
3. **Everything else** goes as a whole, containers with all that is in them: what only one side changed is taken,
   what both changed to the same once; of what both changed differently ``mine`` stands, and it is a doubt.

**Moves.** What a save appended comes to stand behind what others had appended before it. So ``moved`` says of a
list, by its pointer, from which item of ``sent`` on the items stand how much further down in ``theirs`` (or
further up, if others had cut some). ``moves`` finds that out from the state that the save was made from.

Two things hold whatever the states are: ``rebase(s, s, m) == m`` and ``rebase(s, t, s) == t``, without a doubt.

States are trees (see ``tree``) here. None is changed, and results share what did not change: a subtree that is
the same object in two of them is not looked into.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from asyouwere.state.addresses import pointer_of
from asyouwere.state.tree import Tree

__all__ = ["Doubt", "Moved", "Rebased", "moves", "rebase"]

Moved: TypeAlias = Mapping[str, tuple[int, int]]
"""Pointer of a list -> (first, shift): items of ``sent`` from ``first`` on stand ``shift`` further down."""


class Doubt(NamedTuple):
    """A place where ``mine`` stands though ``theirs`` is something else.

    address: a pointer into the result; of an item that ``mine`` has cut off, into ``theirs``. None: nothing there.
    """

    address: str
    base: Tree | None
    mine: Tree | None
    theirs: Tree | None


class Rebased(NamedTuple):
    """``mine`` as if it had been made from ``theirs``, and what was not plain, from the root down."""

    tree: dict[str, Tree]
    doubts: list[Doubt]


def rebase(
    sent: dict[str, Tree], theirs: dict[str, Tree], mine: dict[str, Tree], moved: Moved | None = None
) -> Rebased:
    """Bring ``mine``, which was made from ``sent``, forward onto ``theirs``."""
    doubts: list[Doubt] = []
    return Rebased(_rebase_objects(sent, theirs, mine, moved or {}, "/", doubts), doubts)


def moves(base: dict[str, Tree], sent: dict[str, Tree], theirs: dict[str, Tree]) -> dict[str, tuple[int, int]]:
    """Where the items that a save appended stand elsewhere than it had them.

    base: what the save was made from; sent: with it; theirs: what the server has since. Found by value from the end,
    so it holds for a later state of the server, too, in which others have appended behind them.
    """
    found: dict[str, tuple[int, int]] = {}
    _find_moves(base, sent, theirs, "/", found)
    return found


def _find_moves(
    base: Tree | None, sent: Tree, theirs: Tree | None, path: str, found: dict[str, tuple[int, int]]
) -> None:
    if sent is theirs or sent is base:
        return
    if isinstance(sent, dict) and isinstance(theirs, dict):
        inside = base if isinstance(base, dict) else {}
        for key, value in sent.items():
            _find_moves(inside.get(key), value, theirs.get(key), f"{path}{key}/", found)
    elif isinstance(sent, list) and isinstance(theirs, list):
        first, last = len(base) if isinstance(base, list) else 0, len(theirs) - len(sent)
        appended = sent[first:]
        if not appended:
            return
        places = range(last, -first - 1, -1)
        here = (by for by in places if theirs[first + by : len(sent) + by] == appended)
        shift = next(here, last)  # where others have changed them since, the end is as good a place as any
        if shift:
            found[pointer_of(path)] = first, shift


def _rebase_objects(
    sent: dict[str, Tree],
    theirs: dict[str, Tree],
    mine: dict[str, Tree],
    moved: Moved,
    path: str,
    doubts: list[Doubt],
) -> dict[str, Tree]:
    if mine is sent:
        return theirs
    result: dict[str, Tree] = {}
    for key in theirs | mine:  # a key of sent alone is gone on both sides
        value = _rebase_values(sent.get(key), theirs.get(key), mine.get(key), moved, f"{path}{key}/", doubts)
        if value is not None:
            result[key] = value
    return result


def _rebase_values(
    sent: Tree | None, theirs: Tree | None, mine: Tree | None, moved: Moved, path: str, doubts: list[Doubt]
) -> Tree | None:
    if mine is sent:
        return theirs
    if isinstance(theirs, dict) and isinstance(mine, dict):
        return _rebase_objects(sent if isinstance(sent, dict) else {}, theirs, mine, moved, path, doubts)
    if isinstance(theirs, list) and isinstance(mine, list):
        return _rebase_lists(sent if isinstance(sent, list) else [], theirs, mine, moved, path, doubts)
    if mine == sent:
        return theirs
    if theirs not in (sent, mine):
        doubts.append(Doubt(pointer_of(path), sent, mine, theirs))
    return mine


def _rebase_lists(
    sent: list[str], theirs: list[str], mine: list[str], moved: Moved, path: str, doubts: list[Doubt]
) -> list[str]:
    first, shift = moved.get(pointer_of(path), (len(sent), 0)) if moved else (len(sent), 0)
    begun = max(len(sent) + shift, 0)  # from here on theirs has what sent has not
    result: list[str] = []

    def take(items: range) -> None:
        for item in items:
            was, my = sent[item], mine[item] if item < len(mine) else None
            place = item if item < first else item + shift
            gone = not 0 <= place < len(theirs) or first + shift <= item < first
            their = None if gone else theirs[place]
            value = their if my == was else my
            if my != was and their not in (was, my):
                doubts.append(Doubt(pointer_of(path, place if my is None else len(result)), was, my, their))
            if value is not None:
                result.append(value)

    others = theirs[first : first + shift] if shift > 0 else []
    if len(mine) < len(sent) and (others or len(theirs) > begun):
        doubts.append(Doubt(pointer_of(path), sent, mine, theirs))
    take(range(min(first, len(sent))))
    result += others
    take(range(first, len(sent)))
    return result + theirs[begun:] + mine[len(sent) :]
