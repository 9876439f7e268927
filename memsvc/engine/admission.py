"""How many bytes of text may wait to be applied, per tenant and in all; past that, a write is refused or waits."""

import asyncio
from collections.abc import Sequence

from memsvc.engine.opened import OpenTenant
from memsvc.errors import ResourceExhaustedError
from memsvc.store.types import Payload

RETRY_S = 0.5


class Admission:
    """Counts what is on its way from the writers to the views.

    Args:
        tenant_bytes: what may wait of one tenant.
        total_bytes: what may wait of all.
    """

    def __init__(self, tenant_bytes: int, total_bytes: int) -> None:
        self._tenant_bytes, self._total_bytes = tenant_bytes, total_bytes
        self._queued = 0
        self._waiting: dict[asyncio.Future[None], None] = {}

    @property
    def queued(self) -> int:
        """Bytes that wait, of all tenants. May be asked on any thread."""
        return self._queued

    def admit(self, tenant: OpenTenant, payloads: Sequence[Payload]) -> None:
        """Count a batch in.

        Raises:
            ResourceExhaustedError: there is no room for it.
        """
        size = batch_size(payloads)
        self.check(tenant, size)
        self._count(tenant, size)

    def check(self, tenant: OpenTenant, size: int) -> None:
        """Return if there is room for so many bytes; count nothing.

        Raises:
            ResourceExhaustedError: there is none.
        """
        if not self._fits(tenant, size):
            raise ResourceExhaustedError(
                "too much text waits to be applied; try again shortly, or use WriteStream, which waits by itself",
                retry_after=RETRY_S,
                reason="QUEUE_FULL",
                metadata={"pending_bytes": str(_waiting(tenant)), "limit": str(self._tenant_bytes)},
            )

    async def wait(self, tenant: OpenTenant, payloads: Sequence[Payload]) -> None:
        """Wait until there is room for a batch, and count it in."""
        size = batch_size(payloads)
        while not self._fits(tenant, size) and tenant.failure is None:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[future] = None
            try:
                await future
            finally:
                self._waiting.pop(future, None)
        self._count(tenant, size)

    def _count(self, tenant: OpenTenant, size: int) -> None:
        tenant.admitted_bytes += size
        self._queued += size

    def release(self, tenant: OpenTenant, size: int) -> None:
        """Count bytes of a tenant out, as far as it has any: they are applied, were never appended, or it is closed."""
        size = min(size, tenant.admitted_bytes)
        tenant.admitted_bytes -= size
        self._queued -= size
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def window(self, tenant: OpenTenant) -> int:
        """Return how many bytes the tenant may write now without waiting."""
        return max(0, min(self._tenant_bytes - _waiting(tenant), self._total_bytes - self._queued))

    def _fits(self, tenant: OpenTenant, size: int) -> bool:
        if tenant.settling:
            return False
        # An empty queue takes any batch: a message bounds its size.
        waiting = _waiting(tenant)
        mine = not waiting or waiting + size <= self._tenant_bytes
        return mine and (not self._queued or self._queued + size <= self._total_bytes)


def _waiting(tenant: OpenTenant) -> int:
    """Return how much of a tenant waits: what it was promised room for, or what its log has to be folded again."""
    return max(tenant.admitted_bytes, tenant.pending_bytes)


def batch_size(payloads: Sequence[Payload]) -> int:
    """Return the bytes that a batch will wait with."""
    return sum(len(payload.data) for payload in payloads)
