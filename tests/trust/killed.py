"""Killed: a Python client gets SIGKILL at random moments, while it edits and streams; the next one finishes.

Each life is a process of its own that opens the session, takes over what the one before has left, and writes: what it
has handed over it says on its standard output, after the call has returned. In the end the server has all of it, once.
The functions and Postgres are killed as well.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asyouwere
from tests.functions.api import token_for
from tests.trust.place import Place
from tests.trust.report import Outcome, Say

ROOT = Path(__file__).parents[2]
SHORT_KILLS, LONG_KILLS = 8, 200
LIMIT_SECONDS = 60.0

LIFE = """
import asyncio, json, os, random, sys
import asyouwere

options, life, seed = json.loads(sys.argv[1])
chance = random.Random(seed)

def say(kind, value):
    os.write(1, (json.dumps([kind, value]) + "\\n").encode())

async def main():
    async with asyouwere.open(**options) as session:
        say("open", sorted(session.state.get("edits", {})))
        number = 0
        while True:
            number += 1
            name = f"{life}-{number}"
            what = chance.random()
            if what < 0.5:
                session.append(name, to="/log")
                say("log", name)
            elif what < 0.7:
                session.update(lambda state: state.setdefault("edits", {}).__setitem__(name, number))
                say("edit", name)
            elif what < 0.8:
                try:
                    await session.save_now()
                except asyouwere.AsYouWereError:
                    pass
            elif what < 0.9:
                try:
                    say("turn", name)
                    async with session.turn(message={"role": "assistant", "name": name}) as turn:
                        for piece in range(chance.randint(1, 30)):
                            await turn.write(f"{piece} ")
                            await asyncio.sleep(0.01)
                    say("said", name)
                except asyouwere.AsYouWereError:
                    pass
            await asyncio.sleep(chance.random() * 0.02)

asyncio.run(main())
"""


def run(outcome: Outcome, folder: Path, long: bool, say: Say) -> None:
    """Kill, and let the next one take over, so many times."""
    kills = LONG_KILLS if long else SHORT_KILLS
    outcome.short = ("kills of clients", "kills of Postgres", "edits", "turns", "lost", "doubled")
    outcome.figures.update(dict.fromkeys(("lost", "doubled"), 0))
    chance = random.Random("killed")
    with Place(folder) as place:
        outcome.facts.update(place.facts())
        options = {
            "url": place.functions.url,
            "token": token_for(place.user, exp=int(time.time()) + 86_400),
            "key": "killed",
            "journal": str(folder / "journal"),
            "debounce": 0.05,
            "max_wait": 0.2,
            "poll": 1.0,
        }
        told: list[tuple[str, Any]] = []
        for life in range(kills):
            told += _life(outcome, place, options, life, chance)
            outcome.count("kills of clients")
            say(f"{life + 1} of {kills} kills")
        _check(outcome, options, told)


def _life(
    outcome: Outcome, place: Place, options: dict[str, Any], life: int, chance: random.Random
) -> list[tuple[str, Any]]:
    process = subprocess.Popen(
        [sys.executable, "-c", LIFE, json.dumps([options, life, chance.random()])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "functions")},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    first = process.stdout.readline()
    if not first:
        raise AssertionError(process.stderr.read().decode()[-2_000:])
    time.sleep(chance.uniform(0.02, 1.5))
    with_server = chance.random()
    if with_server < 0.15:
        outcome.count("kills of Postgres")
        place.postgres.kill()
        time.sleep(chance.uniform(0.0, 0.5))
    elif with_server < 0.3:
        outcome.count("kills of the functions")
        place.functions.kill()
        time.sleep(chance.uniform(0.0, 0.5))
    process.kill()
    rest, _ = process.communicate(timeout=30)
    if with_server < 0.15:
        place.restart_postgres()
    elif with_server < 0.3:
        place.functions.start()
    lines = (first + rest).decode().splitlines()
    return [(kind, value) for kind, value in map(json.loads, lines) if kind != "open"]


def _check(outcome: Outcome, options: dict[str, Any], told: list[tuple[str, Any]]) -> None:
    """The last one takes over what is left, and the server has everything."""
    end = time.monotonic() + LIMIT_SECONDS
    wanted = {kind: [name for what, name in told if what == kind] for kind in ("log", "edit", "turn", "said")}
    with asyouwere.open(**options) as session:
        while True:
            session.save_now()
            session.refresh()
            state = session.peek()
            missing = set(wanted["log"]) - set(state.get("log", ()))
            missing |= set(wanted["edit"]) - set(state.get("edits", {}))
            if not missing or time.monotonic() > end:
                break
            time.sleep(0.2)
    messages = [message["name"] for message in state.get("messages", ())]
    outcome.count("edits", len(wanted["log"]) + len(wanted["edit"]))
    outcome.count("turns", len(wanted["turn"]))
    missing |= set(wanted["said"]) - set(messages)
    doubled = [name for name in state.get("log", ()) if state["log"].count(name) > 1]
    doubled += [name for name in messages if messages.count(name) > 1]
    for name, found in (("lost", sorted(missing)), ("doubled", doubled)):
        if found:
            outcome.count(name, len(found))
            outcome.failures.append(f"{name}: {found[:20]}")
    for message in state.get("messages", ()):
        pieces = message["content"].split()
        if pieces != [str(number) for number in range(len(pieces))]:
            outcome.failures.append(f"an answer with a hole: {message}")
