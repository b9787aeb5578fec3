from __future__ import annotations

import io
import json
import lzma
import resource
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from asyouwere.errors import AsYouWereError, TooLarge
from asyouwere.service import export
from asyouwere.service.export import Reader, fonts, pdf
from asyouwere.service.export.fitting import Fitting
from asyouwere.service.export.fonts import Fonts
from asyouwere.service.export.markup import Markup, is_rtl, plain_blocks
from asyouwere.service.export.typesetting import typeset
from tests.unit.export.documents import Document, conversation_of, document_of, read, render
from tests.unit.export.reading import (
    boxes_in,
    embedded,
    fonts_of,
    glyphs_of,
    lines_of,
    places_of,
    text_of,
)
from tests.unit.test_export_blocks import json_values
from tests.unit.test_export_markdown import texts

UNKNOWN = "\U000c0000"  # a character that no font can have


def pdf_of(*messages: Any) -> bytes:
    return render(conversation_of(*messages), "pdf")


def unspaced(text: str) -> str:
    """The reader takes a change of font for a blank, the second sign of a letter for a control character."""
    return "".join(character for character in text if character > " ")


def typeset_here(document: Document) -> bytes:
    """The PDF made in this process: faster, and a crash shows where."""
    return typeset(json.loads(json.dumps(asdict(read(document)))))


SAMPLES = {
    "English": "The quick brown fox “jumps” — naïve façade, 5 ≤ 7",
    "Polish": "Zażółć gęślą jaźń",
    "Vietnamese": "Tiếng Việt rất đẹp",
    "Russian": "Съешь ещё этих мягких французских булок",
    "Greek": "Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία",
    "Chinese": "你好，世界。天地玄黄，宇宙洪荒。",
    "Traditional": "繁體中文：天地玄黃，宇宙洪荒。",
    "Japanese": "いろはにほへと、カタカナも漢字も。",
    "Korean": "다람쥐 헌 쳇바퀴에 타고파",
    "Armenian": "Բարև աշխարհ",
    "Georgian": "გამარჯობა",
}
SHAPED = {
    "Hindi": "नमस्ते दुनिया",
    "Bengali": "ওহে বিশ্ব",
    "Tamil": "வணக்கம் உலகம்",
    "Telugu": "హలో ప్రపంచం",
    "Kannada": "ಹಲೋ ವರ್ಲ್ಡ್",
    "Malayalam": "ഹലോ വേൾഡ്",
    "Gujarati": "હેલો વર્લ્ડ",
    "Punjabi": "ਸਤਿ ਸ੍ਰੀ ਅਕਾਲ",
    "Oriya": "ନମସ୍କାର",
    "Sinhala": "ආයුබෝවන් ලෝකය",
    "Thai": "สวัสดีชาวโลก",
    "Lao": "ສະບາຍດີ",
    "Khmer": "សួស្តី​ពិភពលោក",
    "Burmese": "မင်္ဂလာပါ",
    "Amharic": "ሰላም ለዓለም",
    "Hebrew": "שָׁלוֹם עוֹלָם, מה שלומך?",
    "Arabic": "مَرحَبًا بِالعَالَم، كيف حالك؟",
    "Persian": "می‌خواهم سلام دنیا",
    "Urdu": "ہیلو ورلڈ",
    "Emoji": "😀 👩‍👩‍👧‍👦 👍🏽 🇩🇪 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤️ ☎️ 1️⃣ ™️ 🧑🏿‍🚀 ✅",
    "Mathematics": "∀x∈ℝ: 𝒜 ≠ 𝔹 ∧ ∫∑√ → ⇒ x²₁",
    "Drawing": "┌─┬─┐ ▓▒░ █▌ ○●◆ ✓✗ ☐☑",
}


def test_render__every_script_has_its_glyphs() -> None:
    made = pdf_of(
        *(
            {"role": "assistant", "content": f"**{name}** *{name}* {text}"}
            for name, text in (SAMPLES | SHAPED).items()
        )
    )
    shown = text_of(made)
    for text in SAMPLES.values():
        assert unspaced(text) in unspaced(shown)
    assert "U+" not in shown
    assert boxes_in(made) == []
    assert all(embedded(font) for font in fonts_of(made).values())
    assert any(font["/Subtype"] == "/Type3" for font in fonts_of(made).values()), "emoji in colour"


