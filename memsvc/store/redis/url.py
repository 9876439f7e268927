"""From a store's URL to connections, each for one purpose. No default of redis-py decides what may be sent twice."""

import socket
import ssl
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from redis.asyncio import (
    BlockingConnectionPool,
    Redis,
    RedisCluster,
    Sentinel,
    SentinelConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio import Connection as TcpConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff

from memsvc.store.redis.address import Address, Kind, is_url, parse

__all__ = ["Address", "Connection", "Purpose", "connect", "is_url", "parse"]

Connection: TypeAlias = Redis | RedisCluster
Purpose: TypeAlias = Literal["log", "reads", "bulk"]

CONNECT_S = 5.0
WAIT_S = 60.0
"""For one of a pool's connections to be free."""
CLUSTER_CONNECTIONS = 64
"""To one node. A cluster's client refuses what is beyond, where a pool waits: so there is room for every shard."""

_PROTOCOL = 2
"""RESP2: nothing comes on a connection but answers. The third's announcements are for services that move nodes."""

_KEEPALIVE_S = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""A peer that is gone without a word is known in half a minute, also on a connection that waits for nothing."""


@dataclass(frozen=True, slots=True)
class _Manner:
    """How one purpose uses its connections."""

    connections: int
    timeout_s: float
    """For one answer."""
    retries: int
    """How often redis-py sends a command again whose answer did not come."""
    ping_s: int
    """A connection that was idle for longer is tried with a PING first, and made anew if that fails; 0 for never."""

    def retry(self) -> Retry:
        """Return redis-py's form of it."""
        if not self.retries:
            return Retry(NoBackoff(), 0)
        return Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), self.retries)


_MANNERS: dict[Purpose, _Manner] = {
    # What is written is sent once: who sent it finds out whether it was done.
    "log": _Manner(connections=1, timeout_s=3.0, retries=0, ping_s=0),
    "reads": _Manner(connections=8, timeout_s=5.0, retries=3, ping_s=15),
    # An answer may wait behind megabytes that Redis flushes.
    "bulk": _Manner(connections=2, timeout_s=30.0, retries=0, ping_s=0),
}


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the primary that the sentinels name. Who asks for one too many waits."""

    async def aclose(self) -> None:
        """Close them, and those to the sentinels."""
        await super().aclose()
        await self.sentinel_manager.aclose()


def connect(address: Address, purpose: Purpose) -> Connection:
    """Return a client, which connects when it is first used; close it with `aclose`.

    Args:
        address: of Redis.
        purpose: "log" for what must be sent no more than once: one connection, which its users share in turn. "reads"
            for what may be sent again. "bulk" for megabytes, sent once.
    """
    manner = _MANNERS[purpose]
    if address.kind is Kind.CLUSTER:
        return RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],
            max_connections=CLUSTER_CONNECTIONS,
            username=address.username or None,
            password=address.password or None,
            ssl=address.tls,
            **_timing(manner),
            **_tcp(),
            **_tls(address),
        )
    settings = {
        **_timing(manner),
        "db": address.db,
        "username": address.username or None,
        "password": address.password or None,
        "max_connections": manner.connections,
        "timeout": WAIT_S,
    }
    if address.kind is Kind.UNIX:
        del settings["socket_connect_timeout"]
        pool = BlockingConnectionPool(connection_class=UnixDomainSocketConnection, path=address.path, **settings)
        return Redis.from_pool(pool)
    if address.kind is Kind.SENTINEL:
        primary: Redis = _sentinels(address).master_for(
            address.service, connection_pool_class=_SentinelPool, ssl=address.tls, **settings, **_tcp(), **_tls(address)
        )
        return primary
    host, port = address.hosts[0]
    connection_class = SSLConnection if address.tls else TcpConnection
    pool = BlockingConnectionPool(
        connection_class=connection_class, host=host, port=port, **settings, **_tcp(), **_tls(address)
    )
    return Redis.from_pool(pool)


def _sentinels(address: Address) -> Sentinel:
    settings = {
        **_timing(_MANNERS["reads"]),
        **_tcp(),
        **_tls(address),
        "ssl": address.tls,
        "username": address.sentinel_username or None,
        "password": address.sentinel_password or None,
    }
    made: Any = Sentinel  # it has no types
    sentinels: Sentinel = made(address.hosts, sentinel_kwargs=settings)
    return sentinels


def _timing(manner: _Manner) -> dict[str, Any]:
    return {
        "protocol": _PROTOCOL,
        "retry": manner.retry(),
        "socket_timeout": manner.timeout_s,
        "socket_connect_timeout": CONNECT_S,
        "health_check_interval": manner.ping_s,
    }


def _tcp() -> dict[str, Any]:
    options = {getattr(socket, name): value for name, value in _KEEPALIVE_S.items() if hasattr(socket, name)}
    return {"socket_keepalive": True, "socket_keepalive_options": options}


def _tls(address: Address) -> dict[str, Any]:
    if not address.tls:
        return {}
    return {
        "ssl_ca_certs": address.ca_certs or None,
        "ssl_certfile": address.certfile or None,
        "ssl_keyfile": address.keyfile or None,
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "ssl_min_version": ssl.TLSVersion.TLSv1_2,
    }
