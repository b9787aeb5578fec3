"""What must hold after the demo, as plain functions: they take what was sent and what came back.

Each returns the problems it found, one sentence each; an empty list means that it holds. They look at
nothing but their arguments, so the tests can show that each does find what it is there to find.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST = 5  # problems of one kind that are worth a line


@dataclass(frozen=True)
class SaveResult:
    """A save that was answered: the key it was sent with and the number it got."""

    key: str
    number: int
    replayed: bool = False


@dataclass
class Guarantees:
    """The list of what must hold, decided before anything runs; what was never looked at does not hold."""

    titles: tuple[str, ...]
    found: dict[str, tuple[list[str], str]] = field(default_factory=dict)

    def report(self, title: str, problems: Iterable[str], evidence: str) -> bool:
        """Note the problems under one of the titles, with a line of evidence; True if there are none."""
        if title not in self.titles:
            raise KeyError(title)
        earlier = self.found[title][0] if title in self.found else []
        self.found[title] = ([*earlier, *problems], evidence)
        return not self.found[title][0]

    def problems(self, title: str) -> list[str]:
        """What is wrong under this title; a title that was never reported is a problem in itself."""
        return self.found[title][0] if title in self.found else ["was not checked"]

    def evidence(self, title: str) -> str:
        return self.found[title][1] if title in self.found else ""

    @property
    def hold(self) -> bool:
        return not any(self.problems(title) for title in self.titles)


def saved_exactly_once(answers: Sequence[SaveResult], numbers: Sequence[int]) -> list[str]:
    """Every answered save is one snapshot, every snapshot is one answered save, and the numbers are 1, 2, 3 …

    ``numbers`` are those that the server lists, in any order.
    """
    problems = []
    stored = Counter(numbers)
    by_number: dict[int, set[str]] = {}
    by_key: dict[str, set[int]] = {}
    for answer in answers:
        by_number.setdefault(answer.number, set()).add(answer.key)
        by_key.setdefault(answer.key, set()).add(answer.number)
    problems += [
        f"number {number} was answered but is not there" for number in by_number if not stored[number]
    ]
    problems += [f"number {number} is there {count} times" for number, count in stored.items() if count > 1]
    problems += [
        f"number {number} is there, but nobody was told so" for number in stored if number not in by_number
    ]
    problems += [
        f"number {number} was given to {len(keys)} saves"
        for number, keys in by_number.items()
        if len(keys) > 1
    ]
    problems += [f"one save got the numbers {sorted(found)}" for found in by_key.values() if len(found) > 1]
    gaps = sorted(set(range(1, max(stored, default=0) + 1)) - set(stored))
    problems += [f"number {number} is missing between others" for number in gaps if number not in by_number]
    return _shortened(problems)


def same_messages(sent: Sequence[Mapping[str, Any]], restored: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every message that was sent is there once, unchanged, in the order of sending, and no other."""
    problems = []
    there = Counter(str(message.get("id")) for message in restored)
    known = {str(message.get("id")) for message in sent}
    problems += [f"message {message['id']} is missing" for message in sent if not there[str(message["id"])]]
    problems += [f"message {name} is there {count} times" for name, count in there.items() if count > 1]
    problems += [f"message {name} was never sent" for name in there if name not in known]
    if not problems:
        pairs = zip(sent, restored, strict=True)
        problems = [f"message {mine['id']} came back changed" for mine, back in pairs if not same(mine, back)]
    return _shortened(problems)


def same_state(expected: Any, restored: Any, where: str) -> list[str]:
    """The restored value equals the expected one; otherwise the first addresses where they differ."""
    if same(expected, restored):
        return []
    return _shortened(
        [f"{where}: {address or 'the whole'} differs" for address in _differences(expected, restored, "")]
    )


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 is not 1.0 nor true, -0.0 is not 0.0, and only the order of keys does not matter."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return repr(one) == repr(other)
    return bool(one == other)


def merged(results: Sequence[Mapping[str, Any]], before: int) -> list[str]:
    """Two saves on one base became the two next numbers, and the later one was told that it was merged."""
    numbers = sorted(result["number"] for result in results)
    problems = []
    if numbers != [before + 1, before + 2]:
        problems.append(f"two saves after {before} became {numbers}")
    later = max(results, key=lambda result: int(result["number"]))
    if not later["merged"]:
        problems.append("the later save does not say that it was merged")
    if not later.get("others"):
        problems.append("the later save was not told what the other one changed")
    return problems


