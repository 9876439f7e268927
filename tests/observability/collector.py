"""A collector of traces, as OpenTelemetry's exporter finds one: OTLP over gRPC."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True)
class Seen:
    """One span."""

    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, object]
    began: int
    ended: int
    raw: bytes


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps every span."""

    def __init__(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._requests: list[trace_service_pb2.ExportTraceServiceRequest] = []

    def __enter__(self) -> "Collector":
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()

    def Export(self, request, context):  # noqa: N802  gRPC calls it so
        self._requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Seen]:
        return [seen(span) for span in self._each()]

    @property
    def resources(self) -> str:
        return " ".join(str(resource.resource) for request in self._requests for resource in request.resource_spans)

    def _each(self) -> Iterator[trace_pb2.Span]:
        for request in list(self._requests):
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    yield from scope.spans


def seen(span: trace_pb2.Span) -> Seen:
    return Seen(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        attributes={
            each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value") for each in span.attributes
        },
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        raw=span.SerializeToString(),
    )
