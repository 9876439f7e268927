"""A store whose operations are timed, whatever store it is."""

import time
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Protocol, cast

from memsvc.errors import DataLossError, UnavailableError
from memsvc.store.base import Store

OPERATIONS = frozenset(
    {
        *("append", "update", "delete", "forget", "feedback", "expire", "create_tenant", "delete_tenant", "erase"),
        *("get_tenant", "list_tenants", "head", "heads", "read", "entries", "entry_by_id", "scan"),
        *("save", "load", "check"),
    }
)
"""Those that are timed, by their names in `memsvc.store.base`: first what changes the log, then what reads it."""


class StoreObserver(Protocol):
    """Hears what a store did."""

    def took(self, what: str, began: float, ended: float, request: object = None, /, **figures: float) -> None:
        """See `memsvc.observer.Observer`."""
        ...

    def store_failed(self, operation: str) -> None:
        """Hear that the store could not do it."""
        ...


def watched(store: Store, observer: StoreObserver) -> Store:
    """Return the store, with an observer that hears of `store.<operation>`, done or failed."""
    return cast("Store", _Watched(store, observer))


class _Watched:
    """Stands for a store: it has the store's attributes, those of the operations wrapped."""

    def __init__(self, store: Store, observer: StoreObserver) -> None:
        self._store, self._observer = store, observer

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name in OPERATIONS:
            found = _timed(name, found, self._observer)
            setattr(self, name, found)  # the next time it is at hand
        return found


def _timed(
    name: str, method: Callable[..., Awaitable[object]], observer: StoreObserver
) -> Callable[..., Awaitable[object]]:
    what = f"store.{name}"

    @wraps(method)
    async def timed(*args: object, **kwargs: object) -> object:
        began = time.monotonic()
        try:
            return await method(*args, **kwargs)
        except (UnavailableError, DataLossError) as error:
            if error.reason != "NOT_OWNER":  # the store is well: another process serves the tenant
                observer.store_failed(name)
            raise
        finally:
            observer.took(what, began, time.monotonic())

    return timed
