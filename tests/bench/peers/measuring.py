"""The group `peers`: asyouwere, the two floors and other session stores, side by side."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Sequence

from tests.bench.measurements import Figure, Target, number, percentile
from tests.bench.peers import report
from tests.bench.peers.rounds import OPERATIONS, QUICK_SHAPES, SHAPES, Conversation, Measured, Rounds
from tests.bench.peers.sides.base import CLIENTS
from tests.bench.peers.taking_part import (
    ADK,
    ASYOUWERE,
    DELTA,
    DELTA_AS_IT_COMES,
    DELTA_OF_MESSAGES,
    FLOORS,
    OPENAI,
    OURS,
    PEERS,
    PLAIN,
    PLAIN_AS_IT_COMES,
    Participant,
    participants,
)
from tests.bench.place import Place

GROUP = "Other session stores"
KINDS = {"text": True, "random letters": False}
JUDGED = 1_000
"""The size of session that the targets are for."""

FASTER = {
    PLAIN: 25,
    PLAIN_AS_IT_COMES: 25,
    DELTA: 3,
    DELTA_AS_IT_COMES: 3,
    DELTA_OF_MESSAGES: 3,
    OPENAI: 2,
    ADK: 4,
}
STORED = {DELTA: 3, DELTA_AS_IT_COMES: 3, DELTA_OF_MESSAGES: 3}
NAMES = {
    "save": "time to save one turn",
    "restore": "time to restore the latest",
    "restore_old": "time to restore an older version",
    "poll": "time of a poll that finds nothing",
}


def measure(place: Place, names: Sequence[str] = (*OURS, *FLOORS, *PEERS)) -> Iterator[Figure]:
    """All sizes and kinds of text; the full tables go to peers.md next to the report, the judged lines into it."""
    shapes = QUICK_SHAPES if place.quick else SHAPES
    results: list[Measured] = []
    with participants(place, tuple(names)) as sides:
        for seed, (kind, compressible) in enumerate(KINDS.items()):
            for shape in shapes:
                print(f"asyouwere: peers, {shape.messages:,} messages of {kind} ...", file=sys.stderr)
                rounds = Rounds(
                    list(sides.values()), shape, kind=kind, compressible=compressible, seed=20 + seed
                )
                results.append(rounds.run(lambda: place.superuser.execute("checkpoint")))
        print(f"asyouwere: peers, {CLIENTS} clients ...", file=sys.stderr)
        crowds = {name: _crowd(place, side) for name, side in sides.items()}
        versions = {name: side.versions for name, side in sides.items()}
    for result in results:
        if result.shape.messages == JUDGED:
            yield from _judged(result, [name for name in names if name != ASYOUWERE])
    for name, times in crowds.items():
        yield _crowd_figure(name, *times)
    report.write(results, crowds, versions, place.stack.folder.parent)


def _judged(result: Measured, names: Sequence[str]) -> Iterator[Figure]:
    about = f"{JUDGED:,} messages of {result.kind}"
    for operation in OPERATIONS:
        ours = statistics.median(result.times[operation][ASYOUWERE].values())
        for name in names:
            ratios = result.ratios(operation, name, ASYOUWERE)
            if not ratios:
                continue
            target = {"save": FASTER.get(name), "restore": 1 if name in PEERS else None}.get(operation)
            theirs = statistics.median(result.times[operation][name].values())
            around = statistics.median(result.all_times[operation][name].values())
            more = f" ({number(around)} ms with its graph around it)" if around > theirs * 1.01 else ""
            yield Figure(
                GROUP,
                f"{NAMES[operation]}, {about}: {name}",
                statistics.median(ratios),
                "×",
                Target(target, at_least=True) if target else None,
                percentile(ratios, 10),
                percentile(ratios, 90),
                len(ratios),
                f"{number(theirs)} ms{more}; asyouwere by SQL {number(ours)} ms",
            )
    for what, values, targets in (("stored", result.stored, STORED), ("write-ahead log", result.wal, {})):
        for name in names:
            target = targets.get(name)
            yield Figure(
                GROUP,
                f"bytes {'stored' if what == 'stored' else 'of write-ahead log'} a turn, {about}: {name}",
                values[name] / values[ASYOUWERE],
                "×",
                Target(target, at_least=True) if target else None,
                detail=f"{values[name]:,.0f} bytes; asyouwere {values[ASYOUWERE]:,.0f}; "
                f"JSON text of the two messages {result.json_bytes:,.0f}",
            )


def _crowd(place: Place, side: Participant) -> tuple[float, list[float]]:
    """Saves a second, and the time of each: 16 clients in one process, each with a session of its own."""
    conversation = Conversation(99, compressible=True)
    sessions = [f"crowd {client}" for client in range(CLIENTS)]
    for session in sessions:
        side.process.ask("fill", session=session, turns=conversation.take(JUDGED // 2))
    side.settle()
    place.superuser.execute("checkpoint")
    turns = conversation.take(50)
    side.process.ask("crowd", sessions=sessions, turns=turns, seconds=1)
    answer = side.process.ask("crowd", sessions=sessions, turns=turns, seconds=3 if place.quick else 12)
    side.process.close()  # its connections are needed by the next
    return len(answer["times"]) / answer["seconds"], answer["times"]


def _crowd_figure(name: str, rate: float, times: list[float]) -> Figure:
    around = (
        "; its graph and its reading of the state included"
        if name in (PLAIN, DELTA, DELTA_OF_MESSAGES)
        else ""
    )
    return Figure(
        GROUP,
        f"{CLIENTS} clients, sessions of {JUDGED:,} messages: {name}",
        rate,
        "turns/s",
        samples=len(times),
        detail=f"p50 {number(percentile(times, 50))} ms, p99 {number(percentile(times, 99))} ms; "
        f"all clients are tasks of one Python process{around}",
    )
