"""The blocking watch: a tenant's events, one call for each connection that it takes."""

import time
from collections.abc import Generator

import grpc

from memsvc_client._peers import Peers
from memsvc_client._watching import Watching
from memsvc_client.types import Event


def watch(peers: Peers, watching: Watching) -> Generator[Event, None, None]:
    """Yield events without end, reconnecting where the stream breaks. Closing the generator cancels the call."""
    while True:
        failure = None
        address, request = watching.restart()
        with peers.at(address) as peer:
            call = peer.tenants.WatchTenant(request)
            try:
                for message in call:
                    if event := watching.receive(message):
                        yield event
            except grpc.RpcError as error:
                failure = error
            finally:
                call.cancel()
        time.sleep(watching.pause(failure))
