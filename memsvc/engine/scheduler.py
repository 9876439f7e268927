"""Whose work comes next: fair by tokens, not by requests. Pure: no tensor, no device, no clock.

Every tenant with waiting work has a virtual time, the tokens it was served since it last joined; the one furthest
behind goes next. A tenant that joins starts at the time of the one served last, so that idling earns no credit; one
that left a moment ago goes on from its own time, so that asking for little at a time earns none either.
"""

import heapq
from collections import deque
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(slots=True)
class _Queue(Generic[Item]):
    served: float
    items: deque[tuple[Item, int]] = field(default_factory=deque)


class Scheduler(Generic[Item]):
    """First in, first out within a tenant; fair by cost between tenants."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue[Item]] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._ties = 0
        self._now = 0.0
        self.served = 0
        """Tokens served, of all tenants."""
        self._left: dict[str, float] = {}
        """Times of tenants without work that are ahead of now."""

    def __bool__(self) -> bool:
        return bool(self._queues)

    def push(self, uid: str, item: Item, cost: int) -> None:
        """Queue one item of an estimated cost in tokens."""
        queue = self._queues.get(uid)
        if queue is None:
            queue = self._queues[uid] = _Queue(served=max(self._now, self._left.pop(uid, 0.0)))
            self._offer(uid, queue)
        queue.items.append((item, cost))

    def take(self, budget: int, passing_over: Container[str] = ()) -> list[tuple[str, Item]]:
        """Take items worth about the budget, one at least, at each turn from whoever is furthest behind.

        Some may be passed over this time: they keep their place.
        """
        taken: list[tuple[str, Item]] = []
        passed: list[tuple[float, int, str]] = []
        while self._heap and (budget > 0 or not taken):
            entry = heapq.heappop(self._heap)
            served, _, uid = entry
            if uid in passing_over:
                passed.append(entry)
                continue
            self._now = max(self._now, served)
            queue = self._queues[uid]
            item, cost = queue.items.popleft()
            taken.append((uid, item))
            budget -= cost
            self.served += cost
            queue.served += max(cost, 1)
            if queue.items:
                self._offer(uid, queue)
            else:
                del self._queues[uid]
                self._left[uid] = queue.served
        for entry in passed:
            heapq.heappush(self._heap, entry)
        self._left = {uid: served for uid, served in self._left.items() if served > self._now}
        return taken

    def drop(self, uid: str) -> None:
        """Forget a tenant's waiting items."""
        if self._queues.pop(uid, None) is not None:
            self._heap = [entry for entry in self._heap if entry[2] != uid]
            heapq.heapify(self._heap)

    def _offer(self, uid: str, queue: _Queue[Item]) -> None:
        self._ties += 1
        heapq.heappush(self._heap, (queue.served, self._ties, uid))

    def check_integrity(self) -> None:
        """Assert what must always hold.

        Raises:
            RuntimeError: it does not.
        """
        if sorted(entry[2] for entry in self._heap) != sorted(self._queues) or not all(
            queue.items for queue in self._queues.values()
        ):
            raise RuntimeError("the scheduler contradicts itself")
