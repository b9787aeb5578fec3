"""PDFs read back: their text, their glyphs, where words stand."""

from __future__ import annotations

import io
import re
from typing import Any

from pypdf import PdfReader
from pypdf.generic import ContentStream

_DIRECTION = re.compile("[\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


def text_of(pdf: bytes) -> str:
    """All text, without direction marks, white space as single blanks."""
    pages = PdfReader(io.BytesIO(pdf)).pages
    return " ".join(_DIRECTION.sub("", " ".join(page.extract_text() for page in pages)).split())


def lines_of(pdf: bytes) -> list[str]:
    """The lines of text as they stand on the pages."""
    pages = PdfReader(io.BytesIO(pdf)).pages
    return [_DIRECTION.sub("", line).strip() for page in pages for line in page.extract_text().split("\n")]


def places_of(pdf: bytes) -> list[tuple[str, float, float]]:
    """Pieces of text on the first page with x and y of their start, in points from its lower left corner."""
    found: list[tuple[str, float, float]] = []

    def note(text: str, current: list[float], at: list[float], *_: Any) -> None:
        if text.strip():
            x = current[0] * at[4] + current[2] * at[5] + current[4]
            y = current[1] * at[4] + current[3] * at[5] + current[5]
            found.append((_DIRECTION.sub("", text).strip(), x, y))

    PdfReader(io.BytesIO(pdf)).pages[0].extract_text(visitor_text=note)
    return found


def fonts_of(pdf: bytes) -> dict[str, dict[str, Any]]:
    """Name -> font dictionary of every font; Type 3 fonts, which have no name, as their number."""
    reader = PdfReader(io.BytesIO(pdf))
    named = [named for page in reader.pages for named in _fonts_on(page).items()]
    return {str(font.get("/BaseFont", number)): font for number, font in named}


def _fonts_on(page: Any) -> dict[str, Any]:
    return {name: font.get_object() for name, font in page["/Resources"].get("/Font", {}).items()}


def embedded(font: dict[str, Any]) -> bool:
    """Whether a font brings its glyphs along."""
    if font["/Subtype"] == "/Type3":
        return bool(font["/CharProcs"])
    descriptor = font["/DescendantFonts"][0].get_object()["/FontDescriptor"]
    return any(f"/FontFile{number}" in descriptor for number in ("", 2, 3))


def glyphs_of(pdf: bytes) -> dict[str, list[int]]:
    """Name of a font without its subset mark -> the glyphs shown with it, in order. 0 is an empty box."""
    reader = PdfReader(io.BytesIO(pdf))
    shown: dict[str, list[int]] = {}
    for page in reader.pages:
        fonts = _fonts_on(page)
        current: Any = None
        contents = page.get_contents()
        assert contents is not None
        for operands, operator in ContentStream(contents, reader).operations:
            if operator == b"Tf":
                current = fonts[operands[0]]
            elif operator in (b"Tj", b"TJ") and current["/Subtype"] == "/Type0":
                name = str(current["/BaseFont"]).partition("+")[2]
                for piece in operands[0] if operator == b"TJ" else operands:
                    raw = getattr(piece, "original_bytes", piece)
                    if isinstance(raw, bytes):
                        codes = [int.from_bytes(raw[at : at + 2]) for at in range(0, len(raw), 2)]
                        shown.setdefault(name, []).extend(codes)
    return shown


def boxes_in(pdf: bytes) -> list[str]:
    """The fonts that showed an empty box."""
    return [name for name, glyphs in glyphs_of(pdf).items() if 0 in glyphs]