def test_render__every_script_in_code_and_bold_too() -> None:
    text = "\n".join([*SAMPLES.values(), *SHAPED.values()])
    made = pdf_of(
        {
            "role": "assistant",
            "content": f"```python\n{text}\n```\n\n" + "\n\n".join(f"# {line}" for line in text.split("\n")),
        }
    )
    assert boxes_in(made) == []
    shown = unspaced(text_of(made))
    for name, line in SAMPLES.items():
        # The monospaced font makes some letters of Vietnamese from two signs, too much for this reader.
        assert shown.count(unspaced(line)) == (1 if name == "Vietnamese" else 2), name


def test_render__arabic_is_shaped_and_runs_from_the_right() -> None:
    made = pdf_of({"role": "user", "content": "ععع ثم كلمة أخيرة"})
    arabic = glyphs_of(made)["NotoSansArabicAsyouwere-Regular"]
    assert "ع" * 3 in text_of(made)
    assert len(set(arabic)) >= 3
    word = glyphs_of(pdf_of({"role": "user", "content": "ععع"}))["NotoSansArabicAsyouwere-Regular"]
    assert len(set(word)) == 3, "first, middle and last form"
    places = {text: x for text, x, _ in places_of(pdf_of({"role": "user", "content": "اول abc ثاني xyz"}))}
    assert places["اول"] > places["abc"] > places["ثاني"] > places["xyz"]
    assert places["اول"] > 500, "at the right margin"


def test_render__hebrew_keeps_its_full_stop_on_the_left_and_code_its_order() -> None:
    made = pdf_of({"role": "assistant", "content": "זו הפונקציה `merge(a, b)` שלנו."})
    places = {text: x for text, x, _ in places_of(made)}
    assert places["הפונקציה"] > places["merge(a, b)"] > places["שלנו"] > places["."]


def test_render__lines_of_a_message_keep_their_own_direction() -> None:
    places = {
        text: (x, y) for text, x, y in places_of(pdf_of({"role": "user", "content": "first\nשלום\nlast"}))
    }
    assert places["שלום"][0] > 400 > places["first"][0] == places["last"][0]
    assert places["first"][1] > places["שלום"][1] > places["last"][1]


def test_render__markdown_is_typeset_for_assistants_only() -> None:
    text = "# Title\n\n**bold** and `code`\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> quote"
    shown = text_of(pdf_of({"role": "assistant", "content": text}))
    assert "Title bold and code • one • two" in shown
    assert not any(mark in shown for mark in ("**", "`", "|--", "> quote"))
    typed = lines_of(pdf_of({"role": "user", "content": text}))
    assert "# Title" in typed
    assert "**bold** and `code`" in typed
    assert "| 1 | 2 |" in typed


def test_render__content_is_never_read_as_markup_of_the_typesetter() -> None:
    text = '#read("/etc/passwd") $x^2$ #let a = 1 @ref <label> *b* \\ #include "x" // comment'
    for role in ("user", "assistant"):
        shown = text_of(pdf_of({"role": role, "name": text, "content": text + "\n\n```\n" + text + "\n```"}))
        assert shown.count('#read("/etc/passwd") $x^2$ #let a = 1 @ref <label>') == 4  # the name, cut and in full
    template = Path(pdf.__file__).with_name("template.typ").read_text("utf-8")
    assert not any(word in template for word in ("read(", "image(", "include", "import", "eval(", "plugin("))


def test_render__links_lead_only_to_the_web() -> None:
    made = pdf_of(
        {
            "role": "assistant",
            "content": "[web](https://example.com/a) [mail](mailto:a@b.c) [js](javascript:alert(1)) "
            "[file](file:///etc/passwd) [app](vscode://open) [here](/etc/passwd) ![picture](https://example.com/p.png)",
        }
    )
    page = PdfReader(io.BytesIO(made)).pages[0]
    targets = [note.get_object()["/A"]["/URI"] for note in page.annotations or ()]
    assert targets == ["https://example.com/a", "mailto:a@b.c"]
    assert unspaced("[image: picture: https://example.com/p.png]") in unspaced(text_of(made))


