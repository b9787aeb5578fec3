"""A column of texts in one block of memory, as PostgreSQL takes it.

The bodies of a save are the request over again. As Python strings they would be a third copy of it, the text
of an SQL array a fourth and its bytes a fifth; here each body is copied once, from the request to its place
in the array, and the array goes to the server as it is.

    bodies = TextArray()
    bodies.append('{"a":1}')
    bodies.append(None)
    list(bodies)                                     # ['{"a":1}', None]
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar, cast, overload

__all__ = ["TextArray"]

_T = TypeVar("_T", bound="str | None", covariant=True)

# The binary form of an array of one dimension (array_recv in PostgreSQL's arrayfuncs.c): dimensions, whether
# there are nulls, type of the items, their number, first subscript; then each item as its length and bytes.
_HEAD: Final = struct.Struct("!5i")
_LENGTH: Final = struct.Struct("!i")
_TYPE_OF_TEXT: Final = 25
_PIECE: Final = 1 << 18
_NULL: Final = _LENGTH.pack(-1)


class TextArray(Sequence[_T]):
    """Texts (None: null), appended one after the other. Equal to any sequence of the same texts."""

    __slots__ = ("_block", "_starts")

    def __init__(self, texts: Iterable[_T] = ()) -> None:
        self._block = bytearray(_HEAD.size)
        self._starts = array("I")
        self.extend(texts)

    def append(self, text: str | None) -> None:
        """Put a text at the end."""
        if text is None:
            self._starts.append(len(self._block))
            self._block += _NULL
        else:
            self.append_bytes(text.encode())

    def append_bytes(self, text: bytes) -> None:
        """Put a text at the end that is UTF-8 already."""
        self._starts.append(len(self._block))
        self._block += _LENGTH.pack(len(text))
        self._block += text

    def append_view(self, view: str, start: int, end: int) -> None:
        """Put a piece of a view (see exact_json) at the end."""
        if end - start <= _PIECE:
            self.append_bytes(view[start:end].encode("latin-1"))
            return
        self._starts.append(len(self._block))
        self._block += _LENGTH.pack(end - start)
        for at in range(start, end, _PIECE):
            self._block += view[at : min(at + _PIECE, end)].encode("latin-1")

    def extend(self, texts: Iterable[str | None]) -> None:
        """Put texts at the end."""
        for text in texts:
            self.append(text)

    def wire(self) -> bytearray:
        """PostgreSQL's binary form of a text[]; not a copy, so it must not be changed while it is sent."""
        dimensions = 1 if self._starts else 0
        head = (dimensions, 1, _TYPE_OF_TEXT, len(self._starts), 1)
        if not dimensions:
            return bytearray(_HEAD.pack(*head)[:12])
        _HEAD.pack_into(self._block, 0, *head)
        return self._block

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, at: int) -> _T: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[_T]: ...

    def __getitem__(self, at: int | slice) -> _T | Sequence[_T]:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        text = self._bytes(at)
        return cast(_T, None if text is None else text.decode())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"<{len(self)} texts>"  # never what they say

    __hash__ = None  # type: ignore[assignment]

    def _bytes(self, at: int) -> bytes | None:
        start = self._starts[at]
        (length,) = _LENGTH.unpack_from(self._block, start)
        start += _LENGTH.size
        return None if length < 0 else bytes(self._block[start : start + length])
