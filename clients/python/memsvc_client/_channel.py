"""How a client reaches a server: the one place that opens channels."""

import grpc
import grpc.aio

from memsvc_client._addresses import is_host_and_port

MAX_REPLY_BYTES = 16 * 1024 * 1024
KEEPALIVE_MS = 10_000
"""Between pings, while a call waits."""


def open_channel(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    """Return a blocking channel, encrypted with these credentials. Nothing connects until the first call."""
    if credentials is None:
        return grpc.insecure_channel(_uri(address), options=_options())
    return grpc.secure_channel(_uri(address), credentials, options=_options())


def open_aio_channel(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    """Return an asyncio channel of the running loop, encrypted with these credentials, as `open_channel` does."""
    if credentials is None:
        return grpc.aio.insecure_channel(_uri(address), options=_options())
    return grpc.aio.secure_channel(_uri(address), credentials, options=_options())


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
        # A server that is frozen, or gone without a word, is left after 15 s, whatever a call's timeout. A server of
        # ours takes a ping every five seconds; gRPC's default takes one in five minutes for abuse.
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_MS // 2),
        # Without it the one above changes nothing: every ping has a minute to be answered.
        ("grpc.http2.ping_timeout_ms", KEEPALIVE_MS // 2),
        # gRPC sends two and then hardly any, unless there is something to send between them.
        ("grpc.http2.max_pings_without_data", 0),
        # Each client has a connection of its own, and none leaves the machine by way of a proxy.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
    ]
