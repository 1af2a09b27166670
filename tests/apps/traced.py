"""An app inside the usual wrapper for tracing: it answers with the trace that its request is part
of, and what the client has said of that."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.trace import get_current_span


def _app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    trace = get_current_span().get_span_context().trace_id
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{trace:032x} {environ['HTTP_TRACEPARENT']}".encode()]


app = OpenTelemetryMiddleware(_app)
