"""OpenTelemetry: a span and figures for every request and every call of the database. Off by default.

    ASYOUWERE_TELEMETRY=on, and beside asyouwere an SDK (opentelemetry-distro and an exporter)

asyouwere brings along OpenTelemetry's API only, and imports it only if it is on. Names and units follow the
semantic conventions where they have one (http.*, db.*). Attributes are names from our own code, statuses and
codes: never content, a token or anybody's id, and no text that a caller chose.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Final

from opentelemetry import metrics, propagate, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider

from asyouwere.errors import AsYouWereError
from asyouwere.service.auth.caller import Caller
from asyouwere.service.database import Argument, Database, Row
from asyouwere.service.http.log import log_line

__all__ = ["JOURNAL_AGE", "Observed", "ObservedDatabase", "Telemetry", "providers"]

#: Sent by clients with a save: seconds that the oldest change in it waited in the client's journal.
JOURNAL_AGE: Final = "asyouwere-journal-age"

#: The longest that an answer waits for the collector.
FLUSH_SECONDS: Final = 1.0

_AGE: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?", re.ASCII)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

#: Figures of a response (``ApiResponse.logged``) that are metrics too: name, unit, meaning, whether summed up.
_FIGURES: Final[dict[str, tuple[str, str, str, bool]]] = {
    "snapshot_bytes": ("asyouwere.snapshot.size", "By", "Size of the state that a save led to", False),
    "changed_parts": ("asyouwere.save.changed_parts", "{part}", "Parts that a save changed", False),
    "merged": ("asyouwere.save.merges", "{save}", "Saves merged with what others had saved meanwhile", True),
    "replayed": ("asyouwere.save.replays", "{save}", "Saves sent again and answered from their key", True),
    "removed_snapshots": ("asyouwere.cleanup.snapshots", "{snapshot}", "Snapshots that clean-up removed", True),
    "removed_parts": ("asyouwere.cleanup.parts", "{part}", "Parts that clean-up removed", True),
    "removed_bytes": ("asyouwere.cleanup.size", "By", "Bytes of parts that clean-up removed", True),
    "expired_sessions": ("asyouwere.cleanup.expired", "{session}", "Sessions that expired", True),
    "deleted_sessions": ("asyouwere.cleanup.deleted", "{session}", "Expired sessions that were deleted", True),
    "unfinished": ("asyouwere.cleanup.unfinished", "{run}", "Clean-ups that ran out of time", True),
}


@dataclass(slots=True)
class Observed:
    """What is known of a request when it has been answered; route: the pattern below the function."""

    route: str | None = None
    status: int = 500
    code: str | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    figures: Mapping[str, int] = field(default_factory=dict)


def providers() -> tuple[TracerProvider, MeterProvider]:
    """What spans and figures go to: the SDK that was configured, here if nobody did; nowhere without one."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        # What the command opentelemetry-instrument would do, which a platform's own start command leaves out.
        for entry in entry_points(group="opentelemetry_configurator"):
            entry.load()().configure()
            break
    return trace.get_tracer_provider(), metrics.get_meter_provider()


