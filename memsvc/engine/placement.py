"""Where the weights of the tenants of one shape are: in a slot, in host memory, or nowhere, as nothing was learnt.

Where slots are host memory themselves, weights move; else a copy stays behind until those in the slot change.
Copies between slots and host memory may still be under way. Whatever computes with a slot is ordered after the copies
that touch it, and host memory is read once its own copy is finished.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from memsvc.engine.slots import Lease, SlotState, SlotTable
from memsvc.memory.config import MemoryConfig
from memsvc.memory.device import Copy, Device
from memsvc.memory.state import HostWeights, MemoryStack


@dataclass(slots=True)
class _Held:
    """Weights in host memory."""

    weights: HostWeights
    copy: Copy | None = None
    """What fills them, until it is known to be done."""


class Placement:
    """Slots of one shape, and the host's copies of the weights that are not, or not only, in them.

    Args:
        config: layers, width and seed count.
        slots: how many.
        device: where they live.
    """

    def __init__(self, config: MemoryConfig, slots: int, device: Device) -> None:
        self.stack = MemoryStack(config, slots, device=device)
        self._apart = device.apart
        self.loads = 0
        """Weights that were copied into slots."""
        self._table = SlotTable(slots)
        self._held: dict[str, _Held] = {}
        self._copies: dict[int, Copy] = {}
        """The last copy to or from each slot that nothing was ordered after yet."""
        self._touched: set[int] = set()
        """Slots that take memory of their own."""

    # --- slots ----------------------------------------------------------------------------------------------------

    def lease(self, uid: str) -> Lease:
        """Pin the tenant's slot, with its weights in it for whatever is computed from now on.

        Raises:
            RuntimeError: all slots are pinned.
        """
        lease = self._acquire(uid)
        if lease is None:
            raise RuntimeError(f"all of {len(self._table)} slots are pinned")
        self._settle(lease)
        return lease

    def release(self, lease: Lease) -> None:
        """Take the pin away."""
        self._table.release(lease)

    def changed(self, lease: Lease) -> None:
        """The weights in a slot are the newest now."""
        self._table.changed(lease)
        self._touched.add(lease.slot)
        self._held.pop(lease.uid, None)

    def prefetch(self, uids: Iterable[str]) -> None:
        """Begin to bring weights into slots, as far as slots are free of pins."""
        for uid in uids:
            if self._table.find(uid) is None:
                lease = self._acquire(uid)
                if lease is None:
                    return
                if not self._apart:
                    self._settle(lease)
                self._table.release(lease)

    def offload(self, uid: str) -> None:
        """Move the tenant's weights to host memory, if they are in a slot."""
        slot = self._table.find(uid)
        if slot is not None:
            if self._table.is_dirty(uid):
                self._save(uid, slot)
            self._table.drop(uid)
            if not self._apart:
                self._clear(slot)

    def remove(self, uid: str) -> None:
        """Forget the tenant's weights: nothing of them stays in any slot.

        Raises:
            RuntimeError: the slot is pinned.
        """
        slot = self._table.find(uid)
        self._table.drop(uid)
        self._held.pop(uid, None)
        if slot is not None:
            self._clear(slot)

    def _acquire(self, uid: str) -> Lease | None:
        acquired = self._table.acquire(uid)
        if acquired is None:
            return None
        lease, load, evict = acquired
        try:
            if evict is not None:
                self._save(evict, lease.slot)
            if load:
                self._load(lease)
        except BaseException:
            self._table.release(lease)
            self._table.drop(uid)
            raise
        return lease

    def _settle(self, lease: Lease) -> None:
        """Have the weights in the slot for whatever is computed from now on; where they move, no copy stays behind."""
        self._order(lease.slot)
        self._table.loaded(lease)
        if lease.uid in self._held and not self._apart:
            self.changed(lease)

    def _load(self, lease: Lease) -> None:
        if (held := self._held.get(lease.uid)) is None:
            self._clear(lease.slot)
        else:
            self._copies[lease.slot] = self.stack.restore(lease.slot, held.weights)
            self._touched.add(lease.slot)
            self.loads += 1

    def _clear(self, slot: int) -> None:
        self._order(slot)
        self.stack.clear(slot)
        self._touched.discard(slot)

    def _save(self, uid: str, slot: int) -> None:
        weights, copy = self.stack.save(slot)
        self._held[uid], self._copies[slot] = _Held(weights, copy), copy

    def _order(self, slot: int) -> None:
        """Have what is computed with a slot from now on come after the copies that touch it."""
        if (copy := self._copies.pop(slot, None)) is not None:
            copy.order()

    def __contains__(self, uid: str) -> bool:
        return uid in self._held or self.is_hot(uid)

    def is_hot(self, uid: str) -> bool:
        """Whether the tenant has a slot."""
        return self._table.find(uid) is not None

    # --- host memory ----------------------------------------------------------------------------------------------

    def take(self, uid: str, packed: bytes) -> None:
        """Take the weights of a tenant that has none here.

        Raises:
            DataLossError: they are damaged, or of another shape.
        """
        self._held[uid] = _Held(self.stack.unpack(packed))

    def pack(self, uid: str) -> bytes | None:
        """Return the tenant's newest weights, packed; None where it has none here."""
        if (held := self._held.get(uid)) is not None:
            if held.copy is not None:
                held.copy.finish()
                held.copy = None
            return self.stack.pack(held.weights)
        slot = self._table.find(uid)
        return None if slot is None else self.stack.dump(slot)

    # --- figures --------------------------------------------------------------------------------------------------

    @property
    def hot(self) -> int:
        """Tenants that have a slot."""
        return len(self._table.tenants)

    @property
    def slots(self) -> dict[SlotState, int]:
        """How many slots are in each state."""
        return self._table.counts()

    @property
    def host_bytes(self) -> int:
        """What weights take of the host's memory."""
        return (len(self._held) + (0 if self._apart else len(self._touched))) * self.stack.slot_bytes

    def bytes_of(self, uid: str) -> int:
        """Return what one tenant's weights take of it."""
        in_slot = not self._apart and self._table.find(uid) in self._touched
        return ((uid in self._held) + in_slot) * self.stack.slot_bytes

    def check_integrity(self) -> None:
        """Assert what must always hold.

        Raises:
            RuntimeError: it does not.
        """
        self._table.check_integrity()
        both = [uid for uid in self._table.tenants if self._table.is_dirty(uid) and uid in self._held]
        if both:
            raise RuntimeError(f"the host's copy of the weights of {both[0]} is behind its slot's")
