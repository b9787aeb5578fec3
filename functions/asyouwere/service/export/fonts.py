"""Which fonts a text needs, and what no font has.

The fonts in ``fonts/`` are asked first, then the folder named by the environment variable ASYOUWERE_FONTS, then
those of the system. A character without any is replaced by its number, so that no empty box stands for it.
"""

from __future__ import annotations

import json
import lzma
import os
import re
import shutil
import struct
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

__all__ = ["Fonts"]

_HERE: Final = Path(__file__).parent / "fonts"
_SYSTEM: Final = {
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": (r"C:\Windows\Fonts",),
}.get(sys.platform, ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"))
_MOST_FILES: Final = 2000
_ALWAYS: Final = ("Noto Sans Asyouwere", "DejaVu Sans Mono Asyouwere")  # they set what is ours
# Shaping deals with these itself; they need no glyph. Unicode calls them default ignorable.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff\t\n]"
)

Ranges = list[tuple[int, int]]


class _Font:
    """A font that can be used: family and coverage are known without reading the font itself."""

    def __init__(self, path: Path, ranges: Ranges, family: str = "", *, plain: bool = True) -> None:
        self.path, self.family, self.plain = path, family, plain
        self._firsts = [first for first, _ in ranges]
        self._lasts = [last for _, last in ranges]

    def has(self, character: str) -> bool:
        """Whether it has a glyph for this character."""
        code = ord(character)
        at = bisect_right(self._firsts, code) - 1
        return at >= 0 and code <= self._lasts[at]


class Fonts:
    """The fonts for one document.

        fonts = Fonts(all_its_text)
        fonts.missing                     # characters that nothing covers
        fonts.unpack(folder)              # the files needed, for the typesetter

    families: names in the order in which they are to be asked, of the shipped fonts that are needed.
    """

    def __init__(self, text: str, *, folders: Iterable[str | Path] | None = None) -> None:
        characters = {character for character in set(text) if not _INVISIBLE.match(character)}
        shipped = list(_shipped())
        self._needed = [font for font in shipped if font.family in _ALWAYS or any(map(font.has, characters))]
        missing = {character for character in characters if not any(font.has(character) for font in shipped)}
        if missing:
            for font in _found(_folders() if folders is None else folders, missing):
                self._needed.append(font)
                missing = {character for character in missing if not font.has(character)}
        self.missing: Final = missing
        self.families: Final = list(dict.fromkeys(font.family for font in self._needed if font.family))
        self._plain = [font for font in self._needed if font.plain]

    def holds_together(self, cluster: str) -> bool:
        """Whether one font has all of a letter and its marks; the typesetter does not take them from two."""
        characters = [character for character in cluster if not _INVISIBLE.match(character)]
        composed = unicodedata.normalize("NFC", "".join(characters))
        return any(all(map(font.has, characters)) or all(map(font.has, composed)) for font in self._plain)

    def unpack(self, folder: Path) -> None:
        """Put the needed fonts into a folder, shipped ones unpacked, others as links or copies."""
        for number, font in enumerate(self._needed):
            if font.path.suffix == ".xz":
                (folder / font.path.stem).write_bytes(lzma.decompress(font.path.read_bytes()))
                continue
            target = folder / f"{number}-{font.path.name}"
            try:
                target.symlink_to(font.path)
            except OSError:
                shutil.copyfile(font.path, target)


def _shipped() -> Iterator[_Font]:
    for entry in json.loads((_HERE / "index.json").read_text("utf-8")):
        ranges = [(first, last) for first, last in entry["ranges"]]
        plain = not entry["bold"] and not entry["italic"]
        yield _Font(_HERE / entry["file"], ranges, entry["family"], plain=plain)


def _folders() -> list[str | Path]:
    extra = os.environ.get("ASYOUWERE_FONTS")
    return [*([extra] if extra else []), *(Path(name).expanduser() for name in _SYSTEM)]


def _found(folders: Iterable[str | Path], wanted: set[str]) -> Iterator[_Font]:
    """Fonts in the folders that have some of the wanted characters, each one something the others do not."""
    candidates: list[tuple[int, bool, _Font]] = []
    for rank, folder in enumerate(folders):
        paths = (path for path in Path(folder).rglob("*") if path.suffix.lower() in (".ttf", ".otf", ".ttc"))
        for _, path in zip(range(_MOST_FILES), sorted(paths), strict=False):
            font = _Font(path, _coverage(path))
            if any(map(font.has, wanted)):
                candidates.append((rank, "regular" not in path.stem.lower(), font))
    for _, _, font in sorted(candidates, key=lambda found: found[:2]):
        if any(map(font.has, wanted)):
            yield font
            wanted = {character for character in wanted if not font.has(character)}


def _coverage(path: Path) -> Ranges:
    """The characters of a font file from its cmap table; none if the file is not one we can read."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
            start = struct.unpack(">I", head[12:16])[0] if head[:4] == b"ttcf" else 0
            file.seek(start)
            count = struct.unpack(">4xH6x", file.read(12))[0]
            directory = file.read(16 * count)
            for tag, _, offset, length in struct.iter_unpack(">4sIII", directory):
                if tag == b"cmap":
                    file.seek(offset)
                    return sorted(_cmap(file.read(min(length, 4_000_000))))
    except (OSError, struct.error):
        pass
    return []


def _cmap(table: bytes) -> Iterator[tuple[int, int]]:
    """Ranges of the Unicode subtables: format 4 for the basic plane, format 12 for all."""
    subtables: dict[int, int] = {}
    for index in range(struct.unpack(">2xH", table[:4])[0]):
        platform, encoding, offset = struct.unpack_from(">HHI", table, 4 + 8 * index)
        if platform == 0 or (platform == 3 and encoding in (1, 10)):
            subtables[struct.unpack_from(">H", table, offset)[0]] = offset
    if 12 in subtables:
        at = subtables[12]
        for index in range(min(struct.unpack_from(">I", table, at + 12)[0], 100_000)):
            first, last = struct.unpack_from(">II", table, at + 16 + 12 * index)
            yield first, last
    elif 4 in subtables:
        at = subtables[4]
        segments: int = struct.unpack_from(">H", table, at + 6)[0] // 2
        ends: tuple[Any, ...] = struct.unpack_from(f">{segments}H", table, at + 14)
        starts: tuple[Any, ...] = struct.unpack_from(f">{segments}H", table, at + 16 + 2 * segments)
        yield from ((first, last) for first, last in zip(starts, ends, strict=True) if first != 0xFFFF)