def test_render__a_page_says_what_it_is() -> None:
    state = {
        "messages": [{"role": "user", "content": f"message {number}\n" * 9} for number in range(20)],
        "step": 3,
    }
    made = render(document_of(state, name="Migration of the billing service"), "pdf")
    reader = PdfReader(io.BytesIO(made))
    assert reader.metadata is not None
    assert reader.metadata.title == "Migration of the billing service"
    assert len(reader.pages) > 2
    for number, page in enumerate(reader.pages, 1):
        assert f"Page {number} of {len(reader.pages)}" in page.extract_text()
        assert "Migration of the billing service" in page.extract_text()
    shown = text_of(made)
    assert "Snapshots 2 kept, numbers 3 to 1,204" in shown
    assert "2026-11-20 09:19 UTC #20" in shown
    assert 'State Everything else that was saved with the conversation. {"step": 3}' in shown
    assert len(reader.outline) > 0


def test_render__long_words_stay_on_the_page() -> None:
    long = "x" * 3000
    made = pdf_of(
        {"role": "user", "content": long},
        {
            "role": "assistant",
            "content": f"> - {long}\n\n```json\n{long}\n```\n\n`{long}`\n\n| a |\n|---|\n| {long} |",
        },
        {"role": "user", "content": "م" * 500},
    )
    reader = PdfReader(io.BytesIO(made))
    assert text_of(made).replace(" ", "").count("x" * 50) >= 4
    right = float(reader.pages[0].mediabox.right)
    longest = max(len(line) for line in lines_of(made))
    assert longest < 160, "no line is longer than the page is wide"
    assert all(0 <= x < right for _, x, _ in places_of(made))


def test_render__characters_without_font_are_named() -> None:
    made = pdf_of({"role": "user", "content": f"before {UNKNOWN} after"})
    assert "before [U+C0000] after" in text_of(made)
    assert "One character has no font here" in text_of(made)
    assert boxes_in(made) == []


@pytest.mark.parametrize(
    "odd",
    [
        "\u0301alone", "a" + "\u0301" * 50_000, "x\u05b0", "\u202e\n\u05b8", "\ufe0f" * 50_000,
        "\u202ea" * 500, "\u2066" * 500, "👩\u200d" * 500, "\U0001f1e9" * 999, "\u1100" * 300,
        "क\u094d" * 300, "\x00\ud800\x1b[0m\x07", "\u00ad" * 500, "[" * 9_000, ">" * 3_000 + "deep",
        "\n".join("  " * depth + "- x" for depth in range(99)), "*a **b " * 999,
    ],
    ids=lambda text: ascii(text[:6]) + str(len(text)),
)  # fmt: skip
def test_render__odd_text(odd: str) -> None:
    for role in ("user", "assistant"):
        made = typeset_here(conversation_of({"role": role, "content": odd}, "the end"))
        assert boxes_in(made) == []
        assert "the end" in text_of(made)


@settings(max_examples=10)
@given(
    st.lists(st.tuples(st.sampled_from(["user", "assistant"]), texts), min_size=5, max_size=20),
    st.lists(json_values, max_size=9),
    texts,
)
def test_render__anything(messages: list[tuple[str, str]], values: list[Any], title: str) -> None:
    state = {
        "messages": [*({"role": role, "content": text} for role, text in messages), *values],
        "rest": values,
    }
    made = typeset_here(document_of(state, name=title))
    assert boxes_in(made) == []
    assert f"#{len(messages) + len(values)}" in text_of(made)


@pytest.mark.parametrize(
    "content", ["word " * 2_000_000, "\n".join("x" * 300_000)], ids=["10 MB", "300,000 lines"]
)
def test_render__message_too_large(content: str) -> None:
    document = conversation_of({"role": "user", "content": content})
    started = time.perf_counter()
    with pytest.raises(
        TooLarge, match=r"The PDF would have more than 150 pages\. Export Markdown or JSON instead\."
    ):
        render(document, "pdf")
    assert time.process_time() - started < 5


@pytest.mark.slow
def test_render__more_east_asian_text_than_can_be_typeset_in_time() -> None:
    """Refused before the typesetter is started, whether its lines are short or have no end."""
    for text in ("漢字かな" * 120_000, "漢字\n" * 300_000):
        with pytest.raises(TooLarge, match=r"East Asian characters|more than 150 pages"):
            pdf_of({"role": "user", "content": text})
    pages = pdf.PdfWriter(Reader(conversation_of().head))
    pages.page(conversation_of({"role": "user", "content": "漢" * 10_560}).lines)
    assert 4 <= pages.estimated_pages <= 6, "two columns each"


