"""Tokens that are written, against what they may be: counted once a text is encoded, and paid for by what follows."""

import asyncio
from collections.abc import Callable

from memsvc.server.principal import counted
from memsvc.server.quotas import Quotas, written


class WritingQuotas:
    """Counts the tokens of what is committed for its tenant and for whoever wrote it. Lives on the event loop.

    Args:
        quotas: say how many there may be, and hold back what follows.
    """

    def __init__(self, quotas: Quotas) -> None:
        self._quotas, self._loop = quotas, asyncio.get_running_loop()

    def meter(self, tenant: str) -> Callable[[int], None] | None:
        """Return what to tell of the tokens of a record of this call, on any thread; None where nobody limits them."""
        principal = counted()
        if not self._quotas.limits(tenant, principal, written(0)):
            return None

        def count(tokens: int) -> None:
            self._loop.call_soon_threadsafe(self._quotas.charge, tenant, principal, written(tokens))

        return count
