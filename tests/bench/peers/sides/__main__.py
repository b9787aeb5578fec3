"""One side's loop: reads a request a line, does it, times it, answers in a line.

Requests: {"do": "open", "dsn": …, "options": {…}}, {"do": "fill", "session": …, "turns": […]}, {"do": "save",
"session": …, "turn": …}, {"do": "restore" or "poll", "session": …}, {"do": "restore_old", "session": …, "back": n},
{"do": "crowd", "sessions": […], "turns": […], "seconds": s}. A turn is [user, assistant, step], the messages as JSON text.
Answers: {"ms": what the store took, "all_ms": with all around it, …} or {"error": text}; "able": false where a
store has no such thing.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable
from importlib.metadata import version
from typing import Any, TextIO

from tests.bench.peers.sides.base import Side, Turn, make


def main() -> None:
    """Answer until stdin ends. Whatever a library prints goes to stderr: stdout belongs to the protocol."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    asyncio.run(_serve(sys.argv[1], answers))


async def _serve(name: str, answers: TextIO) -> None:
    side = make(name)
    gc.disable()
    for line in sys.stdin:
        request = json.loads(line)
        gc.collect()
        try:
            answer = await _answer(side, request)
        except Exception as exc:  # noqa: BLE001  # the bench says what failed, and where
            answer = {"error": f"{name}, {request['do']}: {type(exc).__name__}: {exc}"[:1000]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    await side.close()


async def _answer(side: Side, request: dict[str, Any]) -> dict[str, Any]:
    match request["do"]:
        case "open":
            await side.open(request["dsn"], **request.get("options", {}))
            gc.freeze()  # a library's own objects would make every collection between two calls a long one
            return {"versions": {package: version(package) for package in side.packages}}
        case "fill":
            await side.fill(request["session"], [_turn(given) for given in request["turns"]])
            return {}
        case "save":
            turn = _turn(request["turn"])
            return (await _timed(side, side.save(request["session"], turn)))[0]
        case "restore":
            answer, restored = await _timed(side, side.restore(request["session"]))
            return answer | _seen(side, restored)
        case "restore_old":
            answer, restored = await _timed(side, side.restore_old(request["session"], request["back"]))
            return {"able": False} if restored is None else answer | _seen(side, restored)
        case "poll":
            answer, able = await _timed(side, side.poll(request["session"]))
            return answer | {"able": able}
        case "crowd":
            return await _crowd(side, request)
    raise ValueError(f"no such request: {request['do']}")


async def _timed(side: Side, work: Awaitable[Any]) -> tuple[dict[str, Any], Any]:
    begin = time.perf_counter_ns()
    result = await work
    elapsed = (time.perf_counter_ns() - begin) / 1e6
    return {"ms": side.took(elapsed), "all_ms": elapsed}, result


def _seen(side: Side, restored: object) -> dict[str, Any]:
    """What the bench compares with what was saved."""
    contents = side.contents(restored)
    return {"messages": len(contents), "last": contents[-1]}


async def _crowd(side: Side, request: dict[str, Any]) -> dict[str, Any]:
    """Every client saves into its session as fast as it can, all in this process."""
    turns = [_turn(given) for given in request["turns"]]
    times: list[float] = []

    async def client(session: str) -> None:
        lap = 0
        while (begin := time.perf_counter()) < over:
            await side.save(session, turns[lap % len(turns)])
            times.append((time.perf_counter() - begin) * 1000)
            lap += 1

    begin = time.perf_counter()
    over = begin + request["seconds"]
    await asyncio.gather(*(client(session) for session in request["sessions"]))
    return {"seconds": time.perf_counter() - begin, "times": times}


def _turn(given: list[Any]) -> Turn:
    return Turn(json.loads(given[0]), json.loads(given[1]), given[2])


if __name__ == "__main__":
    main()
