"""How a client reaches a server: the one place that opens channels."""

import grpc
import grpc.aio

from memsvc_client._addresses import is_host_and_port

MAX_REPLY_BYTES = 16 * 1024 * 1024


def open_channel(address: str) -> grpc.Channel:
    """Return a blocking channel. Nothing connects until the first call."""
    return grpc.insecure_channel(_uri(address), options=_options())


def open_aio_channel(address: str) -> grpc.aio.Channel:
    """Return an asyncio channel of the running loop. Nothing connects until the first call."""
    return grpc.aio.insecure_channel(_uri(address), options=_options())


def _uri(address: str) -> str:
    # gRPC would take a host that is called `unix` for a scheme, and its port for a file.
    return f"dns:///{address}" if is_host_and_port(address) else address


def _options() -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
        # Find a server that comes back soon: by default gRPC waits up to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        # A machine that is gone refuses nothing. Give it up while a call still has time to ask another: not after 20 s.
        ("grpc.min_reconnect_backoff_ms", 5_000),
        # A memsvc server takes a ping every ten seconds; gRPC's default takes one in five minutes for abuse.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Each client has a connection of its own, and none leaves the machine by way of a proxy.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
    ]
