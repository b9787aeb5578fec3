"""Build the fonts that the PDF export ships: functions/asyouwere/service/export/fonts/*.ttf.xz and index.json.

Run by hand when a font is added or renewed, never at build or run time:

    pip install fonttools brotli
    python scripts/build_export_fonts.py --noto DIR --dejavu DIR --wqy FILE --twemoji FILE

The folders are what Debian's packages fonts-noto-core (20201225), fonts-dejavu-core (2.37) and
fonts-wqy-microhei (0.2.0-beta) install; the emoji file is twemoji.woff2 of the npm package
twemoji-colr-font (15.0.3). Each font is reduced to the characters named here and loses its hinting, which a
PDF does not use.
"""

from __future__ import annotations

import argparse
import json
import lzma
from dataclasses import dataclass
from pathlib import Path

from fontTools import subset

OUT = Path(__file__).resolve().parent.parent / "functions" / "asyouwere" / "export" / "fonts"

# The same in all four styles: a family that lacks a letter in one style is not asked for its other styles.
# U+0338 (the stroke through other signs) is left out: Noto Sans would build a crooked ≠ from it, and the
# monospaced font has the real one.
LATIN = (
    "0000-024F,0259,02B0-02FF,0300-0337,0339-036F,0370-03FF,0400-052F,1E00-1FFF,2000-200B,2010-2027,202F-205E,"
    "2070-209F,20A0-20CF,2100-214F,FB00-FB06,FFFD"
)
# Phonetic and other rare letters, upright only, as a family of its own.
RARE = "0020-007E,0250-02AF,0300-0337,0339-036F,1D00-1DFF,2150-218F,2C60-2C7F,A720-A7FF,AB30-AB6F,FE20-FE2F"
CJK = "1100-11FF,2E80-2FDF,3000-33FF,3400-4DBF,4E00-9FFF,A960-A97F,AC00-D7FF,F900-FAFF,FE30-FE4F,FF00-FFEF"
SCRIPTS = [
    "Armenian", "Georgian", "Thai", "Lao", "Khmer", "Myanmar", "Ethiopic", "Devanagari", "Bengali",
    "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala",
]  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One font to make. characters: hexadecimal ranges, or '*' for all that it has."""

    source: Path
    characters: str
    bold: bool = False
    italic: bool = False
    name: str = ""  # of the file and the family, if not the source's
    composed: bool = False
    """Leave out the rules (ccmp) that take accented letters apart: a PDF would have two signs for one letter,
    and readers copy the second as rubbish."""


def jobs(noto: Path, dejavu: Path, wqy: Path, twemoji: Path) -> list[Job]:
    """All fonts, in the order in which they are asked for a character."""
    found = [
        Job(noto / "NotoSans-Regular.ttf", LATIN, composed=True),
        Job(noto / "NotoSans-Bold.ttf", LATIN, bold=True, composed=True),
        Job(noto / "NotoSans-Italic.ttf", LATIN, italic=True, composed=True),
        Job(noto / "NotoSans-BoldItalic.ttf", LATIN, bold=True, italic=True, composed=True),
        Job(noto / "NotoSans-Regular.ttf", RARE, name="Noto Sans Rare", composed=True),
    ]
    for script in ("Arabic", "Hebrew"):
        found.append(Job(noto / f"NotoSans{script}-Regular.ttf", "*"))
        found.append(Job(noto / f"NotoSans{script}-Bold.ttf", "*", bold=True))
    found += [Job(noto / f"NotoSans{script}-Regular.ttf", "*") for script in SCRIPTS]
    return [
        *found,
        Job(wqy, CJK),
        Job(dejavu / "DejaVuSansMono.ttf", "*", composed=True),
        Job(noto / "NotoSansMath-Regular.ttf", "1D400-1D7FF"),
        Job(twemoji, "*"),
    ]


def ranges(characters: list[int]) -> list[list[int]]:
    """Sorted code points as [first, last] pairs."""
    pairs: list[list[int]] = []
    for character in characters:
        if pairs and pairs[-1][1] == character - 1:
            pairs[-1][1] = character
        else:
            pairs.append([character, character])
    return pairs


def build(job: Job) -> dict[str, object]:
    """Write one font; return its entry in the index."""
    options = subset.Options(
        hinting=False,
        layout_features=["*"],
        layout_scripts=["*"],
        name_languages=[0x409],
        glyph_names=False,
        notdef_outline=True,
        font_number=0,
    )
    options.drop_tables += ["FFTM"]
    font = subset.load_font(str(job.source), options)
    if job.composed:
        features = {record.FeatureTag for record in font["GSUB"].table.FeatureList.FeatureRecord}
        options.layout_features = sorted(features - {"ccmp"})
        options.layout_features += ["kern", "mark", "mkmk"]
    have = sorted(font.getBestCmap())
    wanted = set(have) if job.characters == "*" else set(subset.parse_unicodes(job.characters))
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=wanted)
    subsetter.subset(font)
    font.flavor = None
    # A name of our own: a system's font of the same name must not take its place.
    family = f"{job.name or font['name'].getBestFamilyName()} Asyouwere"
    for record in list(font["name"].names):
        if record.nameID in (1, 4, 6, 16, 17, 21, 22):
            font["name"].removeNames(nameID=record.nameID)
    style = " ".join(word for word, on in (("Bold", job.bold), ("Italic", job.italic)) if on) or "Regular"
    names = {1: family, 2: style, 4: f"{family} {style}", 6: f"{family}-{style}".replace(" ", "")}
    for number, name in names.items():
        font["name"].setName(name, number, 3, 1, 0x409)
    plain = OUT / f"{job.name.replace(' ', '') or job.source.stem}.ttf"
    subset.save_font(font, str(plain), options)
    packed = lzma.compress(plain.read_bytes(), preset=9 | lzma.PRESET_EXTREME)
    plain.unlink()
    plain.with_suffix(".ttf.xz").write_bytes(packed)
    print(f"{len(packed):>9,} {plain.stem}")
    return {
        "file": f"{plain.stem}.ttf.xz",
        "family": family,
        "bold": job.bold,
        "italic": job.italic,
        "ranges": ranges(sorted(font.getBestCmap())),
    }


def main() -> None:
    """Build them all."""
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ("noto", "dejavu", "wqy", "twemoji"):
        arguments.add_argument(f"--{name}", type=Path, required=True)
    index = [build(job) for job in jobs(**vars(arguments.parse_args()))]
    lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in index)
    (OUT / "index.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
