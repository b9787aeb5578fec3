"""Spans for what a client asks of a server, where the app uses OpenTelemetry. Names and numbers, no content."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from asyouwere.errors import AsYouWereError

__all__ = ["span"]


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[None]:
    """A span while the block runs; nothing if the app has not imported OpenTelemetry."""
    if "opentelemetry.trace" not in sys.modules:
        yield
        return
    from opentelemetry import trace
    from opentelemetry.trace import SpanKind, Status, StatusCode

    tracer = trace.get_tracer("asyouwere.client")
    named = {f"asyouwere.{key}": value for key, value in attributes.items()}
    with tracer.start_as_current_span(
        f"asyouwere {name}",
        kind=SpanKind.CLIENT,
        attributes=named,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield
        except AsYouWereError as exc:
            current.set_attribute("error.type", exc.code)
            current.set_status(Status(StatusCode.ERROR, exc.code))
            raise
