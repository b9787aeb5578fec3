from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyouwere.errors import Invalid
from asyouwere.state import exact_json
from asyouwere.state.exact_json import check_nesting, encode, items, members, parse
from tests.support import reference_json
from tests.support.documents import json_texts


def refusal(raw: bytes | str, **limits: int) -> str:
    with pytest.raises(Invalid) as refused:
        parse(raw.encode() if isinstance(raw, str) else raw, **limits)
    assert "SECRET" not in str(refused.value)
    assert refused.value.data is None
    return refused.value.code


@given(json_texts)
@example(r'["\ud83d\ude00\ud83d\ud83d\ude00\ude00", "\\u0000", "\\\u0000", "\/\u002F", "\u005C\u0022"]')
@example('{"a" : 1 , "a":\t[ ], "\\"": "\\\\" }')
def test_parse__every_spelling_becomes_the_canonical_one(text: str) -> None:
    assert parse(text.encode()) == reference_json.canonical(text)


@given(json_texts)
def test_parse__canonical_text_stays_as_it_is(text: str) -> None:
    once = parse(text.encode())
    assert parse(once.encode()) == once


@given(json_texts)
def test_parse__means_the_same_to_another_reader(text: str) -> None:
    assert json.loads(parse(text.encode())) == json.loads(text)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("-0", "-0"),
        ("1.0", "1.0"),
        ("1E+2", "1E+2"),
        ("1" * 40, "1" * 40),
        (r'"\u0000"', r'"\u0000"'),
        (r'"\\u0000"', r'"\\u0000"'),
        (r'"\uD800"', r'"\ud800"'),
        (r'"\uDC00\uD800"', r'"\udc00\ud800"'),
        (r'"\uD83D\uDE00"', '"😀"'),
        (r'"\ud83d😀"', r'"\ud83d😀"'),
        (r'"\u00e9\u007f\u2028"', '"é\x7f\u2028"'),
        (r'"\u0008\u0009\u000a\u000B\u000c\u000d\u001F"', r'"\b\t\n\u000b\f\r\u001f"'),
        (r'"\u0022\u005c\u002f\/"', r'"\"\\//"'),
        (r'"a\/b"', '"a/b"'),
        (' [ 1 , "a b" ]\r\n', '[1,"a b"]'),
        (r'[ "a \" b", "c \\", " d " ]', r'["a \" b","c \\"," d "]'),
        ('{"b":1,"a":2,"b":3}', '{"b":1,"a":2,"b":3}'),
        ('{"":{"":[]}}', '{"":{"":[]}}'),
        ('"[{"', '"[{"'),
    ],
)
def test_parse__keeps(sent: str, kept: str) -> None:
    assert parse(sent.encode()) == kept


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "  ",
        "SECRET",
        "{'SECRET':1}",
        '{"SECRET":1,}',
        "[1,]",
        "[,1]",
        "[1 2]",
        "1 2",
        "tr ue",
        "nul",
        "01",
        "-01",
        "+1",
        ".5",
        "1.",
        "1e",
        "- 1",
        "0x10",
        "1_000",
        "[1]]",
        "[[1]",
        "[}",
        '{"a"}',
        '{"a":}',
        "{1:2}",
        '"SECRET',
        '"tab\there"',
        '"line\nhere"',
        '"nul\x00here"',
        r'"\x41"',
        r'"\u12g4"',
        r'"\u123"',
        r"\u005b]",
        r"[\/]",
        r"\"a\"",
        '\\\\"a"',
        "\ufeff{}",
        "\xa01",
        "1\f",
        "NaN",
        "[Infinity]",
        '{"SECRET":-Infinity}',
        "/* SECRET */ 1",
        "١",
    ],
)
def test_parse__refuses_what_is_not_json(sent: str) -> None:
    assert refusal(sent) == "invalid_json"


@pytest.mark.parametrize(
    "sent",
    [b'"\xff"', b'"\xc3"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', '"a"'.encode("utf-16")],
)
def test_parse__refuses_what_is_not_utf8(sent: bytes) -> None:
    assert refusal(sent) == "invalid_json"


