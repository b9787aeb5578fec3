"""What an app's logs and traces say of a session: names, numbers and codes, and never a word of it."""

from __future__ import annotations

import logging

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.client.conftest import Place

pytestmark = pytest.mark.anyio

PLANTED = "planted word"


async def test_traces_and_logs__hold_no_content(
    home: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    caplog.set_level(logging.DEBUG, "asyouwere")
    async with home.open() as session:
        session.append(PLANTED)
        await session.save_now()
        await session.refresh()
        async with session.turn() as turn:
            await turn.write(PLANTED)
        session.state[PLANTED * 300] = PLANTED
        with pytest.raises(Exception, match="address"):
            await session.save_now()
        del session.state[PLANTED * 300]
    names = {span.name for span in spans.get_finished_spans()}
    assert {"asyouwere save", "asyouwere catch up", "asyouwere finish turn"} <= names
    failed = [span for span in spans.get_finished_spans() if not span.status.is_ok]
    assert [span.attributes["error.type"] for span in failed] == ["address_too_long"]
    assert "session" in caplog.text
    told = caplog.text + "".join(span.to_json() for span in spans.get_finished_spans()) + repr(session)
    assert PLANTED not in told
    assert home.options["token"] not in told
