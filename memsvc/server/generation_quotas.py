"""What is generated, against what may be: an answer that would pass a quota is not begun; one under way waits."""

import asyncio

from memsvc.server.principal import counted
from memsvc.server.quotas import Quotas, generated


class GenerationQuotas:
    """Counts generated tokens for a tenant and for whoever calls. Lives on the event loop.

    Args:
        quotas: say how many there may be.
    """

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas

    def begin(self, tenant: str) -> None:
        """Let an answer begin: counts its first token.

        Raises:
            ResourceExhaustedError: a quota is used up.
        """
        self._quotas.admit(tenant, counted(), generated(1))

    async def wait(self, tenant: str) -> None:
        """Count another token, as soon as it may be."""
        principal = counted()
        while wait := self._quotas.wait(tenant, principal, generated(1)):  # noqa: ASYNC110  # others may be faster
            await asyncio.sleep(wait)

    def settle(self, tenant: str, tokens: int) -> None:
        """Count what an answer had beyond what was counted piece by piece."""
        if tokens > 0:
            self._quotas.charge(tenant, counted(), generated(tokens))