@given(json_texts, st.data())
def test_parse__takes_and_refuses_what_a_strict_reader_does(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    gone = data.draw(st.integers(0, 2))
    put = data.draw(st.text(st.sampled_from('[]{},:"\\ue1-.0 \nt/'), max_size=2))
    broken = text[:at] + put + text[at + gone :]
    numbers: list[str] = []
    try:
        json.loads(
            broken, parse_constant=lambda _: 1 / 0, parse_int=numbers.append, parse_float=numbers.append
        )
    except (ValueError, ZeroDivisionError):
        assert refusal(broken) in ("invalid_json", "number_out_of_range")
    else:
        if any(float(number) in (float("inf"), -float("inf")) for number in numbers):
            assert refusal(broken) == "number_out_of_range"
        else:
            assert parse(broken.encode()) == reference_json.canonical(broken)


@pytest.mark.parametrize(
    "number",
    [
        "1.7976931348623157e308",
        "-1.7976931348623157e308",
        "4.9e-324",
        "1e-400",
        "0e400",
        "1e0000000000000000005",
        "9" * 308,
        "-" + "9" * 308,
        "0." + "1" * 398,
        "1e+308",
        "123456789012345678901234567890.5e-20",
    ],
)
def test_parse__keeps_numbers_in_range(number: str) -> None:
    assert parse(f'{{"n":[{number}]}}'.encode()) == f'{{"n":[{number}]}}'


@pytest.mark.parametrize(
    "number",
    [
        "1e309",
        "-1e309",
        "1.8e308",
        "1E400",
        "1e401",
        "1e-401",
        "0e401",
        "1e-999999999",
        "1e131071",
        "9" * 309,
        "0." + "1" * 399,
        "1" * 401,
        "-" + "1" * 5000,
        "1e" + "0" * 400 + "1",
        "0" + "." + "0" * 5000 + "1",
        "1" * 300 + "e200",
    ],
)
def test_parse__refuses_numbers_out_of_range(number: str) -> None:
    assert refusal(number) == "number_out_of_range"
    assert refusal(f'{{"SECRET":[true,false,{number}]}}') == "number_out_of_range"


def test_parse__digits_in_strings_are_no_numbers() -> None:
    text = f'{{"1e999":"1e999","digits":"{"1" * 5000}"}}'
    assert parse(text.encode()) == text


@pytest.mark.parametrize(
    ("opening", "closing", "each"), [("[", "]", 1), ('{"a":', "}", 1), ('[{"a":', "}]", 2)]
)
def test_parse__nesting_up_to_the_limit(opening: str, closing: str, each: int) -> None:
    def nested(levels: int) -> str:
        pairs, single = divmod(levels, each)
        return "[" * single + opening * pairs + "1" + closing * pairs + "]" * single

    # Alone, and beside many that are flat, so that counting brackets is not enough.
    for kept in (nested(64), f'[{"[]," * 100}{nested(63)},{"{}," * 100}"{"[" * 100}"]'):
        assert parse(kept.encode()) == kept
        assert refusal(f"[{kept}]") == "nesting_too_deep"


def test_parse__limit_may_be_another() -> None:
    assert parse(b"[[1]]", max_depth=2) == "[[1]]"
    assert refusal(b"[[[[[1]]]]]", max_depth=2) == "nesting_too_deep"
    assert refusal("[" + "[]," * 100 + "[[]]]", max_depth=2) == "nesting_too_deep"


def test_parse__brackets_in_strings_do_not_nest() -> None:
    text = json.dumps(["[" * 1000, '\\"' + "{" * 1000, "\\" * 7 + "[" * 100, {"[" * 100: 1}])
    assert parse(text.encode()) == text.replace(", ", ",").replace(": ", ":")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"[" * 100_000, "nesting_too_deep"),
        (b"[" * 100_000 + b"]" * 100_000, "nesting_too_deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nesting_too_deep"),
        (b"[]" * 1_000_000, "invalid_json"),
        (b"1" * 2_000_000, "number_out_of_range"),
        (b"[" + b"1" * 2_000_000 + b"]", "number_out_of_range"),
        (b'["' + b"\\" * 2_000_000, "invalid_json"),
        (b"[" + b" " * 2_000_000, "invalid_json"),
        (b"0." + b"0" * 2_000_000, "number_out_of_range"),
    ],
)
def test_parse__hostile_bodies_are_refused_quickly(raw: bytes, code: str) -> None:
    started = time.process_time()
    assert refusal(raw) == code
    assert time.process_time() - started < 5


