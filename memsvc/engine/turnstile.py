"""How much of one tenant is under way at once: what passes that waits its turn, and only that tenant's.

Whatever many calls of one tenant ask of the event loop, of the engine's thread and of the store's committer, the others
wait for a few of them, not for all.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from memsvc.errors import ResourceExhaustedError

RETRY_S = 0.5


@dataclass(slots=True)
class _Line:
    """One tenant's calls."""

    inside: int = 0
    """Weight of those that passed and are under way."""
    waiting: deque[tuple[int, asyncio.Future[None]]] = field(default_factory=deque)
    """Weights of those that wait, and what wakes them, in the order in which they came."""


class Turnstile:
    """Lets a tenant's calls pass in the order in which they came. Lives on the event loop.

    Args:
        capacity: the weight that may be under way of each tenant. What is heavier passes alone.
        most_waiting: calls of each tenant that may wait; None where something else bounds them.
    """

    def __init__(self, capacity: int, most_waiting: int | None = None) -> None:
        self._capacity, self._most_waiting = capacity, most_waiting
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def passing(self, tenant: str, weight: int = 1) -> AsyncIterator[None]:
        """Wait for the tenant's turn, and hold it.

        Raises:
            ResourceExhaustedError: too many of its calls wait already.
        """
        weight = min(weight, self._capacity)
        line = self._lines.setdefault(tenant, _Line())
        if line.waiting or line.inside + weight > self._capacity:
            await self._wait(tenant, line, weight)
        else:
            line.inside += weight
        try:
            yield
        finally:
            self._leave(tenant, line, weight)

    async def _wait(self, tenant: str, line: _Line, weight: int) -> None:
        """Return once the weight counts as inside."""
        if self._most_waiting is not None and len(line.waiting) >= self._most_waiting:
            raise ResourceExhaustedError(
                "too many calls of this tenant wait for each other; try again shortly",
                retry_after=RETRY_S,
                reason="TENANT_BUSY",
                metadata={"waiting": str(len(line.waiting))},
            )
        place = (weight, asyncio.get_running_loop().create_future())
        line.waiting.append(place)
        try:
            await place[1]
        except asyncio.CancelledError:
            if place in line.waiting:
                line.waiting.remove(place)
                self._leave(tenant, line, 0)
            else:  # its turn came as it left
                self._leave(tenant, line, weight)
            raise

    def _leave(self, tenant: str, line: _Line, weight: int) -> None:
        line.inside -= weight
        while line.waiting and line.inside + line.waiting[0][0] <= self._capacity:
            weight, turn = line.waiting.popleft()
            if not turn.done():  # else it is cancelled, and about to take itself out
                line.inside += weight
                turn.set_result(None)
        if not line.inside and not line.waiting:
            self._lines.pop(tenant, None)

    @property
    def tenants(self) -> int:
        """How many have calls here."""
        return len(self._lines)
