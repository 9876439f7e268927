"""Which process a client asks: what its caller configured, and what processes told it since. No I/O."""

from collections import OrderedDict
from threading import Lock
from typing import TypeVar

MOST_TENANTS = 10_000
"""Tenants whose owner is kept in mind."""
MOST_OWNERS = 64
"""Owners beside the configured addresses that are asked when none of those answers."""

_Value = TypeVar("_Value")


class Routes:
    """Threads may share it.

    Args:
        targets: the configured addresses, the first of them to be asked first.
    """

    def __init__(self, targets: tuple[str, ...]) -> None:
        self.targets = targets
        self._current = targets[0]
        self._owners: OrderedDict[str, None] = OrderedDict()
        self._routes: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()

    def of(self, tenant: str | None) -> str:
        """Return the address to ask for a tenant; for None the one for whatever is no tenant's."""
        with self._lock:
            if tenant is None or tenant not in self._routes:
                return self._current
            self._routes.move_to_end(tenant)
            return self._routes[tenant]

    def learn(self, tenant: str | None, owner: str) -> None:
        """Take note of who owns a tenant, the latest word counting."""
        with self._lock:
            if tenant is not None:
                _touch(self._routes, tenant, owner, MOST_TENANTS)
            if owner not in self.targets:
                _touch(self._owners, owner, None, MOST_OWNERS)

    def leave(self, tenant: str | None, address: str) -> None:
        """Ask another process next: this one did not serve a call."""
        with self._lock:
            if tenant is not None and self._routes.get(tenant) == address:
                del self._routes[tenant]
            if address == self._current:
                ring = (*self.targets, *self._owners)
                after = ring[ring.index(address) + 1 :] if address in ring else ()
                self._current = after[0] if after else self.targets[0]
            self._owners.pop(address, None)


def _touch(kept: OrderedDict[str, _Value], key: str, value: _Value, most: int) -> None:
    """Make an item the newest one, and drop the oldest beyond the most."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
