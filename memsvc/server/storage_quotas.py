"""What tenants hold, against what they may: entries that recall can return, and bytes in the store."""

from collections import Counter
from contextlib import ExitStack

from memsvc.engine.reads import Reads
from memsvc.errors import ResourceExhaustedError
from memsvc.server.quotas import REASON, Quotas, Scope


class StorageQuotas:
    """Lets in what fits. Lives on the event loop.

    Args:
        quotas: says how much a tenant may hold.
        reads: says how much it does.
    """

    def __init__(self, quotas: Quotas, reads: Reads) -> None:
        self._quotas, self._reads = quotas, reads
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
        limits = self._quotas.of_tenant(tenant)
        with ExitStack() as room:
            if limits.entries and entries:
                held = await self._reads.held_entries(tenant)
                _check("entries", limits.entries, held + self._entries[tenant], entries)
                self._hold(room, self._entries, tenant, entries)
            if limits.bytes and size:
                held = await self._reads.held_bytes(tenant)
                _check("bytes", limits.bytes, held + self._bytes[tenant], size)
                self._hold(room, self._bytes, tenant, size)
            return room.pop_all()

    @staticmethod
    def _hold(room: ExitStack, counter: Counter[str], tenant: str, more: int) -> None:
        def give_back() -> None:
            counter[tenant] -= more
            if not counter[tenant]:
                del counter[tenant]

        counter[tenant] += more
        room.callback(give_back)


def _check(quota: str, limit: int, held: int, more: int) -> None:
    if held + more > limit:
        raise ResourceExhaustedError(
            f"the tenant may hold {limit:,} {quota} and holds {held:,}; {more:,} more do not fit: forget some",
            retry_after=None,
            reason=REASON,
            metadata={"quota": quota, "scope": Scope.TENANT.value, "limit": str(limit), "held": str(held)},
        )