def test_parse__many_keys_take_linear_time() -> None:
    def seconds(count: int) -> float:
        raw = b"{" + b",".join(b'"k%d":%d' % (number, number) for number in range(count)) + b"}"
        started = time.process_time()
        assert len(members(parse(raw))) == count
        return time.process_time() - started

    assert seconds(200_000) < 40 * max(seconds(20_000), 0.01)


@given(json_texts)
def test_parse__strings_may_lie_across_chunks(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_json, "_CHUNK", 3)
        assert parse(text.encode()) == reference_json.canonical(text)


@given(st.dictionaries(st.text(max_size=3), json_texts, max_size=3))
def test_members__values_as_they_were(values: dict[str, str]) -> None:
    text = parse(("{" + ",".join(f"{encode(key)}:{value}" for key, value in values.items()) + "}").encode())
    assert members(text) == {
        encode(key)[1:-1]: reference_json.canonical(value) for key, value in values.items()
    }


@given(st.lists(json_texts, max_size=3))
def test_items__values_as_they_were(values: list[str]) -> None:
    assert items(parse(f"[{','.join(values)}]".encode())) == list(map(reference_json.canonical, values))


def test_items__numbers_first() -> None:
    assert items('[1,"a,b]",[2,3],{"c":4}]') == ["1", '"a,b]"', "[2,3]", '{"c":4}']
    assert items('[1,"a,b]"]') == ["1", '"a,b]"']
    assert items("[null,-1.5e+3,true]") == ["null", "-1.5e+3", "true"]


def test_members__last_of_a_key_counts() -> None:
    assert members('{"a":1,"b":2,"a":[3]}') == {"a": "[3]", "b": "2"}


@pytest.mark.parametrize("text", ["[]", "1", '"{}"', "null"])
def test_members__of_another_kind(text: str) -> None:
    with pytest.raises(ValueError, match="object"):
        members(text)


@pytest.mark.parametrize("text", ["{}", "1", '"[]"', "null"])
def test_items__of_another_kind(text: str) -> None:
    with pytest.raises(ValueError, match="list"):
        items(text)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters() | st.sampled_from("\ud83d\ude00\x00\"\\")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


@given(_values)
def test_encode__is_canonical_and_means_the_value(value: object) -> None:
    text = encode(value)
    assert parse(text.encode()) == text == reference_json.canonical(text)
    # Python alone can tell two surrogates side by side from the character.
    assert json.loads(text) == json.loads(json.dumps(value))


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": -float("inf")}])
def test_encode__refuses_what_is_no_json_number(value: object) -> None:
    with pytest.raises(Invalid) as refused:
        encode(value)
    assert refused.value.code == "number_out_of_range"


def test_encode__refuses_endless_nesting() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(Invalid) as refused:
        encode(value)
    assert refused.value.code == "nesting_too_deep"


def test_check_nesting() -> None:
    check_nesting("[[1],[2],[3]]", 2)
    check_nesting('"[[[["', 0)
    check_nesting("1", 0)
    for text, limit in [("[[1],[2],[[3]]]", 2), ("{}", 0), ("[" * 9 + "]" * 9, 8)]:
        with pytest.raises(Invalid) as refused:
            check_nesting(text, limit)
        assert refused.value.code == "nesting_too_deep"
