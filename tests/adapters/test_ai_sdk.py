"""examples/adapters/ai_sdk_store.mjs under the AI SDK, over PostgREST. The checks are in tests/node/ai-sdk.mjs."""

from __future__ import annotations

import json

import pytest

from tests.clients.node import NODE, run_node
from tests.clients.places import Place


@pytest.mark.slow
def test_ai_sdk__chats_are_kept_and_lose_nothing(postgrest: Place) -> None:
    if not (NODE / "node_modules/ai").is_dir():
        pytest.skip("needs the packages of tests/node (scripts/setup test installs them)")
    environment = {"SUPABASE_URL": postgrest.url, "SUPABASE_ANON_KEY": postgrest.anon_key}
    lines = [json.loads(line) for line in run_node([str(NODE / "ai-sdk.mjs")], environment).splitlines()]
    assert len(lines) == 4
    assert [line for line in lines if line["failure"]] == []
