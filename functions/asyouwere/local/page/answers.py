"""What the agent on this machine says: no model, but answers that are worth reading and real things done.

    composed = compose(messages, memory)
    async for piece in spoken(composed):
        ...  # a text, or what a tool did

Each skill is a pattern and a function; the first whose pattern is in the question answers. Texts come word by word,
as a model's do, so that there is time to reload the page in the middle of one.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio

__all__ = ["Answer", "compose", "spoken", "text_of"]

Message = Mapping[str, Any]

#: Between two words, as a quick model does it. A long answer then takes about a minute.
WORD_SECONDS: Final = 0.035
_STORY: Final = Path(__file__).with_name("story.md")
_LARGEST_POWER: Final = 64
_MOST_ROWS: Final = 12

_OPERATORS: Final[dict[type[ast.AST], Callable[..., Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


@dataclass
class Answer:
    """text: Markdown. tools: what was called, each with name, input and output. learned: for the memory."""

    text: str
    tools: list[dict[str, Any]] = field(default_factory=list)
    learned: dict[str, str] = field(default_factory=dict)


def text_of(message: Message) -> str:
    """The words of a message of this page's own making."""
    content = message.get("content")
    return content if isinstance(content, str) else ""


def compose(messages: Sequence[Message], memory: Mapping[str, Any]) -> Answer:
    """The whole answer to the last thing that the person said."""
    said = [text_of(message) for message in messages if message.get("role") == "user"]
    question = said[-1] if said else ""
    for pattern, skill in _SKILLS:
        if found := re.search(pattern, question, re.IGNORECASE | re.DOTALL):
            result = skill(found, messages, memory)
            if result is not None:
                return result
    return _about_the_conversation(messages)


async def spoken(composed: Answer, word_seconds: float = WORD_SECONDS) -> AsyncIterator[str | dict[str, Any]]:
    """The answer as it is being made: first what tools did, then word by word."""
    for tool in composed.tools:
        await anyio.sleep(8 * word_seconds)
        yield {"type": "tool", **tool}
    for word in re.findall(r"\s*\S+|\s+$", composed.text):
        await anyio.sleep(word_seconds)
        yield word


# -- skills -------------------------------------------------------------------------------------------------


def _remember(found: re.Match[str], messages: Sequence[Message], memory: Mapping[str, Any]) -> Answer | None:
    topic, fact = found["topic"].strip(" .,:"), found["fact"].strip().rstrip(".")
    if not topic or not fact or len(topic) > 80:
        return None
    return Answer(
        f"Noted: **{topic}** is {fact}. It is in this session's memory now, so it will be there after a reload, "
        "on another device, and in a branch that you make from here.",
        [{"name": "remember", "input": {"topic": topic}, "output": fact}],
        {topic: fact},
    )


def _recall(found: re.Match[str], messages: Sequence[Message], memory: Mapping[str, Any]) -> Answer:
    known = memory.get("blackboard")
    facts = known if isinstance(known, dict) else {}
    if not facts:
        return Answer("Nothing yet. Tell me, for example: *remember that the train is at 9:40*.")
    rows = "\n".join(f"| {_cell(topic)} | {_cell(str(fact))} |" for topic, fact in list(facts.items())[:50])
    return Answer(
        f"This is what I know in this session:\n\n| about | what |\n|---|---|\n{rows}\n",
        [{"name": "recall", "input": {}, "output": f"{len(facts)} facts"}],
    )


def _calculate(found: re.Match[str], messages: Sequence[Message], memory: Mapping[str, Any]) -> Answer | None:
    expression = found["sum"].strip().replace("×", "*").replace("÷", "/").replace("^", "**").replace(",", "")
    try:
        result = _value(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError, TypeError):
        return None
    shown = f"{result:,}" if isinstance(result, int) else f"{result:,.10g}"
    return Answer(f"`{expression}` is **{shown}**.", [{"name": "calculator", "input": expression, "output": shown}])


