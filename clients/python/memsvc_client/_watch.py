"""The blocking watch: a tenant's events, one call for each connection that it takes."""

import time
from collections.abc import Generator
from typing import TypeAlias

import grpc

from memsvc.v1 import tenants_pb2, types_pb2
from memsvc_client._watching import Watching
from memsvc_client.types import Event

_Method: TypeAlias = "grpc.UnaryStreamMultiCallable[tenants_pb2.WatchTenantRequest, types_pb2.Event]"


def watch(method: _Method, watching: Watching) -> Generator[Event, None, None]:
    """Yield events without end, reconnecting where the stream breaks. Closing the generator cancels the call."""
    while True:
        failure = None
        call = method(watching.restart())
        try:
            for message in call:
                if event := watching.receive(message):
                    yield event
        except grpc.RpcError as error:
            failure = error
        finally:
            call.cancel()
        time.sleep(watching.pause(failure))
