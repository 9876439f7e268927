"""Which tenant's weights lie in which slot. Pure bookkeeping: no tensor, no device.

    EMPTY → LOADING → CLEAN ⇄ DIRTY → EMPTY

A slot carries a generation that grows with every new tenant in it. A lease names (slot, generation) and pins the
slot; a slot with a pin is never given to another tenant, and a lease of an older generation is refused, so that no
work ever reaches another tenant's weights. A slot may be LOADING for a while, pinned or not: whoever works with it
first waits for the weights and says that they are there.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple


class SlotState(Enum):
    """What lies in a slot."""

    EMPTY = auto()
    LOADING = auto()
    CLEAN = auto()
    DIRTY = auto()


class Lease(NamedTuple):
    """A pinned slot."""

    slot: int
    generation: int
    uid: str


class Acquired(NamedTuple):
    """A lease, and what the caller has to do before it uses it."""

    lease: Lease
    load: bool
    """The slot is the tenant's from now on: begin to put the weights in."""
    evict: str | None
    """The tenant whose weights lie in the slot and have to be saved first; None when there is nothing to save."""


@dataclass(slots=True)
class _Slot:
    state: SlotState = SlotState.EMPTY
    generation: int = 0
    uid: str | None = None
    pins: int = 0


class SlotTable:
    """Slots 0 … n−1, the least recently used unpinned one being given away first."""

    def __init__(self, slots: int) -> None:
        self._slots = [_Slot() for _ in range(slots)]
        self._by_uid: OrderedDict[str, int] = OrderedDict()
        """Oldest use first."""
        self._empty = list(range(slots - 1, -1, -1))

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def tenants(self) -> Collection[str]:
        """Those that have a slot."""
        return self._by_uid.keys()

    def find(self, uid: str) -> int | None:
        """Return the tenant's slot, without pinning it or counting it as a use."""
        return self._by_uid.get(uid)

    def acquire(self, uid: str) -> Acquired | None:
        """Look up or assign a slot and pin it, in one move. None when every slot is pinned."""
        index = self._by_uid.get(uid)
        if index is not None:
            slot = self._slots[index]
            slot.pins += 1
            self._by_uid.move_to_end(uid)
            return Acquired(Lease(index, slot.generation, uid), False, None)
        evict = None
        if self._empty:
            index = self._empty.pop()
        else:
            old = next((u for u, i in self._by_uid.items() if not self._slots[i].pins), None)
            if old is None:
                return None
            index = self._by_uid.pop(old)
            evict = old if self._slots[index].state is SlotState.DIRTY else None
        slot = self._slots[index]
        slot.state, slot.uid, slot.pins = SlotState.LOADING, uid, 1
        slot.generation += 1
        self._by_uid[uid] = index
        return Acquired(Lease(index, slot.generation, uid), True, evict)

    def loaded(self, lease: Lease) -> None:
        """The weights are in the slot."""
        slot = self._check(lease)
        if slot.state is SlotState.LOADING:
            slot.state = SlotState.CLEAN

    def changed(self, lease: Lease) -> None:
        """The weights in the slot are newer than any copy of them.

        Raises:
            RuntimeError: the slot is LOADING.
        """
        slot = self._check(lease)
        if slot.state is SlotState.LOADING:
            raise RuntimeError(f"slot {lease.slot} changed before its weights were there")
        slot.state = SlotState.DIRTY

    def is_dirty(self, uid: str) -> bool:
        """Whether the tenant's newest weights are in its slot alone."""
        index = self._by_uid.get(uid)
        return index is not None and self._slots[index].state is SlotState.DIRTY

    def release(self, lease: Lease) -> None:
        """Take the pin away."""
        self._check(lease).pins -= 1

    def drop(self, uid: str) -> None:
        """Empty the tenant's slot, if it has one; its weights are gone.

        Raises:
            RuntimeError: the slot is pinned.
        """
        index = self._by_uid.get(uid)
        if index is None:
            return
        slot = self._slots[index]
        if slot.pins:
            raise RuntimeError(f"slot {index} is pinned")
        del self._by_uid[uid]
        slot.state, slot.uid = SlotState.EMPTY, None
        slot.generation += 1
        self._empty.append(index)

    def counts(self) -> dict[SlotState, int]:
        """Return how many slots are in each state."""
        return {state: sum(s.state is state for s in self._slots) for state in SlotState}

    def _check(self, lease: Lease) -> _Slot:
        slot = self._slots[lease.slot]
        if (slot.generation, slot.uid) != (lease.generation, lease.uid) or slot.pins < 1:
            raise RuntimeError(f"a stale lease on slot {lease.slot}")
        return slot

    def check_integrity(self) -> None:
        """Assert what must always hold.

        Raises:
            RuntimeError: it does not.
        """
        held = {i for i, s in enumerate(self._slots) if s.state is not SlotState.EMPTY}
        ok = (
            held == set(self._by_uid.values())
            and len(held) == len(self._by_uid)
            and all(self._slots[i].uid == uid for uid, i in self._by_uid.items())
            and sorted(self._empty) == sorted(set(range(len(self._slots))) - held)
            and all(s.pins >= 0 and (s.uid is None) == (s.state is SlotState.EMPTY) for s in self._slots)
            and all(not s.pins for s in self._slots if s.state is SlotState.EMPTY)
        )
        if not ok:
            raise RuntimeError("the slot table contradicts itself")
