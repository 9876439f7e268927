"""Keys and values: of one answer, in a window that slides, and of each tenant's last prompt, to go on from."""

import copy
import threading
from collections import OrderedDict
from typing import Any, NamedTuple
from weakref import WeakSet

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer


class WindowLayer(DynamicSlidingWindowLayer):  # type: ignore[no-untyped-call]  # a hook of theirs
    """Keys and values of a layer that attends to everything, in a window: the newest, as many as the window has."""

    # For the library: masks of layers like this one are those of full attention.
    is_sliding = False


class Prefix(NamedTuple):
    """What was computed of the start of a prompt."""

    ids: Tensor
    """[n], on the processor."""
    layers: list[Any]
    """Of the cache. Their tensors are never written to: a cache that grows makes new ones."""

    @property
    def nbytes(self) -> int:
        """Bytes that it keeps."""
        tensors: list[Tensor] = [t for layer in self.layers for t in (layer.keys, layer.values)]
        return sum(t.untyped_storage().nbytes() for t in tensors) + self.ids.nbytes


def new_cache(config: Any, window: int | None) -> Any:
    """Return an empty cache for a model.

    Args:
        config: of the model.
        window: layers keep this many of the newest keys; None for all that the model attends to.
    """
    cache = DynamicCache(config=config)
    if window is not None:
        cache.layers = [WindowLayer(window) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def can_be_cut(cache: Any) -> bool:
    """Whether all of a cache is keys and values by position, so that its end can be cut off."""
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer, WindowLayer) for layer in cache.layers)


class Prefixes:
    """The last prompt of each tenant, within a bound of bytes over all; the tenant not heard of longest goes first.

    What is kept of one tenant is never given to another. Every method may be called on any thread.

    Args:
        max_bytes: the bound; 0 keeps nothing.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Prefix] = OrderedDict()
        self._keepers: WeakSet[Keeper] = WeakSet()

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        with self._lock:
            return self._count()

    def keeper(self, tenant: str) -> "Keeper":
        """Return what a call of a tenant may find and keep; nothing for a tenant without a name."""
        keeper = Keeper(self, tenant)
        with self._lock:
            self._keepers.add(keeper)
        return keeper

    def forget(self, tenant: str) -> None:
        """Drop what is kept of a tenant, and keep nothing of its calls under way."""
        with self._lock:
            self._kept.pop(tenant, None)
            for keeper in self._keepers:
                keeper.open = keeper.open and keeper.tenant != tenant

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._kept.clear()

    def find(self, keeper: "Keeper") -> Prefix | None:
        """Return what is kept of a keeper's tenant."""
        with self._lock:
            if not keeper.open or keeper.tenant not in self._kept:
                return None
            self._kept.move_to_end(keeper.tenant)
            return self._kept[keeper.tenant]

    def keep(self, keeper: "Keeper", prefix: Prefix) -> None:
        """Keep this of a keeper's tenant, unless it was forgotten meanwhile."""
        with self._lock:
            if not keeper.open or prefix.nbytes > self._max_bytes:
                return
            self._kept[keeper.tenant] = prefix
            self._kept.move_to_end(keeper.tenant)
            while self._count() > self._max_bytes:
                self._kept.popitem(last=False)

    def _count(self) -> int:
        return sum(prefix.nbytes for prefix in self._kept.values())


class Keeper:
    """One call's part in what is kept of its tenant.

    Attributes:
        open: whether it finds and keeps anything; no longer once the tenant was forgotten.
    """

    def __init__(self, prefixes: Prefixes, tenant: str) -> None:
        self._prefixes, self.tenant = prefixes, tenant
        self.open = bool(tenant)

    def resume(self, cache: Any, ids: Tensor, block: int) -> int:
        """Fill an empty cache with what is known of a prompt; return how many tokens that is, a multiple of `block`.

        At least one token is left to compute. Nothing is known of what was computed in a window of another length.
        """
        prefix = self._prefixes.find(self)
        if prefix is None or [*map(_window, prefix.layers)] != [*map(_window, cache.layers)]:
            return 0
        shared = min(len(prefix.ids), len(ids) - 1)
        differ = torch.nonzero(prefix.ids[:shared] != ids[:shared])
        known = (int(differ[0]) if len(differ) else shared) // block * block
        surplus = len(prefix.ids) - known
        if not known or (surplus and any(_dropped(layer) for layer in prefix.layers)):
            return 0
        cache.layers = [copy.copy(layer) for layer in prefix.layers]
        if surplus:
            cache.crop(-surplus)
        return known

    def keep(self, cache: Any, ids: Tensor) -> None:
        """Keep a cache, as it is now, that was computed of these tokens."""
        if self.open and can_be_cut(cache):
            self._prefixes.keep(self, Prefix(ids.clone(), [copy.copy(layer) for layer in cache.layers]))


def _window(layer: Any) -> int | None:
    """Return how many of the newest keys a layer keeps, None for all."""
    return layer.sliding_window if isinstance(layer, DynamicSlidingWindowLayer) else None


def _dropped(layer: Any) -> bool:
    """Whether keys have left a layer's window: what remains is no longer the start of anything."""
    return isinstance(layer, DynamicSlidingWindowLayer) and layer.get_seq_length() >= layer.sliding_window
