"""What a client keeps of a session: the base, the save under way, and the local state. Pure, without I/O.

    base      what the server had at ``number``
    sending   the one save under way: its key, its changes, and the state that it makes of the base
    local     what the app sees
    next_key  the key of the save after it, chosen before there is anything to save, and kept in the journal
    written   what was pending in a journal whose client is gone, with that key. It may have been sent since, if the
              journal is behind; so it is sent as it is, under that key, and later edits in a save of their own

Always: sent = base + sending; local = sent (or base) + what is pending. Trees are never changed in place, so all
three share what is the same in them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from asyouwere.client.deltas import apply_delta, copied
from asyouwere.client.transport import Saved
from asyouwere.state.changes import append_items, diff_trees, replace
from asyouwere.state.exact_json import check_nesting
from asyouwere.state.rebasing import Doubt, moves, rebase
from asyouwere.state.rows import open_changes
from asyouwere.state.tree import Tree

__all__ = ["Replica", "Sending"]


@dataclass(frozen=True, slots=True)
class Sending:
    """A save that was sent, or is about to be. wire: the changes as they travel, if not as ``changes`` (sealed)."""

    key: str
    base: int
    changes: str
    tree: dict[str, Tree] = field(repr=False)
    wire: str | None = field(default=None, repr=False)
    label: str | None = None


@dataclass(slots=True)
class Replica:
    """One client's copy of one session."""

    number: int = 0
    base: dict[str, Tree] = field(default_factory=dict, repr=False)
    local: dict[str, Tree] = field(default_factory=dict, repr=False)
    sending: Sending | None = field(default=None, repr=False)
    next_key: str = field(default_factory=lambda: str(uuid.uuid4()), repr=False)
    written: tuple[str, dict[str, Tree]] | None = field(default=None, repr=False)

    @property
    def sent(self) -> dict[str, Tree]:
        """What the server will have once the save under way has arrived."""
        return self.base if self.sending is None else self.sending.tree

    def pending(self) -> str:
        """The changes that are in no save yet, as text; {} if there are none."""
        return "{}" if self.local is self.sent else diff_trees(self.sent, self.local)

    @property
    def is_waiting(self) -> bool:
        """Whether anything has not arrived yet."""
        return self.sending is not None or (self.local is not self.base and self.local != self.base)

    def compose(self, label: str | None = None) -> Sending | None:
        """Make the next save of what is pending; None if nothing is. There must be none under way."""
        assert self.sending is None
        if self.written is not None:
            (key, tree), self.written = self.written, None
            changes = diff_trees(self.base, tree)
            if changes != "{}":
                self.sending = Sending(key, self.number, changes, tree)
                return self.sending
        changes = self.pending()
        if changes == "{}":
            self.local = self.base
            return None
        check_nesting(changes, 67)
        self.sending = Sending(self.next_key, self.number, changes, self.local, label=label)
        self.next_key = str(uuid.uuid4())
        return self.sending

    def take_back(self) -> None:
        """The save under way will not be made: what is in it is pending again."""
        self.sending = None

    def resume(self, refused: Sending, base: dict[str, Tree]) -> None:
        """Make a refused save anew on the base there is now: the same edits, no later ones, under the same key.

        ``base``: what it was made from. A copy of the refused request may still arrive late, and be accepted by then:
        under another key the same edits would count twice.
        """
        tree, _ = rebase(base, self.base, refused.tree)
        changes = diff_trees(self.base, tree)
        if changes != "{}":
            self.sending = Sending(refused.key, self.number, changes, tree, label=refused.label)

    def accepted(self, answer: Saved) -> list[Doubt] | None:
        """Fold the answer to the save under way in. None if it does not say what the server has: get that, then
        call ``caught_up``."""
        sending = self.sending
        assert sending is not None
        if answer.others is not None:
            return self.folded(answer.number, apply_delta(self.base, answer.others))
        if answer.number == sending.base + answer.created:
            return self.folded(answer.number, sending.tree)
        return None

    def folded(self, number: int, theirs: dict[str, Tree]) -> list[Doubt]:
        """The save under way arrived, and now the server has this at this number. Returns what was in doubt."""
        sending = self.sending
        assert sending is not None
        moved = {} if theirs is sending.tree else moves(self.base, sending.tree, theirs)
        self.local, doubts = rebase(sending.tree, theirs, self.local, moved)
        if self.written is not None:
            self.written = self.written[0], rebase(sending.tree, theirs, self.written[1], moved).tree
        self.number, self.base, self.sending = number, theirs, None
        return doubts

    def caught_up(self, number: int, theirs: dict[str, Tree]) -> list[Doubt]:
        """The server has this at this number, and no save is under way. Returns what was in doubt."""
        assert self.sending is None
        self.local, doubts = rebase(self.base, theirs, self.local)
        if self.written is not None:
            self.written = self.written[0], rebase(self.base, theirs, self.written[1]).tree
        self.number, self.base = number, theirs
        return doubts


def with_changes(tree: dict[str, Tree], changes: str) -> dict[str, Tree]:
    """A tree after changes as a save has them; ``tree`` stays as it is."""
    rows = open_changes(changes)
    return append_items(replace(copied(tree), rows), rows)
