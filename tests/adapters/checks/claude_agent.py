"""The session store in the Claude Agent SDK's own conformance suite, and raced."""

from __future__ import annotations

import uuid
from typing import Any

from claude_agent_sdk.testing import run_session_store_conformance

from examples.adapters.claude_session_store import AsYouWereSessionStore
from examples.adapters.database import Database
from tests.adapters.checks.racing import CALLERS, at_once, run


async def check(database: Database) -> str:
    await run_session_store_conformance(lambda: AsYouWereSessionStore(database, prefix=f"{uuid.uuid4()}/"))
    stores = [AsYouWereSessionStore(database) for _ in range(CALLERS)]
    key: Any = {"project_key": str(uuid.uuid4()), "session_id": str(uuid.uuid4())}
    entries: list[Any] = [{"type": "user", "uuid": str(uuid.uuid4()), "n": number} for number in range(CALLERS)]
    await at_once(lambda number: stores[number].append(key, entries))  # sixteen who make it, too
    assert await stores[0].load(key) == entries
    await at_once(lambda number: stores[number].append(key, [{"type": "title", "by": number}]))
    loaded: list[Any] = await stores[0].load(key) or []
    assert sorted(entry["by"] for entry in loaded[CALLERS:]) == list(range(CALLERS))
    await at_once(lambda number: stores[number].append(key | {"subpath": f"agents/{number % 4}"}, entries[:1]))
    assert sorted(await stores[0].list_subkeys(key)) == [f"agents/{number}" for number in range(4)]
    await stores[0].delete(key)
    assert await stores[0].load(key | {"subpath": "agents/1"}) is None
    return "the conformance suite"


if __name__ == "__main__":
    run(check)
