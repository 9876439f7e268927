"""How a client reaches its server: the one place that opens channels."""

import grpc
import grpc.aio

MAX_REPLY_BYTES = 16 * 1024 * 1024


def open_channel(target: str) -> grpc.Channel:
    """Return a blocking channel. Nothing connects until the first call."""
    return grpc.insecure_channel(target, options=_options())


def open_aio_channel(target: str) -> grpc.aio.Channel:
    """Return an asyncio channel of the running loop. Nothing connects until the first call."""
    return grpc.aio.insecure_channel(target, options=_options())


def _options() -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
        # Find a server that comes back soon: by default gRPC waits up to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        # A memsvc server takes a ping every ten seconds; gRPC's default takes one in five minutes for abuse.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Each client has a connection of its own, and none leaves the machine by way of a proxy.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
    ]