def test_render__too_many_messages() -> None:
    """Refused on the way: what comes after the page that is too many is not even read."""
    head, lines = conversation_of({"role": "user", "content": "x"})
    places = iter(range(100_000))

    with pytest.raises(TooLarge) as refused:
        export.render(head, (lines[-2] for _ in places), "pdf")
    assert (refused.value.code, refused.value.status) == ("too_large", 413)
    assert next(places) < 20_000


def test_render__page_limit_is_the_callers() -> None:
    document = conversation_of("line\n" * 300)
    with pytest.raises(TooLarge, match="more than 2 pages"):
        render(document, "pdf", page_limit=2)
    assert render(document, "pdf", page_limit=20).startswith(b"%PDF-")


def test_render__takes_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "SECONDS", 0.01)
    with pytest.raises(TooLarge, match="takes too long to typeset"):
        pdf_of("hello")


@pytest.mark.slow
def test_render__takes_no_more_memory_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MEMORY_BYTES", 100_000_000)
    with pytest.raises(TooLarge, match="takes too much memory to typeset"):
        pdf_of(*({"role": "assistant", "content": "*word* " * 600} for _ in range(100)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "ok"}] * 2590,
        [{"role": "assistant", "content": "- **a** `b` [c](https://d.e)\n" * 12}] * 440,
        [{"role": "tool", "content": {"k": ["v", 1.5, None]}}] * 1000,
        ["\n".join([*SAMPLES.values(), *SHAPED.values()])] * 60,
    ],
    ids=["short", "marked up", "values", "every script"],
)
def test_render__largest_that_is_allowed_fits(messages: list[Any]) -> None:
    """Whatever it is made of: close to the limit of pages and within that of memory."""
    document = conversation_of(*messages)
    pages = pdf.PdfWriter(Reader(document.head))
    pages.page(document.lines)
    assert 40 < pages.estimated_pages <= pdf.PAGE_LIMIT
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert render(document, "pdf").startswith(b"%PDF-")
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert after == before or after < 400_000, "kibibytes"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux for the priority")
def test_render__the_process_goes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its priority is the lowest there is, and it has no thread for another processor."""
    seen = set()

    def run(command: list[str], *, input: bytes, env: dict[str, str], **options: Any) -> Any:
        del options
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(input)
            process.stdin.close()
            made = process.stdout.read(5)  # by now all has been set
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            seen.add(int(fields[16]))
            made += process.stdout.read()
        return subprocess.CompletedProcess(command, process.returncode, made, b"")

    monkeypatch.setattr(pdf.subprocess, "run", run)
    assert pdf_of(*["hello"] * 200).startswith(b"%PDF-")
    assert seen == {19}


def test_render__without_the_typesetter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "find_spec", lambda name: None)
    with pytest.raises(AsYouWereError, match="needs the packages typst and markdown-it-py"):
        pdf_of("hello")


def test_render__the_process_gets_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYOUWERE_DATABASE_URL", "postgresql://secret")
    assert "secret" not in str(pdf._harmless_environment())


def test_estimated_pages__is_near_the_truth() -> None:
    answer = "Some words of an answer. " * 40 + "\n\n```\n" + "code()\n" * 10 + "```"
    document = conversation_of(*({"role": "assistant", "content": answer} for _ in range(80)))
    pages = len(PdfReader(io.BytesIO(render(document, "pdf"))).pages)
    writer = pdf.PdfWriter(Reader(document.head))
    writer.page(document.lines)
    assert pages * 0.9 <= writer.estimated_pages <= pages * 1.6


@pytest.mark.slow
def test_render__as_many_messages_as_fit() -> None:
    """In processor time: how long that takes depends on who else is working."""
    code = "```python\n" + "def f(x: int) -> int:\n    return x + 1  # 注释\n" * 5 + "```"
    messages = [
        {
            "role": "assistant",
            "content": f"Answer **{number}**: {'several words, مرحبا 你好 😀, ' * 15}\n\n{code}",
        }
        if number % 2
        else {"role": "user", "content": f"Question {number}? " + "words " * 40}
        for number in range(500)
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    made = pdf_of(*messages)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 20
    assert len(made) < 12_000_000
    last = PdfReader(io.BytesIO(made)).pages[-1].extract_text()
    assert "#500" in last


# The fonts.


def test_index__says_what_the_fonts_have(tmp_path: Path) -> None:
    folder = Path(fonts.__file__).parent / "fonts"
    index = json.loads((folder / "index.json").read_text("utf-8"))
    assert {entry["file"] for entry in index} == {path.name for path in folder.glob("*.xz")}
    families: dict[str, set[frozenset[int]]] = {}
    for entry in index:
        plain = tmp_path / "font.ttf"
        plain.write_bytes(lzma.decompress((folder / entry["file"]).read_bytes()))
        covered = [list(pair) for pair in fonts._coverage(plain)]
        assert _characters(covered) == _characters(entry["ranges"]), entry["file"]
        families.setdefault(entry["family"], set()).add(frozenset(_characters(covered)))
    # Otherwise a letter that only the upright has would be an empty box in bold.
    assert all(len(coverages) == 1 for coverages in families.values())


def _characters(ranges: list[list[int]]) -> set[int]:
    return {code for first, last in ranges for code in range(first, last + 1)} - {0xFFFF}


def test_fonts__of_the_system_fill_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A font in a folder is used for what the shipped ones lack: here Ethiopic, after taking ours away."""
    ours = [font for font in fonts._shipped() if "Ethiopic" not in font.family]
    ethiopic = next(font for font in fonts._shipped() if "Ethiopic" in font.family)
    monkeypatch.setattr(fonts, "_shipped", lambda: ours)
    monkeypatch.setenv("ASYOUWERE_FONTS", str(tmp_path))
    assert Fonts("ሰላም", folders=[]).missing == set("ሰላም")
    (tmp_path / "some font.ttf").write_bytes(lzma.decompress(ethiopic.path.read_bytes()))
    (tmp_path / "broken.ttf").write_bytes(b"not a font")
    (tmp_path / "short.otf").write_bytes(b"\0\1\0\0" + b"\xff" * 40)
    assert Fonts("ሰላም").missing == set()
    made = typeset_here(conversation_of("ሰላም"))
    assert boxes_in(made) == []
    assert "ሰላም" in text_of(made)


