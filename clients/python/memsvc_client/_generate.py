"""The blocking answer: tried again until its first event came, and never after."""

import time
from collections.abc import Generator

import grpc

from memsvc.v1.generate_pb2 import GenerateRequest
from memsvc_client import _replies
from memsvc_client._peers import Peers
from memsvc_client._status import to_error
from memsvc_client._trip import Trip
from memsvc_client.types import Token


def generate(peers: Peers, trip: Trip, request: GenerateRequest) -> Generator[Token, None, None]:
    """Yield the answer's events. Closing the generator ends the call, and with it the model's work."""
    while True:
        address, begun = trip.begin(), False
        with peers.at(address) as peer:
            call = peer.generate.Generate(request, timeout=trip.remaining)
            try:
                for message in call:
                    begun = True
                    yield _replies.token(message)
                return
            except grpc.RpcError as error:
                if begun:
                    raise to_error(error, address) from error
                failure = error
            finally:
                call.cancel()
        time.sleep(trip.pause(failure))
