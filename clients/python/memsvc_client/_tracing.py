"""Spans around a client's calls, by OpenTelemetry, which is imported only where they are asked for.

Each call to a process has one, so a call that is tried again has several. Its trace goes on in the server: the span's
context travels as W3C `traceparent`. A span has ids and codes, never text.
"""

from __future__ import annotations  # gRPC's classes take type arguments in their stubs only

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from memsvc_client.errors import InvalidArgumentError

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

_Stub = TypeVar("_Stub")


class Tracer:
    """Puts spans around the calls of stubs.

    Args:
        provider: makes the spans; True for the one that the program has set.

    Raises:
        InvalidArgumentError: OpenTelemetry is not installed.
    """

    def __init__(self, provider: TracerProvider | bool) -> None:
        try:
            from opentelemetry import trace  # noqa: PLC0415  # an extra
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise InvalidArgumentError(
                "tracing: needs OpenTelemetry: pip install 'memsvc[otel]'", field="tracing"
            ) from error
        chosen = trace.get_tracer_provider() if isinstance(provider, bool) else provider
        self._trace, self._tracer = trace, chosen.get_tracer("memsvc_client")
        self._propagator = TraceContextTextMapPropagator()
        self._ending: set[asyncio.Task[None]] = set()

    def around(self, stub: _Stub) -> _Stub:
        """Put spans around the calls of a stub; return it."""
        service = type(stub).__name__.removesuffix("Stub")
        for method, call in vars(stub).items():
            setattr(stub, method, _Traced(self, f"{service}/{method}", call))
        return stub

    def begin(self, name: str) -> tuple[Span, dict[str, str]]:
        """Begin a call's span, in the trace of whatever is under way; return it, and the metadata that names it."""
        span = self._tracer.start_span(
            name,
            kind=self._trace.SpanKind.CLIENT,
            attributes={"rpc.system.name": "grpc", "rpc.method": f"memsvc.v1.{name}"},
        )
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._trace.set_span_in_context(span))
        return span, carrier

    def end(self, span: Span, code: grpc.StatusCode) -> None:
        """End it."""
        span.set_attribute("rpc.response.status_code", code.name)
        if code is not grpc.StatusCode.OK:
            span.set_status(self._trace.StatusCode.ERROR)
        span.end()

    def end_later(self, span: Span, call: grpc.aio.Call) -> None:
        """End the span of an asyncio call that is over: its code has to be awaited."""

        async def end() -> None:
            self.end(span, await call.code())

        task = asyncio.create_task(end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class _Traced:
    """Stands for one method of a stub."""

    def __init__(self, tracer: Tracer, name: str, call: Any) -> None:
        self._tracer, self._name, self._call = tracer, name, call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._traced(self._call, args, kwargs)

    def future(self, *args: Any, **kwargs: Any) -> Any:
        return self._traced(self._call.future, args, kwargs)

    def _traced(self, call: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        span, carrier = self._tracer.begin(self._name)
        kwargs["metadata"] = (*(kwargs.get("metadata") or ()), *carrier.items())
        try:
            made = call(*args, **kwargs)
        except grpc.RpcError as failure:
            self._tracer.end(span, failure.code())
            raise
        except BaseException:
            self._tracer.end(span, grpc.StatusCode.UNKNOWN)
            raise
        if isinstance(made, grpc.aio.Call):
            made.add_done_callback(lambda over: self._tracer.end_later(span, over))
        elif isinstance(made, grpc.Future):
            future: Any = made  # a call as well
            future.add_done_callback(lambda over: self._tracer.end(span, over.code()))
        else:
            self._tracer.end(span, grpc.StatusCode.OK)
        return made