def test_fitting__marks_and_breaks() -> None:
    fitting = Fitting(Fonts("x\u05b0é" + UNKNOWN))
    assert fitting.text(f"a{UNKNOWN}b") == "a[U+C0000]b"
    assert fitting.text("x\u05b0 e\u0301") == "x[U+05B0] e\u0301"
    assert fitting.text("\u0301") == "[U+0301]"
    assert fitting.text("a" + "\u0301" * 20) == "a" + "\u0301" * 8 + "[+12]"
    assert fitting.text("x" * 39) == "x" * 39
    assert fitting.text("x" * 40).replace("\u200b", "") == "x" * 40
    assert fitting.text("x" * 40).count("\u200b") == 39
    assert "\u200b" not in fitting.text("漢" * 100)
    assert fitting.node({"k": "code", "t": "\tx" * 9, "lang": "é" * 50})["lang"] == "é" * 50


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abc", False),
        ("123", None),
        ("12 שלום abc", True),
        ("(مرحبا)", True),
        ("x שלום", False),
        ("", None),
        ("你好", False),
    ],
)
def test_is_rtl__by_the_first_letter(text: str, expected: bool | None) -> None:
    assert is_rtl(text) is expected


def test_markup__code_runs_from_the_left_in_lines_from_the_right() -> None:
    assert Markup().blocks("שלום **`f()`**")[0]["c"][1]["c"] == [{"k": "code", "t": "\u2066f()\u2069"}]
    assert Markup().blocks("hello `f()`")[0]["c"][1] == {"k": "code", "t": "f()"}


def test_markup__link_definitions_are_shown() -> None:
    assert Markup().blocks("[r]: http://x\n\n[t][r]") == [
        {"k": "p", "rtl": False, "c": ["[r]: http://x"]},
        {"k": "p", "rtl": False, "c": ["[t][r]"]},
    ]


def test_markup__nothing_is_lost_when_it_gets_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = ">" * 100 + " at the bottom"
    assert Markup().blocks(deep) == plain_blocks(deep)
    crowded = "[" * 6000
    assert Markup().blocks(crowded) == plain_blocks(crowded)
    monkeypatch.setattr("asyouwere.service.export.markup._MOST_NODES", 9_000)
    markup = Markup()
    many = "*a* " * 2_000
    assert any("k" in node and node["c"][0] != many for node in markup.blocks(many))
    assert markup.blocks(many) == plain_blocks(many)
    wide = "|" + "a|" * 20 + "\n|" + "-|" * 20 + "\n|" + "b|" * 20
    assert [node["k"] for node in Markup().blocks(wide)] == ["code"]
