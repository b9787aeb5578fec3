"""session_messages and the state's list "messages" are one thing."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sql.states import change, save_text, state_of, text_of
from tests.support.database import Db, Row

INSERT = "insert into public.session_messages (session_id, role, content) values (%s, %s, %s) returning *"


@pytest.fixture
def db(shared: Db) -> Db:
    return shared


@pytest.fixture
def session_id(db: Db):
    """A session of ada's; whoever uses it acts as ada."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        yield session_id


def messages(db: Db, session_id: Any) -> list[Row]:
    return db.sql("select * from public.session_messages where session_id = %s order by position", (session_id,))


def test_insert__is_in_the_next_restore(db: Db, session_id) -> None:
    db.save(session_id, {"messages": [{"role": "system", "content": "be kind"}], "step": 1})
    (row,) = db.sql(INSERT, (session_id, "user", "hi"))
    assert (row["session_id"], row["position"], row["role"], row["content"]) == (session_id, 1, "user", "hi")
    assert row["body"] == {"role": "user", "content": "hi"}
    assert state_of(db, session_id) == {
        "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}],
        "step": 1,
    }
    session = db.one("get_session", p_session_id=session_id)
    assert (session["latest_number"], session["message_count"]) == (2, 2)
    # The row that was answered is the row that is there.
    assert messages(db, session_id)[1] == row


def test_insert__with_a_body_of_any_shape(db: Db, session_id) -> None:
    for body in ('{"role":"tool","content":[1,{"a":null}],"id":7}', '"just text"', "null", "[]", '{"content":"\\u0000"}'):
        (row,) = db.sql(
            "insert into public.session_messages (session_id, body) values (%s, %s) returning body::text", (session_id, body)
        )
        assert row["body"] == body
    assert text_of(db, session_id) == (
        '{"messages":[{"role":"tool","content":[1,{"a":null}],"id":7},"just text",null,[],{"content":"\\u0000"}]}'
    )


def test_insert__several_at_once_keep_their_order(db: Db, session_id) -> None:
    rows = db.sql(
        "insert into public.session_messages (session_id, role, content) "
        "select %s, 'user', 'message ' || n from generate_series(0, 9) n returning position, content",
        (session_id,),
    )
    assert [(row["position"], row["content"]) for row in rows] == [(n, f"message {n}") for n in range(10)]


def test_insert__is_saved_as_a_client_would_write_it(db: Db, session_id) -> None:
    db.sql(INSERT, (session_id, "user", 'say "ü"'))
    assert text_of(db, session_id) == '{"messages":[{"role":"user","content":"say \\"ü\\""}]}'
    row = db.save(session_id, {"messages": [{"role": "user", "content": 'say "ü"'}]})
    assert row["created"] is False


@pytest.mark.parametrize(("role", "content"), [("user", None), (None, "hi"), (None, None)])
def test_insert__argument_wrong(db: Db, session_id, role: str | None, content: str | None) -> None:
    with db.refuses("invalid_argument"):
        db.sql(INSERT, (session_id, role, content))
    assert messages(db, session_id) == []


def test_insert__where_messages_is_no_list(db: Db, session_id) -> None:
    db.save(session_id, {"messages": {"0": "a"}})
    with db.refuses("not_a_list"):
        db.sql(INSERT, (session_id, "user", "hi"))


