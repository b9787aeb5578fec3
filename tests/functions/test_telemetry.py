"""OpenTelemetry: what is measured, under which names, and that nothing of anybody's shows in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from asyouwere.service import telemetry
from tests.functions.api import ORIGIN, Person, refused, serving, settings_for, token_for
from tests.functions.test_deployed import CLEAN, FUNCTIONS
from tests.support.database import Db

PLANTED = "plantedwords"


class Collected:
    """What an SDK would have sent away."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader])

    def spans(self) -> list[ReadableSpan]:
        """All spans so far."""
        return list(self.exporter.get_finished_spans())

    def requests(self) -> list[ReadableSpan]:
        """The spans of requests."""
        return [span for span in self.spans() if span.kind is SpanKind.SERVER]

    def metrics(self) -> dict[str, Any]:
        """All metrics by their names."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def total(self, name: str) -> float:
        """The sum of a metric over everything it was recorded for; 0 if it never was."""
        metric = self.metrics().get(name)
        points = metric.data.data_points if metric else []
        values: list[Any] = [getattr(point, "sum", None) or getattr(point, "value", 0) for point in points]
        return float(sum(values))


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Collected:
    """Where everything goes that is observed from here on."""
    everything = Collected()
    monkeypatch.setattr(telemetry, "providers", lambda: (everything.tracers, everything.meters))
    return everything


@pytest.fixture
def person(shared: Db, collected: Collected) -> Iterator[Callable[..., Person]]:
    """Makes callers of functions that are observed."""
    made: list[Person] = []
    with serving(settings_for(shared.api_dsn, telemetry=True)) as base_url:

        def make(name: str | None, role: str = "authenticated") -> Person:
            user_id = str(shared.user(name)) if name else None
            made.append(Person(base_url, user_id, token_for(user_id, role)))
            return made[-1]

        yield make
        for somebody in made:
            somebody.http.close()


def test_save_and_restore__are_measured(person: Callable[..., Person], collected: Collected) -> None:
    ada = person("telemetry-ada")
    session_id = ada.session()
    keyed = {"idempotency_key": "k", "changes": {"append": {"/messages": ["one", "two"]}}}
    ada.saved(session_id, state={"messages": [], "a": 1})
    ada.saved(session_id, **keyed)
    ada.saved(session_id, **keyed)
    assert ada.saved(session_id, base=1, changes={"set": {"/a": 2}})["merged"] is True
    refused(ada.save(session_id, base=1, changes={"set": {"/a": 3}}), "conflict")
    size = len(ada.restore(session_id).content)
    assert collected.total("asyouwere.save.replays") == 1
    assert collected.total("asyouwere.save.merges") == 1
    assert collected.total("asyouwere.save.conflicts") == 1
    assert collected.total("asyouwere.save.changed_parts") == 2 + 2 + 1
    assert collected.total("asyouwere.snapshot.size") > 0
    metrics = collected.metrics()
    sizes = {
        point.attributes["http.route"]: point.sum
        for point in metrics["http.server.response.body.size"].data.data_points
        if point.attributes["http.response.status_code"] == 200
    }
    assert sizes["/session-snapshot-restore"] == size
    units = {name: metric.unit for name, metric in metrics.items()}
    assert units["http.server.request.duration"] == units["db.client.operation.duration"] == "s"
    assert units["http.server.request.body.size"] == units["asyouwere.snapshot.size"] == "By"
    called = {
        point.attributes["db.stored_procedure.name"]
        for point in metrics["db.client.operation.duration"].data.data_points
    }
    assert called == {"get_or_create_session", "save_session_parts", "get_snapshot_chunks"}


def test_cleanup__is_measured(database: Db, collected: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    session_id = database.session("ada")
    with database.acting_as("ada"):
        for number in range(5):
            database.save(session_id, {"n": number})
    with serving(settings_for(database.api_dsn, telemetry=True)) as base_url:
        service = Person(base_url, None, token_for("cron", "service_role"))
        with service.http:
            answer = service.post("cleanup-old-snapshots", {"keep": 2, "older_than_seconds": 0}).json()
    assert answer["snapshots"] == collected.total("asyouwere.cleanup.snapshots") == 3
    assert answer["parts"] == collected.total("asyouwere.cleanup.parts") == 3
    assert answer["bytes"] == collected.total("asyouwere.cleanup.size") == 3 * (len("/n/") + len("0") + 100)  # part_size()
    assert collected.total("asyouwere.cleanup.unfinished") == 0


@pytest.mark.parametrize(
    ("sent", "recorded"),
    [("12.5", 12.5), ("0", 0), ("-1", None), ("1e9", None), ("soon", None), ("", None), ("9" * 10, None)],
)
def test_journal_age__counts_if_it_is_a_number_of_seconds(
    person: Callable[..., Person], collected: Collected, sent: str, recorded: float | None
) -> None:
    ada = person("telemetry-ada")
    session_id = ada.session()
    answer = ada.post(
        "session-snapshot-save",
        {"session_id": session_id, "state": {}},
        headers={"Asyouwere-Journal-Age": sent},
    )
    assert answer.status_code == 200
    assert ("asyouwere.journal.age" in collected.metrics()) == (recorded is not None)
    assert collected.total("asyouwere.journal.age") == (recorded or 0)


def test_journal_age__of_whom_nobody_let_in_does_not_count(
    person: Callable[..., Person], collected: Collected
) -> None:
    stranger = person("telemetry-ada")
    headers = {"Asyouwere-Journal-Age": "5", "Authorization": "Bearer x.y.z"}
    refused(stranger.post("session-snapshot-save", {}, headers=headers), "invalid_token")
    refused(
        stranger.post("session-snapshot-save", {}, headers={"Asyouwere-Journal-Age": "5"}), "invalid_request"
    )
    assert "asyouwere.journal.age" not in collected.metrics()


def test_journal_age__may_be_sent_by_browsers(person: Callable[..., Person]) -> None:
    preflight = person("telemetry-ada").request(
        "OPTIONS",
        "session-snapshot-save",
        headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"},
    )
    assert "asyouwere-journal-age" in preflight.headers["access-control-allow-headers"]


def test_spans__have_the_callers_trace_the_route_and_the_call(
    person: Callable[..., Person], collected: Collected
) -> None:
    ada = person("telemetry-ada")
    session_id = ada.session()
    trace_id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    headers = {"traceparent": f"00-{trace_id}-{parent}-01"}
    ada.request("GET", "sessions", f"/{session_id}", headers=headers)
    call, request = collected.spans()[-2:]
    assert request.name == "GET /sessions/{session_id}"
    assert request.context is not None
    assert request.parent is not None
    assert (f"{request.context.trace_id:032x}", f"{request.parent.span_id:016x}") == (trace_id, parent)
    assert request.attributes is not None
    assert dict(request.attributes) == {
        "http.request.method": "GET",
        "http.route": "/sessions/{session_id}",
        "http.response.status_code": 200,
    }
    assert (call.name, call.kind) == ("get_session", SpanKind.CLIENT)
    assert call.parent is not None
    assert call.parent.span_id == request.context.span_id


def test_spans__say_what_went_wrong(person: Callable[..., Person], collected: Collected) -> None:
    ada = person("telemetry-ada")
    refused(ada.restore("0b0b0b0b-0000-4000-8000-000000000000"), "session_not_found")
    call, request = collected.spans()[-2:]
    for span in (call, request):
        assert span.attributes is not None
        assert span.attributes["error.type"] == "session_not_found"
        assert span.status.status_code is StatusCode.UNSET  # the caller's fault, not ours
        assert not span.events
    ada.request("PROPFIND", "sessions")
    assert collected.requests()[-1].name == "_OTHER /sessions"


def test_spans__of_a_database_that_is_away_are_errors(collected: Collected) -> None:
    with serving(settings_for("postgresql://nobody@127.0.0.1:1/none", telemetry=True)) as base_url:
        ada = Person(base_url, None, token_for("0b0b0b0b-0000-4000-8000-000000000000"))
        with ada.http:
            assert ada.request("GET", "sessions").status_code == 503
    assert [span.status.status_code for span in collected.spans()] == [StatusCode.ERROR] * 2
    assert not any(span.events for span in collected.spans())


def test_nothing_of_anybodys__is_in_spans_or_metrics(
    person: Callable[..., Person], collected: Collected
) -> None:
    ada = person("telemetry-ada")
    session_id = ada.session(name=PLANTED, key=PLANTED, metadata={PLANTED: PLANTED})
    ada.saved(session_id, state={PLANTED: PLANTED}, label=PLANTED, idempotency_key=PLANTED)
    ada.save(session_id, changes={"set": {f"/{PLANTED}/x/y/z/w": PLANTED}})
    ada.restore(session_id, label=PLANTED + "2")
    ada.get("", search=PLANTED)
    ada.request("GET", "sessions", f"/{PLANTED}")
    ada.http.request("GET", f"/functions/v1/sessions/{session_id}/{PLANTED}", headers={"User-Agent": PLANTED})
    ada.http.get("/functions/v1/sessions", headers={"baggage": f"a={PLANTED}", "traceparent": PLANTED})
    shown = "".join(span.to_json() for span in collected.spans())
    data = collected.reader.get_metrics_data()
    shown += data.to_json() if data else ""
    assert "/sessions/{session_id}" in shown
    for private in (PLANTED, PLANTED.upper(), session_id, ada.id, ada.token):
        assert private not in shown


def test_flush__comes_before_the_answer_of_the_last_request_under_way(shared: Db, collected: Collected) -> None:
    user = str(shared.user("telemetry-ada"))
    for flush in (False, True):
        held = InMemorySpanExporter()  # behind a batch that nothing else sends for a minute
        collected.tracers.add_span_processor(BatchSpanProcessor(held, schedule_delay_millis=60_000))
        with serving(settings_for(shared.api_dsn, telemetry=True, telemetry_flush=flush)) as base_url:
            ada = Person(base_url, user, token_for(user))
            with ada.http:
                assert ada.request("GET", "sessions").status_code == 200
                assert bool(held.get_finished_spans()) is flush


def test_flush__waits_for_no_collector_that_hangs_or_fails(
    shared: Db, collected: Collected, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def fail(timeout: int) -> bool:
        asked.append(timeout)
        raise RuntimeError(PLANTED)

    monkeypatch.setattr(collected.tracers, "force_flush", fail)
    monkeypatch.setattr(collected.meters, "force_flush", fail)
    user = str(shared.user("telemetry-ada"))
    with serving(settings_for(shared.api_dsn, telemetry=True, telemetry_flush=True)) as base_url:
        ada = Person(base_url, user, token_for(user))
        with ada.http:
            assert ada.request("GET", "sessions").status_code == 200
    assert len(asked) == 2
    assert all(0 < timeout <= 1000 for timeout in asked)
    said = capsys.readouterr().out
    assert said.count("telemetry was not handed over") == 2
    assert PLANTED not in said


def test_off__costs_no_import() -> None:
    script = (
        "import asyncio, sys; sys.path.append(sys.argv[1]); import main\n"
        "from starlette.requests import Request\n"
        "scope = {'type': 'http', 'method': 'GET', 'path': '/', 'headers': [], 'query_string': b''}\n"
        "print(asyncio.run(main.sessions(Request(scope))).status_code, 'opentelemetry' in sys.modules)\n"
    )
    settings = {
        "ASYOUWERE_DATABASE_URL": "postgresql://nowhere",
        "ASYOUWERE_SUPABASE_URL": "https://ref.supabase.co",
        "ASYOUWERE_REQUEST_LOG": "off",
    }
    for more, imported in (({}, "False"), ({"ASYOUWERE_TELEMETRY": "on"}, "True")):
        done = subprocess.run(
            [sys.executable, "-c", script, str(FUNCTIONS)],
            env={**CLEAN, **settings, **more},
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
        )
        assert done.stdout.split() == ["401", imported]


def test_providers__are_configured_by_the_sdk_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    configured = []

    class Configurator:
        def configure(self) -> None:
            configured.append(self)

    class Entry:
        def load(self) -> type[Configurator]:
            return Configurator

    monkeypatch.setattr(telemetry, "entry_points", lambda group: [Entry()] if "configurator" in group else [])
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    telemetry.providers()
    assert len(configured) == 1
    monkeypatch.setattr(trace, "get_tracer_provider", TracerProvider)
    telemetry.providers()
    assert len(configured) == 1  # somebody has done it already
