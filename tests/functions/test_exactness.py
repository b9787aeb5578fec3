"""What is sent comes back equal, character by character; what can't be is refused and nothing is written."""

from __future__ import annotations

import json

import pytest

from tests.functions.api import Person, refused

EXACT = {
    "integers": '{"forty":1234567890123456789012345678901234567890,"minus_zero":-0,"max":9007199254740993}',
    "floats": '{"a":1.0,"b":-0.0,"c":1e5,"d":1E+5,"e":0.1e-7,"f":1.7976931348623157e308,"g":5e-324,"h":100}',
    "key_order": '{"z":1,"a":{"z":1,"m":{"z":2,"a":1}},"b":[]}',
    "empties": '{"":{"":{"":{"":{}}}},"list":[[],{}],"null":null,"object":{},"text":""}',
    "pointer_keys": '{"a/b":1,"c~d":2,"e.f":3,"0":{"1":{"01":4}},"-":5,"~1":6,"/":7," ":8}',
    "nul": r'{"nul":"\u0000","\u0000":{"\u0000":["\u0000",{"\u0000":1}]}}',
    "six_characters": r'{"literal":"\\u0000","\\u0000":"\\\\u0000","mixed":"\\\u0000"}',
    "surrogates": r'{"\ud800":{"high":"\ud800","low":"\udfff","swapped":"\udc00\ud83d"},"\udfff":[1]}',
    "controls": r'{"\u0001":"\u001f\b\f\n\r\t\"\\","x":"/"}',
    "unicode": '{"عربى":"שלום","日本":["語",{"🙂":"👩\u200d👩\u200d👧"}],"é":"e\u0301"}',
    "invisible": '{"x":"\u2028\u2029\ufeff\x7f","\u202e":"\ue000\uffff"}',
    "duplicates_inside_parts": '{"messages":[{"a":1,"a":2}],"m":{"b":{"c":{"k":1,"k":1}}}}',
    "lists": '{"l":[[1,[2,[3]]],{"a":[1]},null,true,false,"",0],"m":{"l":[{"x":1},2],"n":{"l":[1]}}}',
    "pointers_as_text": '{"$ref":"#/a","__proto__":{"constructor":1},"hasOwnProperty":[]}',
}


@pytest.mark.parametrize("state", EXACT.values(), ids=EXACT.keys())
def test_restore__gives_back_every_character(ada: Person, state: str) -> None:
    session_id = ada.session()
    assert ada.save_text(session_id, state).status_code == 200
    # Members come back in the order of their addresses; inside a part everything is as it was sent.
    assert json.loads(
        ada.state_text(session_id), object_pairs_hook=sorted_pairs, parse_float=str, parse_int=str
    ) == (json.loads(state, object_pairs_hook=sorted_pairs, parse_float=str, parse_int=str))
    again = ada.save_text(session_id, ada.state_text(session_id)).json()
    assert (again["number"], again["created"]) == (1, False)


def sorted_pairs(pairs):
    """Members as a sorted list, so that duplicates stay and order does not matter."""
    return ["object", *sorted(pairs, key=repr)]


@pytest.mark.parametrize(
    "body",
    [
        '{"role":"user","a":1.0,"b":1e2,"z":{"y":1,"x":[1,  2]},"content":"\\u00e9 \\ud83d\\ude42 \\/"}',
        r'{"zwei":2,"eins":1,"eins":"\u0000","halb":"\udc00"}',
        "12345678901234567890.12345678901234567890",
    ],
)
def test_messages__keep_their_spelling(ada: Person, body: str) -> None:
    session_id = ada.session()
    for number, save in enumerate(
        (f'{{"append":{{"/messages":[{body}]}}}}', f'{{"set":{{"/messages/1":{body}}}}}')
    ):
        answer = ada.post("session-snapshot-save", f'{{"session_id":"{session_id}","changes":{save}}}')
        assert answer.json()["number"] == number + 1, answer.text
    assert ada.post("sessions", f'{{"messages":[{body}]}}', f"/{session_id}/messages").status_code == 201
    # Whitespace goes, and escapes that need not be there; all else stays.
    kept = (
        body.replace("[1,  2]", "[1,2]")
        .replace("\\u00e9", "é")
        .replace("\\ud83d\\ude42", "🙂")
        .replace("\\/", "/")
    )
    assert ada.state_text(session_id) == f'{{"messages":[{kept},{kept},{kept}]}}'
    listed = ada.request("GET", "sessions", f"/{session_id}/messages").text
    assert listed.count(f'"body":{kept}}}') == 3


def test_null_is_not_absent(ada: Person) -> None:
    session_id = ada.session()
    ada.saved(session_id, state={"a": None, "b": {"c": None}})
    assert ada.state_text(session_id) == '{"a":null,"b":{"c":null}}'
    ada.saved(session_id, changes={"remove": ["/a"]})
    assert ada.state_text(session_id) == '{"b":{"c":null}}'


