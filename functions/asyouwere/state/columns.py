"""Where the texts of change rows are put: a list, or whatever else takes them one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar, cast, overload

from asyouwere.state.exact_json import as_text

__all__ = ["TextColumn", "TextList"]

_T = TypeVar("_T", bound="str | None")


class TextColumn(Protocol[_T]):
    """Texts, and None where a row has none, in the order of the rows."""

    def append(self, text: _T, /) -> None:
        """Put a text at the end."""

    def append_view(self, view: str, start: int, end: int) -> None:
        """Put a piece of a view (see exact_json) at the end, as text."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[_T]: ...

    @overload
    def __getitem__(self, at: int, /) -> _T: ...

    @overload
    def __getitem__(self, at: slice, /) -> Iterable[_T]: ...


class TextList(list[_T]):
    """The plain column."""

    __slots__ = ()

    def append_view(self, view: str, start: int, end: int) -> None:
        self.append(cast(_T, as_text(view[start:end])))
