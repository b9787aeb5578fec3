from __future__ import annotations

from typing import Any

import pytest

from asyouwere.client.context import last_messages

SYSTEM, USER, ANSWER = ({"role": role, "content": role} for role in ("system", "user", "assistant"))
CALL = {"role": "assistant", "tool_calls": [{"id": "1"}]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "2"}
BLOCK = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "2"}]}


@pytest.mark.parametrize(
    ("messages", "last", "expected"),
    [
        ([], 3, []),
        ([USER, ANSWER], 3, [USER, ANSWER]),
        ([USER, ANSWER, USER], 1, [USER]),
        ([SYSTEM, USER, ANSWER, USER], 1, [SYSTEM, USER]),
        ([SYSTEM, USER], 0, [SYSTEM]),
        ([USER, CALL, RESULT, ANSWER], 2, [CALL, RESULT, ANSWER]),
        ([USER, CALL, RESULT, RESULT, ANSWER], 2, [CALL, RESULT, RESULT, ANSWER]),
        ([USER, CALL, BLOCK, ANSWER], 2, [CALL, BLOCK, ANSWER]),
        ([SYSTEM, RESULT, ANSWER], 2, [SYSTEM, RESULT, ANSWER]),
        (["a", "b", 3], 2, ["b", 3]),
    ],
)
def test_last_messages(messages: list[Any], last: int, expected: list[Any]) -> None:
    assert last_messages(messages, last) == expected