DEEP = "[" * 63 + "]" * 63
TOO_DEEP = "[" * 64 + "]" * 64

REFUSED = {
    "nan": ('{"a":NaN}', "invalid_json"),
    "infinity": ('{"a":[-Infinity]}', "invalid_json"),
    "over_a_double": ('{"a":1e309}', "number_out_of_range"),
    "absurd_exponent": ('{"a":{"b":[{"c":1e131071}]}}', "number_out_of_range"),
    "too_many_digits": ('{"a":' + "9" * 400 + "}", "number_out_of_range"),
    "nesting_65": (f'{{"a":{TOO_DEEP}}}', "nesting_too_deep"),
    "nesting_100000": ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "nesting_too_deep"),
    "root_list": ("[1]", "invalid_state"),
    "root_number": ("1", "invalid_state"),
    "root_text": ('"{}"', "invalid_state"),
    "cut": ('{"a":', "invalid_json"),
    "trailing_comma": ('{"a":1,}', "invalid_json"),
    "raw_control": ('{"a":"\n"}', "invalid_json"),
    "leading_zero": ('{"a":01}', "invalid_json"),
    "long_key": ('{"' + "k" * 2001 + '":1}', "address_too_long"),
}


@pytest.mark.parametrize(("state", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_save__refuses_what_cannot_be_kept(ada: Person, state: str, code: str) -> None:
    session_id = ada.session()
    ada.saved(session_id, state={"before": True})
    refused(ada.save_text(session_id, state), code)
    in_changes = ada.post(
        "session-snapshot-save",
        f'{{"session_id":"{session_id}","changes":{{"set":{{"/x":1,"/y":{state}}}}}}}',
    )
    if code not in ("invalid_state", "address_too_long"):
        refused(in_changes, code)
        assert ada.restore(session_id).json()["latest_number"] == 1
        assert ada.state(session_id) == {"before": True}


def test_save__deepest_nesting_comes_back(ada: Person) -> None:
    session_id = ada.session()
    assert ada.save_text(session_id, f'{{"a":{DEEP}}}').status_code == 200
    assert ada.state_text(session_id) == f'{{"a":{DEEP}}}'


def test_save__not_utf8_is_refused(ada: Person) -> None:
    session_id = ada.session()
    body = b'{"session_id":"' + session_id.encode() + b'","state":{"a":"\xff"}}'
    refused(ada.post("session-snapshot-save", body), "invalid_json")
    refused(ada.post("session-snapshot-save", b"\xef\xbb\xbf{}"), "invalid_json")
    refused(ada.post("session-snapshot-save", b""), "invalid_json")
    refused(ada.post("session-snapshot-save", b"[]"), "invalid_request")


@pytest.mark.parametrize("text", [r'"\u0000"', r'"\ud800"'])
def test_texts_of_the_database__hold_neither_nul_nor_half_characters(ada: Person, text: str) -> None:
    session_id = ada.session()
    save = f'{{"session_id":"{session_id}","state":{{}},%s}}'
    refused(ada.post("session-snapshot-save", save % f'"label":{text}'), "invalid_request")
    refused(ada.post("session-snapshot-save", save % f'"idempotency_key":{text}'), "invalid_request")
    refused(ada.post("sessions", f'{{"name":{text}}}'), "invalid_request")
    refused(ada.post("sessions", f'{{"metadata":{{"a":{text}}}}}'), "not_representable")
    refused(ada.post("sessions", f"{{{text}:1}}"), "invalid_request")


def test_metadata__is_held_to_the_rules_of_parts(ada: Person) -> None:
    session_id = ada.session()
    deep = '{"b":' * 65 + "1" + "}" * 65
    for text, code in (
        (deep, "nesting_too_deep"),
        ('{"a":' + "[" * 7_000 + "]" * 7_000 + "}", "nesting_too_deep"),
        ('{"a":[1e-500]}', "number_out_of_range"),
        ('{"a":[' + ",".join(["1e300"] * 300) + "]}", "invalid_argument"),
    ):
        body = f'{{"metadata":{text}}}'
        refused(ada.post("sessions", body), code)
        json_type = {"Content-Type": "application/json"}
        refused(ada.request("PATCH", "sessions", f"/{session_id}", content=body, headers=json_type), code)


def test_metadata__keeps_its_digits(ada: Person) -> None:
    text = '{"big":1234567890123456789012345678901234567890,"exact":1.10}'
    answer = ada.post("sessions", f'{{"metadata":{text}}}')
    assert '"metadata":{"big": 1234567890123456789012345678901234567890, "exact": 1.10}' in answer.text
