"""Sealed sessions: the vectors that every language runs, and what a server gets to see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from asyouwere.client.encryption import Encryption, Key, associated
from asyouwere.client.errors import ClientError, KeyMissing, Tampered
from asyouwere.client.sealing import SealingTransport
from asyouwere.client.sync import tree_of_text
from asyouwere.state.exact_json import encode, parse
from asyouwere.state.tree import render
from tests.client.conftest import Place
from tests.support.cases import Case, all_cases

pytestmark = pytest.mark.anyio

SESSION = "01900000-0000-7000-8000-000000000001"
ONE, TWO = Key("k1", bytes(range(32))), Key("k2", bytes(range(1, 33)))


class Recording:
    """In place of the cipher: notes what it is given."""

    key = ONE
    allow_plain = False

    def __init__(self) -> None:
        self.sealed: list[list[str]] = []

    def seal(self, kind: str, session: str, place: str, text: str) -> str:
        self.sealed.append([kind, place, text])
        return '"token"'


@all_cases("encryption.json")
async def test_encryption__cases(case: Case) -> None:
    does = case["does"]
    if does == "seal":
        key = Key(case["key_name"], bytes.fromhex(case["key"]))
        kind, session, place = case["kind"], case["session"], case["place"]
        assert associated(kind, session, place, key.id).decode() == case["associated"]
        token = key.seal(kind, session, place, case["text"], nonce=bytes.fromhex(case["nonce"]))
        assert token == case["token"]
        assert Encryption(TWO, key).open(kind, session, place, token) == case["text"]
    elif does == "refuse":
        keys = [Key(name, bytes.fromhex(secret)) for name, secret in case["keys"].items()]
        with pytest.raises(ClientError) as refused:
            Encryption(*keys).open(case["kind"], case["session"], case["place"], case["token"])
        assert refused.value.code == case["code"]
    elif does == "derive":
        key = Key.from_passphrase("k", case["passphrase"], salt=case["salt"], iterations=case["iterations"])
        assert key.id == f"k-{case['check']}"
        assert Key("k", bytes.fromhex(case["key"])).id == key.id
    else:
        recording = Recording()
        transport = SealingTransport(None, recording)
        if does == "walk":
            whole = encode({"set": {"": case["state"]}})
            transport.sealed_changes(SESSION, parse(whole.encode()), tree_of_text(encode(case["state"])))
        else:
            changes = parse(encode(case["changes"]).encode())
            transport.sealed_changes(SESSION, changes, tree_of_text(encode(case["after"])))
        assert sorted(recording.sealed) == sorted(case["sealed"])


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)


async def test_open__sealed_from_end_to_end(place: Place) -> None:
    encryption = Encryption(ONE)
    async with place.open(encryption=encryption) as one, place.open(encryption=encryption) as two:
        one.append({"role": "user", "content": "secret ☕"})
        one.state["memory"] = {"board": {"topic": "secret", "deep": {"x": {}}}, "n": {}}
        await one.save_now(label="first")
        await two.refresh()
        assert two.state == one.state
        two.append("secret too")
        one.append("secret three")
        one.state["memory"]["board"]["topic"] = "secret four"
        await one.save_now()
        await two.save_now()  # merged: what others did comes back sealed
        two.state["messages"][2] += "!"
        async with two.turn() as turn:
            await turn.write("secret answer")
        await one.refresh()
        assert one.state == two.state
        assert one.state["messages"][1:] == [
            "secret three",
            "secret too!",
            {"role": "assistant", "content": "secret answer"},
        ]
        assert "".join([progress.text async for progress in two.follow(turn.id)]) == "secret answer"
        changed = {row["address"]: row["after"] for row in await one.diff(1)}
        assert changed["/memory/board/topic"] == "secret four"
        assert (await one.peek(label="first"))["memory"]["board"]["topic"] == "secret"
        exported = json.loads(await one.export())
        assert not any("secret" in text for text in texts(exported))
        await one.restore(label="first")
        assert one.state["messages"] == [{"role": "user", "content": "secret ☕"}]


async def test_open__lost_key(place: Place) -> None:
    async with place.open(encryption=Encryption(ONE)) as session:
        session.append("secret")
    with pytest.raises(KeyMissing, match="k1-"):
        async with place.open(encryption=Encryption(TWO), journal=False):
            pass
    async with place.open(encryption=Encryption(TWO, ONE)) as session:
        assert session.state == {"messages": ["secret"]}


async def test_open__a_key_that_others_took_since_saves_nothing(home: Place) -> None:
    async with home.open(encryption=Encryption(ONE)) as one, home.open(encryption=Encryption(TWO, ONE)) as two:
        two.append("new key")
        await two.save_now()
        one.append("mine")
        with pytest.raises(KeyMissing):
            await one.save_now()
        assert one.status.error == "wrong_key"
        assert one.status.waiting.changes > 0
        await two.refresh()
        number = two.number
    async with home.open(encryption=Encryption(TWO, ONE)) as again:
        # The words arrived with their key, once; what the server did with them could not be read.
        await again.save_now()
        assert sorted(again.state["messages"]) == ["mine", "new key"]
        assert again.number == number


async def test_reseal__with_todays_key(home: Place) -> None:
    async with home.open(encryption=Encryption(ONE)) as session:
        session.state = {"messages": [f"m{number}" for number in range(450)], "a": {"b": {"c": {}}}, "l": []}
        await session.save_now()
    async with home.open(encryption=Encryption(TWO, ONE)) as session:
        before = session.state.copy()
        assert await session.reseal() == 451
        assert session.state == before
    async with home.open(encryption=Encryption(TWO), journal=False) as session:
        assert session.state == before


async def test_open__plain_in_a_sealed_session(home: Place) -> None:
    async with home.open() as session:
        session.append("plain")
        session.state["step"] = 1
    with pytest.raises(Tampered):
        async with home.open(encryption=Encryption(ONE), journal=False):
            pass
    async with home.open(encryption=Encryption(ONE, allow_plain=True), journal=False) as session:
        assert session.state == {"messages": ["plain"], "step": 1}
        await session.reseal()
    async with home.open(encryption=Encryption(ONE), journal=False) as session:
        assert session.state == {"messages": ["plain"], "step": 1}
        fork = await session.fork()
    with pytest.raises(Tampered):
        async with home.open(session=fork, key=None, encryption=Encryption(ONE)):
            pass
    async with home.open(session=fork, key=None, encryption=Encryption(ONE, origins=[session.id])) as branch:
        assert branch.state == {"messages": ["plain"], "step": 1}


async def test_open__a_value_that_was_copied(home: Place) -> None:
    async with home.open(encryption=Encryption(ONE)) as session:
        session.append("yes")
    async with home.open(journal=False) as enemy:
        enemy.state["messages"].append(enemy.state["messages"][0])
    with pytest.raises(Tampered, match="twice"):
        async with home.open(encryption=Encryption(ONE), journal=False):
            pass


def test_key__says_nothing_of_itself() -> None:
    assert repr(ONE) == f"<Key {ONE.id}>"
    assert "k1-" in repr(Encryption(ONE))
    for name, secret in (("a b", bytes(32)), ("", bytes(32)), ("a", bytes(16))):
        with pytest.raises(ValueError, match="key"):
            Key(name, secret)
    assert render(tree_of_text("{}")) == "{}"