def _value(node: ast.AST) -> int | float:
    """Arithmetic and nothing else; numbers that would take long to work out are refused."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.operand))  # type: ignore[no-any-return]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow) and (abs(right) > _LARGEST_POWER or abs(left) > 10**9):
            raise ValueError("too large")
        result = _OPERATORS[type(node.op)](left, right)
        if isinstance(result, complex) or abs(result) > 10**60:
            raise ValueError("too large")
        return result  # type: ignore[no-any-return]
    raise ValueError("not arithmetic")


def _count(found: re.Match[str], messages: Sequence[Message], memory: Mapping[str, Any]) -> Answer:
    text = found["text"].strip() or "\n".join(text_of(message) for message in messages[:-1])
    words = re.findall(r"\w+", text)
    common = Counter(word.lower() for word in words if len(word) > 3).most_common(5)
    rows = "\n".join(f"| {_cell(word)} | {number} |" for word, number in common)
    table = f"\n\n| most often | times |\n|---|---|\n{rows}\n" if common else ""
    return Answer(
        f"**{len(words):,}** words, **{len(text):,}** characters, **{text.count(chr(10)) + 1:,}** lines.{table}",
        [{"name": "count", "input": f"{len(text):,} characters", "output": f"{len(words):,} words"}],
    )


def _table(found: re.Match[str], messages: Sequence[Message], memory: Mapping[str, Any]) -> Answer:
    number = min(int(found["number"] or 7), 10**6)
    rows = "\n".join(f"| {n} | {n * number:,} | {number**n if n < 8 else '…'} |" for n in range(1, _MOST_ROWS + 1))
    return Answer(f"| n | n × {number} | {number} to the n |\n|---:|---:|---:|\n{rows}\n")


def _time(found: re.Match[str], messages: Sequence[Message], memory: Mapping[str, Any]) -> Answer:
    now = datetime.now(UTC)
    return Answer(
        f"It is {now:%H:%M} UTC on {now:%A, %d %B %Y}.",
        [{"name": "clock", "input": {}, "output": now.isoformat(timespec="seconds")}],
    )


def _primes(found: re.Match[str], messages: Sequence[Message], memory: Mapping[str, Any]) -> Answer:
    limit = 60
    primes = [n for n in range(2, limit) if all(n % d for d in range(2, math.isqrt(n) + 1))]
    return Answer(
        "Trial division is enough here:\n\n```python\nfrom math import isqrt\n\n\n"
        "def is_prime(n: int) -> bool:\n"
        '    """Whether n has no divisor but 1 and itself."""\n'
        "    return n > 1 and all(n % d for d in range(2, isqrt(n) + 1))\n\n\n"
        f"print([n for n in range({limit}) if is_prime(n)])\n```\n\nIt prints:\n\n```text\n{primes}\n```\n",
        [{"name": "python", "input": f"primes below {limit}", "output": f"{len(primes)} found"}],
    )


def _story(found: re.Match[str], messages: Sequence[Message], memory: Mapping[str, Any]) -> Answer:
    return Answer(_STORY.read_text().rstrip())


def _help(found: re.Match[str], messages: Sequence[Message], memory: Mapping[str, Any]) -> Answer:
    return Answer(
        "I am a small agent on this machine, without a model. I can:\n\n"
        "- **remember** things: *remember that the train is at 9:40*, and later *what do you know?*\n"
        "- **calculate**: *what is 17 * (3 + 4)?*\n"
        "- **count** words: *count the words in: to be or not to be*\n"
        "- make a **table**: *a table of 7*\n"
        "- show **code**: *primes in Python*\n"
        "- tell a **long story**, which takes most of a minute: reload while I do, or close the tab\n\n"
        "With `ASYOUWERE_MODEL_URL` set to an OpenAI-compatible address, a real model answers instead of me."
    )


def _about_the_conversation(messages: Sequence[Message]) -> Answer:
    said = [text_of(message) for message in messages if message.get("role") == "user"]
    count = len(messages)
    if count <= 1:
        return Answer(
            "Hello! Everything that we say here saves itself. Reload the page, close the tab, or open this session "
            "in another browser while I am still talking: it goes on.\n\nAsk *what can you do?* to see what I am "
            "good for, or *tell me a long story* to have time for trying that."
        )
    words = sum(len(text_of(message).split()) for message in messages)
    earlier = said[-2] if len(said) > 1 else said[-1]
    quoted = earlier.strip().splitlines()[0][:120] if earlier.strip() else "nothing"
    return Answer(
        f"I can't say much about that without a model, but I am still with you: {count} messages and {words:,} words "
        f"so far. Before this you said:\n\n> {quoted}\n\nAsk *what can you do?* for what I am good for."
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


_SKILLS: Final[list[tuple[str, Callable[..., Answer | None]]]] = [
    (r"\bremember (?:that )?(?:the |my )?(?P<topic>.+?) (?:is|are|=) (?P<fact>.+)", _remember),
    (r"what do you (?:know|remember)|what is in (?:your|the) memory", _recall),
    (r"what can you do|\bhelp\b", _help),
    (r"\bcount\b(?:[^:]*:)?(?P<text>.*)", _count),
    (r"\btable\b(?: of (?P<number>\d{1,6}))?", _table),
    (r"(?P<sum>[-+(]*\d[\d\s.,()+*/%^×÷-]*[-+*/%^×÷][\d\s.,()+*/%^×÷-]*\d[\d\s)]*)", _calculate),
    (r"\bprimes?\b|\bcode\b|\bpython\b", _primes),
    (r"\bwhat time\b|\bthe time\b|\btoday\b", _time),
    (r"\bstory\b|\blong\b", _story),
]
