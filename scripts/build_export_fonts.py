"""Build the fonts that the PDF export ships: functions/leftoff/export/fonts/*.ttf.xz and index.json.

Run by hand when a font is added or renewed, never at build or run time:

    pip install fonttools brotli
    python scripts/build_export_fonts.py --noto DIR --dejavu DIR --wqy FILE --twemoji FILE

The folders are what Debian's packages fonts-noto-core (20201225), fonts-dejavu-core (2.37) and
fonts-wqy-microhei (0.2.0-beta) install; the emoji file is twemoji.woff2 from the npm package twemoji-colr-font
(15.0.3). Each font is reduced to the characters named here and loses its hinting, which a PDF does not use.
"""

from __future__ import annotations

import argparse
import json
import lzma
from dataclasses import dataclass
from pathlib import Path

from fontTools import subset

OUT = Path(__file__).resolve().parent.parent / "functions" / "leftoff" / "export" / "fonts"

# U+0338 (the stroke through other signs) is left out: Noto Sans would build a crooked ≠ from it, and the
# monospaced font has the real one.
REGULAR = (
    "0000-0337,0339-052F,1D00-1DBF,1E00-1FFF,2000-200B,2010-2027,202F-205E,2070-20CF,2100-214F,2150-218F,"
    "2C60-2C7F,A720-A7FF,AB30-AB6F,FB00-FB06,FE20-FE2F,FFFD"
)
STYLED = "0000-024F,0300-0337,0339-036F,0370-03FF,0400-045F,0490-0491,1E00-1EFF,2010-2027,2030-205E,20A0-20BF,2116,2122"
MONO_BOLD = "0020-017F,0370-03FF,0400-045F,2010-2027,2190-2193,2500-257F"
CJK = (
    "1100-11FF,2E80-2FDF,3000-33FF,3400-4DBF,4E00-9FFF,A960-A97F,AC00-D7FF,F900-FAFF,FE30-FE4F,FF00-FFEF"
)
SCRIPTS = (
    "Armenian Georgian Thai Lao Khmer Myanmar Ethiopic Devanagari Bengali Gurmukhi Gujarati Oriya Tamil Telugu "
    "Kannada Malayalam Sinhala"
).split()


@dataclass(frozen=True)
class Job:
    """One font to make. characters: hexadecimal ranges, or '*' for all that it has."""

    source: Path
    characters: str
    bold: bool = False
    italic: bool = False


def jobs(noto: Path, dejavu: Path, wqy: Path, twemoji: Path) -> list[Job]:
    """All fonts, in the order in which they are asked for a character."""
    found = [
        Job(noto / "NotoSans-Regular.ttf", REGULAR),
        Job(noto / "NotoSans-Bold.ttf", STYLED, bold=True),
        Job(noto / "NotoSans-Italic.ttf", STYLED, italic=True),
        Job(noto / "NotoSans-BoldItalic.ttf", "0000-017F,2010-2027", bold=True, italic=True),
    ]
    for script in ("Arabic", "Hebrew"):
        found.append(Job(noto / f"NotoSans{script}-Regular.ttf", "*"))
        found.append(Job(noto / f"NotoSans{script}-Bold.ttf", "*", bold=True))
    found += [Job(noto / f"NotoSans{script}-Regular.ttf", "*") for script in SCRIPTS]
    return [
        *found,
        Job(wqy, CJK),
        Job(dejavu / "DejaVuSansMono.ttf", "*"),
        Job(dejavu / "DejaVuSansMono-Bold.ttf", MONO_BOLD, bold=True),
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
    have = sorted(font.getBestCmap())
    wanted = set(have) if job.characters == "*" else set(subset.parse_unicodes(job.characters))
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=wanted)
    subsetter.subset(font)
    font.flavor = None
    plain = OUT / f"{job.source.stem}.ttf"
    subset.save_font(font, str(plain), options)
    packed = lzma.compress(plain.read_bytes(), preset=9 | lzma.PRESET_EXTREME)
    plain.unlink()
    plain.with_suffix(".ttf.xz").write_bytes(packed)
    print(f"{len(packed):>9,} {job.source.stem}")
    return {
        "file": f"{job.source.stem}.ttf.xz",
        "family": font["name"].getBestFamilyName(),
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