def test_view__a_message_saved_with_a_snapshot_is_in_the_table(db: Db, session_id) -> None:
    state = [
        {"role": "user", "content": "hi", "at": 1},
        {"role": "assistant", "content": [{"type": "text", "text": "hello"}]},
        {"content": None},
        "text",
        7,
    ]
    db.save(session_id, {"messages": state})
    rows = messages(db, session_id)
    assert [row["body"] for row in rows] == state
    assert [row["position"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["role"] for row in rows] == ["user", "assistant", None, None, None]
    assert [row["content"] for row in rows] == ["hi", "hello", None, "text", None]
    assert len({row["id"] for row in rows}) == 5


def test_view__follows_every_change(db: Db, session_id) -> None:
    db.save(session_id, {"messages": ["a", "b", "c"]})
    before = messages(db, session_id)
    change(db, session_id, {"set": {"/messages/1": "B"}})
    change(db, session_id, {"append": {"/messages": ["d"]}})
    after = messages(db, session_id)
    assert [row["body"] for row in after] == ["a", "B", "c", "d"]
    # An edited message is the same message: its id and its time stay.
    assert [(row["id"], row["created_at"]) for row in after[:3]] == [(row["id"], row["created_at"]) for row in before]
    change(db, session_id, {"remove": ["/messages/3", "/messages/2"]})
    assert [row["body"] for row in messages(db, session_id)] == ["a", "B"]
    db.one("revert_session", p_session_id=session_id, p_number=1)
    assert [row["body"] for row in messages(db, session_id)] == ["a", "b", "c"]
    db.save(session_id, {"messages": {"no": "list"}, "other": [1]})
    assert messages(db, session_id) == []


def test_view__what_postgres_cannot_look_into(db: Db, session_id) -> None:
    save_text(db, session_id, r'{"messages":[{"role":"a\u0000","content":"\ud800 \\u0000 \\\u0000"},{"\u0000":1,"role":"b"}]}')
    rows = db.sql(
        "select role, content, body::text from public.session_messages where session_id = %s order by position", (session_id,)
    )
    assert rows == [
        {"role": "a\ufffd", "content": "\ufffd \\u0000 \\\ufffd", "body": r'{"role":"a\u0000","content":"\ud800 \\u0000 \\\u0000"}'},
        {"role": "b", "content": None, "body": r'{"\u0000":1,"role":"b"}'},
    ]


def test_append__positions(db: Db, session_id) -> None:
    assert db.one("append_session_messages", p_session_id=session_id, p_messages=["a", "b"]) == {
        "number": 1,
        "first_position": 0,
        "last_position": 1,
        "message_count": 2,
    }
    assert db.one("append_session_messages", p_session_id=session_id, p_messages=["c"]) == {
        "number": 2,
        "first_position": 2,
        "last_position": 2,
        "message_count": 3,
    }
    assert state_of(db, session_id) == {"messages": ["a", "b", "c"]}


def test_append__none(db: Db, session_id) -> None:
    db.one("append_session_messages", p_session_id=session_id, p_messages=["a"])
    row = db.one("append_session_messages", p_session_id=session_id, p_messages=[])
    assert (row["number"], row["message_count"]) == (1, 1)


def test_append__retry(db: Db, session_id) -> None:
    arguments: Row = {"p_session_id": session_id, "p_messages": ["a", "b"], "p_idempotency_key": "k"}
    first = db.one("append_session_messages", **arguments)
    db.one("append_session_messages", p_session_id=session_id, p_messages=["c"])
    assert db.one("append_session_messages", **arguments) == first
    with db.refuses("idempotency_key_reused"):
        db.one("append_session_messages", **{**arguments, "p_messages": ["a"]})
    assert state_of(db, session_id) == {"messages": ["a", "b", "c"]}


def test_append__any_json(db: Db, session_id) -> None:
    text = '[{"content":"\\u0000\\ud800"},1e23,-0]'
    db.one("append_session_messages", p_session_id=session_id, p_messages=text)
    assert text_of(db, session_id) == f'{{"messages":{text}}}'


@pytest.mark.parametrize("given", [{"role": "user"}, "text", 5, "null", None])
def test_append__argument_wrong(db: Db, session_id, given: Any) -> None:
    with db.refuses("invalid_argument"):
        db.one("append_session_messages", p_session_id=session_id, p_messages='"text"' if given == "text" else given)


def test_append__all_or_none(db: Db, session_id) -> None:
    with db.refuses("number_out_of_range"):
        db.one("append_session_messages", p_session_id=session_id, p_messages="[1,1e309]")
    assert state_of(db, session_id) == {}


def test_list__pages(db: Db, session_id) -> None:
    db.save(session_id, {"messages": list(range(250))})
    found: list[int] = []
    after = -1
    while page := db.call("list_messages", p_session_id=session_id, p_after=after, p_limit=60):
        found += [row["body"] for row in page]
        after = page[-1]["position"]
    assert found == list(range(250))
    assert len(db.call("list_messages", p_session_id=session_id)) == 100
    assert db.call("list_messages", p_session_id=session_id, p_after=249) == []
    assert db.call("list_messages", p_session_id=session_id, p_limit=0) == []
    assert db.call("list_messages", p_session_id=session_id, p_limit=-5) == []
    assert db.one("list_messages", p_session_id=session_id, p_after=100, p_limit=1) == messages(db, session_id)[101]


def test_list__at_most_a_thousand(db: Db, session_id) -> None:
    db.save(session_id, {"messages": [0] * 1001})
    assert len(db.call("list_messages", p_session_id=session_id, p_limit=5000)) == 1000


def test_insert__from_eight_connections_at_once(db: Db, session_id) -> None:
    each = 25
    connections = [db.connect_as("ada") for _ in range(8)]
    answers: list[list[tuple[int, str]]] = [[] for _ in connections]
    together = threading.Barrier(8)
    db.one("append_session_messages", p_session_id=session_id, p_messages=[])  # argument types are read here

    def work(number: int) -> None:
        together.wait()
        for n in range(each):
            content = f"{number}:{n}"
            if number % 2:
                rows = connections[number].execute(INSERT, (session_id, "user", content)).fetchall()
                answers[number].append((rows[0]["position"], content))
            else:
                body = {"role": "user", "content": content}
                row = db.call(
                    "append_session_messages", on=connections[number], p_session_id=session_id, p_messages=[body]
                )[0]
                answers[number].append((row["first_position"], content))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = messages(db, session_id)
    assert [row["position"] for row in rows] == list(range(8 * each))
    # Each was told the very place it is at, and one connection's messages are in its order.
    told = sorted(answer for answered in answers for answer in answered)
    assert told == [(row["position"], row["content"]) for row in rows]
    assert all(answered == sorted(answered) for answered in answers)
    state = json.loads(text_of(db, session_id))
    assert [message["content"] for message in state["messages"]] == [row["content"] for row in rows]
    session = db.one("get_session", p_session_id=session_id)
    # The first number is the empty append above.
    assert (session["latest_number"], session["message_count"]) == (8 * each + 1, 8 * each)


CASES = json.loads((Path(__file__).parents[2] / "spec/cases/messages.json").read_text("utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_session_messages__role_and_content_are_those_of_the_cases(shared: Db, case: dict[str, Any]) -> None:
    body = case["body"] if "body" in case else json.dumps(case["message"])
    session_id = shared.session("ada")
    with shared.acting_as("ada"):
        save_text(shared, session_id, f'{{"messages":[{body}]}}')
        (row,) = messages(shared, session_id)
        assert (row["role"], row["content"]) == (case["role"], case["text"])
        assert shared.one("get_session", p_session_id=session_id)["last_message"] == (
            " ".join(case["text"].split()) if case["text"] else None
        )
        assert shared.one("list_messages", p_session_id=session_id)["content"] == case["text"]


#: Pieces that meet badly: escapes of every kind, whole and halved, among what has a meaning in JSON.
odd_texts = st.lists(
    st.sampled_from(["\\", '"', "\x00", "\ud83d", "\ude00", "\U0001f600", "u0000", "ud83d", "a", "{", "]", ",", ":", "\n", "é"]),
    max_size=12,
).map("".join)
odd_json = st.recursive(
    st.none() | st.booleans() | st.integers() | odd_texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(odd_texts | st.sampled_from(["role", "content"]), inner, max_size=4),
    max_leaves=15,
)


@settings(deadline=None)  # of 200 ms, which a busy machine may take for any call
@given(odd_json, st.booleans(), st.integers(1, 200))
def test_json_head__any_beginning_of_any_json_can_be_looked_into(
    shared: Db, value: Any, spaced: bool, characters: int
) -> None:
    """As escapes, since Postgres takes no half of a character itself."""
    body = json.dumps(value, indent=1 if spaced else None, separators=None if spaced else (",", ":"))
    (row,) = shared.superuser.execute(
        "select asyouwere.json_head(%s, %s)::text as head, asyouwere.readable_json(%s)::text as whole, "
        "asyouwere.json_head(%s, %s) #>> '{}' as inside, asyouwere.readable_json(%s) #>> '{}' as whole_inside, "
        "asyouwere.message_text(asyouwere.json_head(%s, %s)) as said, asyouwere.message_preview(%s) as preview",
        (body, characters, body, body, characters, body, body, characters, body),
    ).fetchall()
    assert json.loads(row["whole"]) == readable(value)
    if len(body) <= characters:
        assert row["head"] == row["whole"]
    # Postgres itself looks everywhere: every string of it is taken out of its escapes.
    shared.superuser.execute("select json_strip_nulls(asyouwere.json_head(%s, %s))", (body, characters))


def readable(value: Any) -> Any:
    """The value with U+FFFD for what Postgres can't hold. A pair is one character in JSON text."""
    if isinstance(value, str):
        whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return "".join("\ufffd" if character == "\0" else character for character in whole)
    if isinstance(value, list):
        return [readable(inner) for inner in value]
    return {readable(key): readable(inner) for key, inner in value.items()} if isinstance(value, dict) else value


ODD_BODIES = [
    '{"role":"user","content":"\\\\ud83d\\ude00"}',
    '{"role":"\\u0000","content":"\\ud83d"}',
    '{"content":"' + "\\\\\\\\a\\u0000" * 2000 + '"}',
    '{"n":1e308,"content":[' + ",".join(['{"type":"text","text":"x"}'] * 2000) + "]}",
    '{"content":' + "[" * 60 + "]" * 60 + "}",
    '"\\ude00\\ud83d"',
]


@pytest.mark.parametrize("body", ODD_BODIES, ids=range(len(ODD_BODIES)))
def test_lists__whatever_is_stored_in_one_session_they_are_answered(shared: Db, body: str) -> None:
    """Members see their own list, with previews, messages and embeds, next to whatever somebody else has saved."""
    session_id = shared.session("ada", visibility="public")
    with shared.acting_as("ada"):
        save_text(shared, session_id, f'{{"messages":[{body}]}}')
    for who in ("bob", None):
        with shared.acting_as(who):
            shared.one("get_session", p_session_id=session_id)
            (row,) = shared.sql("select role, content, body::text from session_messages where session_id = %s", (session_id,))
            assert row["body"] == body
            if who:  # anonymous readers see some columns of a session only, so they can't embed what is under it
                assert shared.sql(
                    "select m.role, m.content from free_agent_sessions s, session_messages(s) m where s.id = %s",
                    (session_id,),
                )
            assert shared.call("list_messages", p_session_id=session_id)


def test_last_message__follows_the_last_message(db: Db, session_id) -> None:
    """Saved, changed, removed, reverted, copied, taken along: the preview is that of the last message."""

    def last(session: Any = session_id) -> Any:
        return db.one("get_session", p_session_id=session)["last_message"]

    db.save(session_id, {"messages": [{"content": "one"}], "step": 1})
    assert last() == "one"
    change(db, session_id, {"append": {"/messages": [{"content": "two"}]}})
    assert last() == "two"
    change(db, session_id, {"set": {"/step": 2}})
    assert last() == "two"
    change(db, session_id, {"set": {"/messages/1": {"content": "changed"}}})
    assert last() == "changed"
    change(db, session_id, {"remove": ["/messages/1"]})
    assert last() == "one"
    assert last(db.one("fork_session", p_session_id=session_id, p_number=2)["id"]) == "two"
    db.one("revert_session", p_session_id=session_id, p_number=2)
    assert last() == "two"
    change(db, session_id, {"set": {"/messages": [{"content": "new list"}]}})
    assert last() == "new list"
    change(db, session_id, {"remove": ["/messages"]})
    assert last() is None


def test_list__a_page_is_full_with_4_mb(db: Db) -> None:
    """Of whichever end; the message that fills it is still in it, and one alone may be larger."""
    session_id = db.session("ada")
    with db.acting_as("ada"):
        db.save(session_id, {"messages": [f"{n}" + "x" * 1_500_000 for n in range(6)] + ["y" * 5_000_000, "z"]})

        def positions(**which: int) -> list[int]:
            return [row["position"] for row in db.call("list_messages", p_session_id=session_id, **which)]

        assert positions() == [0, 1, 2]
        assert positions(p_after=2) == [3, 4, 5]
        assert positions(p_after=5) == [6]
        assert positions(p_after=6) == [7]
        assert positions(p_last=100) == [6, 7]
        assert positions(p_last=100, p_before=6) == [3, 4, 5]
