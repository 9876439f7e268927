"""What tenants hold, against what they may: entries that recall can return, and bytes in the store."""

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

from memsvc.engine.results import Usage
from memsvc.errors import ResourceExhaustedError
from memsvc.server.quotas import REASON, Quotas, Scope


class StorageQuotas:
    """Lets in what fits. Lives on the event loop.

    Args:
        quotas: says how much a tenant may hold.
        usage: says how much it does, what is committed and not applied included.
    """

    def __init__(self, quotas: Quotas, usage: Callable[[str], Awaitable[Usage]]) -> None:
        self._quotas, self._usage = quotas, usage
        self._entries: Counter[str] = Counter()
        """On their way to the log, by tenant."""
        self._bytes: Counter[str] = Counter()

    async def reserve(self, tenant: str, entries: int, size: int) -> ExitStack:
        """Return room for what is about to be written; close it once that is committed, or is not to be.

        Args:
            tenant: whose.
            entries: how many are new.
            size: bytes of payload.

        Raises:
            NotFoundError: no such tenant.
            ResourceExhaustedError: it does not fit; no time lifts that, so it names no delay.
        """
        room, limits = ExitStack(), self._quotas.of_tenant(tenant)
        if limits.entries or limits.bytes:
            usage = await self._usage(tenant)
            _check("entries", limits.entries, usage.entries + self._entries[tenant], entries)
            _check("bytes", limits.bytes, usage.bytes + self._bytes[tenant], size)
            self._count(tenant, entries, size)
            room.callback(self._count, tenant, -entries, -size)
        return room

    def _count(self, tenant: str, entries: int, size: int) -> None:
        for counter, more in ((self._entries, entries), (self._bytes, size)):
            counter[tenant] += more
            if not counter[tenant]:
                del counter[tenant]


def _check(quota: str, limit: int, held: int, more: int) -> None:
    if limit and more and held + more > limit:
        raise ResourceExhaustedError(
            f"the tenant may hold {limit:,} {quota} and holds {held:,}; {more:,} more do not fit: forget some",
            retry_after=None,
            reason=REASON,
            metadata={"quota": quota, "scope": Scope.TENANT.value, "limit": str(limit), "held": str(held)},
        )