class Telemetry:
    """Makes the spans and keeps the instruments of one process."""

    def __init__(self) -> None:
        tracer_provider, meter_provider = self._providers = providers()
        self._under_way = 0
        self._tracer = tracer_provider.get_tracer("asyouwere")
        meter = meter_provider.get_meter("asyouwere")
        self._duration = meter.create_histogram(
            "http.server.request.duration", "s", explicit_bucket_boundaries_advisory=_SECONDS
        )
        self._request_size = meter.create_histogram("http.server.request.body.size", "By")
        self._response_size = meter.create_histogram("http.server.response.body.size", "By")
        self._database_duration = meter.create_histogram(
            "db.client.operation.duration", "s", explicit_bucket_boundaries_advisory=_SECONDS
        )
        self._conflicts = meter.create_counter(
            "asyouwere.save.conflicts", "{save}", "Saves refused as conflicts"
        )
        self._journal_age = meter.create_histogram(
            "asyouwere.journal.age", "s", "Time that a save's oldest change waited in the client's journal"
        )
        self._summed = {
            figure: meter.create_counter(name, unit, meaning)
            for figure, (name, unit, meaning, summed) in _FIGURES.items()
            if summed
        }
        self._spread = {
            figure: meter.create_histogram(name, unit, meaning)
            for figure, (name, unit, meaning, summed) in _FIGURES.items()
            if not summed
        }

    @contextmanager
    def request(self, function: str, method: str, header: Mapping[str, str]) -> Iterator[Observed]:
        """Around a request to a function; whoever answers it fills in what is handed out."""
        method = method if method in _METHODS else "_OTHER"
        observed = Observed()
        self._under_way += 1
        try:
            with self._span(function, method, header, observed):
                yield observed
        finally:
            self._under_way -= 1

    @contextmanager
    def _span(
        self, function: str, method: str, header: Mapping[str, str], observed: Observed
    ) -> Iterator[None]:
        started = time.perf_counter()
        context = propagate.extract(header)
        with self._tracer.start_as_current_span(
            f"{method} /{function}", context, SpanKind.SERVER, record_exception=False
        ) as span:
            yield
            seconds = time.perf_counter() - started
            known: dict[str, Any] = {
                "http.request.method": method,
                "http.response.status_code": observed.status,
            }
            if observed.route is not None:
                known["http.route"] = f"/{function}{observed.route}"
                span.update_name(f"{method} {known['http.route']}")
            if observed.code is not None:
                known["error.type"] = observed.code
            span.set_attributes({**known, **{f"asyouwere.{k}": v for k, v in observed.figures.items()}})
            if observed.status >= 500:
                span.set_status(Status(StatusCode.ERROR))
            self._record(seconds, known, observed, header)

    async def flush_when_idle(self) -> None:
        """Hand over what waits for the next batch, unless other requests are under way: the last of them does.

        In a thread, at most FLUSH_SECONDS; a collector that does not answer costs figures and no answer of ours."""
        if not self._under_way:
            await asyncio.to_thread(self._flush)

    def _flush(self) -> None:
        until = time.monotonic() + FLUSH_SECONDS
        for provider in self._providers:
            flush = getattr(provider, "force_flush", None)  # the SDK's have it, the API's do nothing
            left = int((until - time.monotonic()) * 1000)
            if flush is None or left <= 0:
                continue
            try:
                flush(left)
            except Exception as exc:  # noqa: BLE001 - whatever an exporter raises
                log_line(severity="WARNING", message="telemetry was not handed over", error=type(exc).__name__)

    def _record(
        self, seconds: float, known: dict[str, Any], observed: Observed, header: Mapping[str, str]
    ) -> None:
        self._duration.record(seconds, known)
        self._request_size.record(observed.bytes_in, known)
        self._response_size.record(observed.bytes_out, known)
        if observed.code == "conflict":
            self._conflicts.add(1)
        for figure, value in observed.figures.items():
            if figure in self._summed:
                self._summed[figure].add(value)
            elif figure in self._spread:
                self._spread[figure].record(value)
        # Only with a save that was let in: otherwise anybody could write figures here.
        age = header.get(JOURNAL_AGE, "")
        if observed.status < 400 and "changed_parts" in observed.figures and _AGE.fullmatch(age):
            self._journal_age.record(float(age))

    @contextmanager
    def call(self, function: str) -> Iterator[None]:
        """Around a call of an SQL function."""
        known = {"db.system.name": "postgresql", "db.stored_procedure.name": function}
        started = time.perf_counter()
        with self._tracer.start_as_current_span(
            function,
            kind=SpanKind.CLIENT,
            attributes=known,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except AsYouWereError as exc:
                known["error.type"] = exc.code
                span.set_attribute("error.type", exc.code)
                if exc.status >= 500:
                    span.set_status(Status(StatusCode.ERROR))
                raise
            finally:
                self._database_duration.record(time.perf_counter() - started, known)


class ObservedDatabase:
    """A database whose calls are spans."""

    def __init__(self, database: Database, telemetry: Telemetry) -> None:
        self._database = database
        self._telemetry = telemetry

    async def rows(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument], *, repeatable: bool = False
    ) -> list[Row]:
        with self._telemetry.call(function):
            return await self._database.rows(caller, function, arguments, repeatable=repeatable)

    async def chunks(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument], *, repeatable: bool = False
    ) -> list[bytes]:
        with self._telemetry.call(function):
            return await self._database.chunks(caller, function, arguments, repeatable=repeatable)

    async def pieces(
        self, caller: Caller, function: str, arguments: Mapping[str, Argument]
    ) -> AsyncGenerator[bytes, None]:
        """The span ends with the first piece: how long the others take is the reader's doing."""
        async with contextlib.aclosing(self._database.pieces(caller, function, arguments)) as pieces:
            with self._telemetry.call(function):
                first = await anext(pieces, None)
            if first is not None:
                yield first
            async for piece in pieces:
                yield piece

    async def check(self) -> None:
        await self._database.check()

    async def close(self) -> None:
        await self._database.close()
