"""Traces by OpenTelemetry: a call, and what was done for it anywhere. Imported only where they are asked for.

A span has ids and figures, never text: of a failure it has the code and the reason, not the message.
"""

import random
import re
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

PARENT = "traceparent"
"""The W3C's. Its companion `tracestate`, in which callers may write what they like, goes no further."""
_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-(?P<flags>[0-9a-f]{2})(-.*)?")
OUR_FAULT = frozenset({"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNKNOWN", "DEADLINE_EXCEEDED"})
"""Codes with which a call counts as an error of this server."""
FLUSH_MS = 2000


class Span:
    """A call under way."""

    def __init__(self, span: OtelSpan) -> None:
        self._span = span

    @property
    def trace_id(self) -> str:
        """Of the trace that it belongs to, 32 hex digits."""
        return format_trace_id(self._span.get_span_context().trace_id)

    def end(self, code: str, reason: str, ids: Mapping[str, str]) -> None:
        """End it: with which code, for which reason, and whose call it was."""
        self._span.set_attributes({f"memsvc.{name}": value for name, value in ids.items()})
        self._span.set_attribute("rpc.response.status_code", code)
        if reason:
            self._span.set_attribute("error.type", reason)
        if code in OUR_FAULT:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class Tracing:
    """Makes spans, and hands them to an exporter in the background.

    Args:
        exporter: where they go.
        share: of the traces that begin here, how many are kept; what a caller traces is kept with its trace.
        version: of this program.
    """

    def __init__(self, exporter: SpanExporter, share: float, version: str) -> None:
        resource = Resource.create({"service.name": "memsvc", "service.version": version})
        self._share = share
        # What is not kept never gets here: to be asked about it would cost the library as much as a call does.
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("memsvc", version)
        self._propagator = TraceContextTextMapPropagator()
        self._current: ContextVar[SpanContext | None] = ContextVar("memsvc-span", default=None)

    def begin(self, method: str, metadata: Sequence[tuple[str, str | bytes]]) -> Span | None:
        """Begin the span of a call, as a part of its caller's trace if that tells one; None if it is not kept.

        What is done in this task from now on, or is begun in it, is done for this call.
        """
        parent = next((value for key, value in metadata if key == PARENT and isinstance(value, str)), "")
        told = _PARENT.fullmatch(parent)
        if not (int(told["flags"], 16) & 1 if told else random.random() < self._share):  # noqa: S311  no secret
            return None
        span = self._tracer.start_span(
            method,
            self._propagator.extract({PARENT: parent}),
            SpanKind.SERVER,
            {"rpc.system.name": "grpc", "rpc.method": f"memsvc.v1.{method}"},
        )
        self._current.set(span.get_span_context())
        return Span(span)

    def current(self) -> SpanContext | None:
        """Return the call that this is done for."""
        return self._current.get()

    def took(self, what: str, began: float, ended: float, request: object, figures: Mapping[str, float]) -> None:
        """Make a span of work that is done, by `time.monotonic`, for a request or else for the current one."""
        parent = request if isinstance(request, SpanContext) else self._current.get()
        if parent is None:
            return
        epoch = time.time_ns() - time.monotonic_ns()
        context = set_span_in_context(NonRecordingSpan(parent))
        span = self._tracer.start_span(what, context, attributes=figures, start_time=epoch + int(began * 1e9))
        span.end(epoch + int(ended * 1e9))

    def close(self) -> None:
        """Hand over what is left, as far as it is taken at once. Blocks."""
        self._provider.force_flush(FLUSH_MS)
        self._provider.shutdown()


def otlp(endpoint: str) -> SpanExporter:
    """Return what sends spans to a collector, by OTLP over gRPC; https:// is TLS, http:// is not.

    OTEL_EXPORTER_OTLP_HEADERS and the others of the standard say the rest.
    """
    return OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"))