def refused(status: int, code: str, addresses: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """A conflict was answered with 409, our code, and exactly the addresses that clash."""
    problems = []
    if (status, code) != (409, "conflict"):
        problems.append(f"answered {status} {code} instead of 409 conflict")
    if sorted(addresses) != sorted(wanted):
        problems.append(f"named {sorted(addresses)} instead of {sorted(wanted)}")
    return problems


def same_diff(
    rows: Sequence[Mapping[str, Any]], before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[str]:
    """The rows are exactly the parts that tell two states apart: address, kind of change, both values."""
    old, new = _parts(before, "", 0), _parts(after, "", 0)
    wanted = {}
    for address in old.keys() | new.keys():
        if address not in new:
            wanted[address] = ("removed", old[address], None)
        elif address not in old:
            wanted[address] = ("added", None, new[address])
        elif not same(old[address], new[address]):
            wanted[address] = ("changed", old[address], new[address])
    got = {row["address"]: (row["change"], row.get("before"), row.get("after")) for row in rows}
    problems = [f"the diff lacks {address}" for address in sorted(wanted.keys() - got.keys())]
    problems += [
        f"the diff names {address}, which did not change" for address in sorted(got.keys() - wanted.keys())
    ]
    both = sorted(wanted.keys() & got.keys())
    problems += [
        f"the diff tells {address} wrongly" for address in both if not same(wanted[address], got[address])
    ]
    if len(got) != len(rows):
        problems.append("the diff names an address twice")
    return _shortened(problems)


def kept(wanted: Iterable[int], numbers: Iterable[int], gone: Iterable[int]) -> list[str]:
    """After clean-up exactly the wanted numbers are there, and none of them is gone when it is restored."""
    left, must, removed = set(numbers), set(wanted), set(gone)
    problems = [f"number {number} should have been kept" for number in sorted(must - left)]
    problems += [f"number {number} should have been removed" for number in sorted(left - must)]
    problems += [f"number {number} is listed, but does not restore" for number in sorted(left & removed)]
    return _shortened(problems)


def followed(sent: Sequence[str], seen: Sequence[tuple[int, str]]) -> list[str]:
    """A reader got the chunks from the first to the last one, each once, in order and as they were sent."""
    numbers = [number for number, _ in seen]
    problems = []
    if numbers != sorted(numbers):
        problems.append("chunks came out of order")
    counts = Counter(numbers)
    problems += [f"chunk {number} did not come" for number in range(1, len(sent) + 1) if not counts[number]]
    problems += [f"chunk {number} came {count} times" for number, count in counts.items() if count > 1]
    problems += [
        f"chunk {number} is not what was sent"
        for number, text in seen
        if not 0 < number <= len(sent) or sent[number - 1] != text
    ]
    return _shortened(problems)


def answered_once(
    messages: Sequence[Mapping[str, Any]], sent: Sequence[str], safe: int, status: str | None = None
) -> list[str]:
    """One message begins with the chunks whose flush was answered, and holds nothing that was not sent.

    safe: how many were answered; status: of the message; None: it has none, and is complete.
    """
    begin, whole = "".join(sent[:safe]), "".join(sent)
    found = [message for message in messages if str(message.get("content", "")).startswith(begin)]
    if len(found) != 1:
        return [f"there are {len(found)} messages of this answer"]
    (message,) = found
    problems = []
    if not whole.startswith(message["content"]):
        problems.append("the message holds what was not sent")
    if status is None and message["content"] != whole:
        problems.append("the message is not complete")
    if message.get("status") != status:
        problems.append(f"the message's status is {message.get('status')} instead of {status}")
    return problems


def _parts(value: Any, address: str, depth: int) -> dict[str, Any]:
    """The parts of a state by address: objects are opened down to depth 3, lists on the way into items."""
    parts: dict[str, Any] = {}
    if depth < 3 and isinstance(value, dict):
        if depth:
            parts[address] = {}
        for key, member in value.items():
            parts |= _parts(member, f"{address}/{key.replace('~', '~0').replace('/', '~1')}", depth + 1)
    elif 0 < depth < 3 and isinstance(value, list):
        parts[address] = []
        parts |= {f"{address}/{index}": item for index, item in enumerate(value)}
    else:
        parts[address] = value
    return parts


def _differences(one: Any, other: Any, address: str) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        found = []
        for key in {**one, **other}:
            inner = f"{address}/{key.replace('~', '~0').replace('/', '~1')}"
            if key not in one or key not in other:
                found.append(inner)
            else:
                found += _differences(one[key], other[key], inner)
        return found
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            found
            for index, (mine, back) in enumerate(zip(one, other, strict=True))
            for found in _differences(mine, back, f"{address}/{index}")
        ]
    return [] if same(one, other) else [address]


def _shortened(problems: list[str]) -> list[str]:
    if len(problems) <= MOST:
        return problems
    return [*problems[:MOST], f"and {len(problems) - MOST} more of the kind"]
