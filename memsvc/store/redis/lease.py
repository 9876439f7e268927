"""A shard that this process owns, for as long as it renews its lease.

The lease says who may try; the epoch decides. Whoever acquires a shard counts the epoch up, and every write names it:
one that a pause has delayed past its lease is refused by Redis, whatever it believes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from memsvc.failpoints import hit
from memsvc.store.redis.committer import Committer, Place
from memsvc.store.redis.keys import ShardKeys
from memsvc.store.redis.scripts import script
from memsvc.store.redis.url import Address, Connection, connect
from memsvc.store.redis.wire import Wire

CERTAIN = 2 / 3
"""Part of a lease after which this process does not rely on it any more: clocks drift, replies take time."""
RENEW = 1 / 3
"""Part of a lease after which it is renewed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """One process's connections to one deployment."""

    address: Address
    """Where each shard's committer has a connection of its own made: their commits do not wait for one another."""
    leases: Connection
    """Nothing is repeated by itself."""
    reads: Connection
    bulk: Connection
    """Snapshots: megabytes that no commit waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """This process: its connections, and what the others know of it."""

    connections: Connections
    address: str
    """Where its clients reach it."""
    token: str
    """Its own, so that two processes of one address, one after the other, are two."""
    lease_s: float
    clock_us: Callable[[], int]
    """Microseconds since the epoch; may step back."""

    @property
    def name(self) -> str:
        """What a lease says."""
        return f"{self.address} {self.token}"

    @property
    def lease_ms(self) -> int:
        """The lease in milliseconds."""
        return int(self.lease_s * 1000)


class Lease:
    """One shard's lease, held.

    Args:
        process: whose it is.
        keys: of the shard.
        epoch: of this ownership.
        since: when it was asked for, by the monotonic clock.
        lost: called once the shard is not this process's any more.
    """

    def __init__(
        self, process: Process, keys: ShardKeys, epoch: int, since: float, lost: Callable[["Lease"], None]
    ) -> None:
        self.keys, self.epoch, self._process, self._since = keys, epoch, process, since
        self._held = True
        self._lost = lost
        self._log = Wire(connect(process.connections.address, "log"))
        self.committer = Committer(
            Place(self._log, process.connections.reads, keys, epoch, process.clock_us),
            is_held=lambda: self.is_held,
            lost=self._let_go,
        )

    @property
    def shard(self) -> int:
        """Which shard."""
        return self.keys.shard

    @property
    def is_held(self) -> bool:
        """Whether it is held for certain."""
        return self._held and time.monotonic() < self._since + CERTAIN * self._process.lease_s

    @property
    def is_due(self) -> bool:
        """Whether it is time to renew it."""
        return time.monotonic() >= self._since + RENEW * self._process.lease_s

    async def renew(self) -> None:
        """Hold it for longer, or learn that it is lost.

        Raises:
            RedisError: Redis did not answer.
        """
        hit("lease.renew")
        asked = time.monotonic()
        # On the shard's own connection: on one for all, many would wait for each other longer than a lease lasts.
        arguments = (self.epoch, self._process.name, self._process.lease_ms)
        if await self._log.call("renew", (self.keys.epoch, self.keys.lease), arguments):
            self._since = asked
        else:
            self._let_go()

    async def release(self) -> None:
        """Commit what waits, unless it is lost, and let another process have the shard at once.

        Raises:
            RedisError: Redis did not answer; the lease runs out by itself.
        """
        await self.committer.close()
        await self._log.aclose()
        await script(self._process.connections.leases, "release")([self.keys.epoch, self.keys.lease], [self.epoch])

    def _let_go(self) -> None:
        if self._held:
            self._held = False
            self._lost(self)


async def acquire(process: Process, keys: ShardKeys, predecessor: str, lost: Callable[[Lease], None]) -> Lease | str:
    """Become a shard's owner; return its lease, or who owns it. A predecessor's lease, by its address, counts no more.

    Raises:
        RedisError: Redis did not answer.
    """
    asked = time.monotonic()
    answer = await script(process.connections.leases, "acquire")(
        [keys.epoch, keys.lease, keys.commit],
        [process.name, process.lease_ms, predecessor and f"{predecessor} "],
    )
    if answer[0]:
        return Lease(process, keys, int(answer[0]), asked, lost)
    return address_of(answer[1])


def address_of(lease: bytes) -> str:
    """Return the address that a lease names."""
    return lease.decode().rpartition(" ")[0]
