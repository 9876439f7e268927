"""The slot table against a model of who may be where."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from memsvc.engine.slots import Lease, SlotState, SlotTable

SLOTS = 3
UIDS = st.sampled_from([f"t{i}" for i in range(6)])


class Slots(RuleBasedStateMachine):
    """Weights are modelled by the number of their last change; a slot must always hold its tenant's newest."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.table = SlotTable(SLOTS)
        self.kept: dict[str, int] = {}
        self.held: dict[int, tuple[str, int]] = {}
        self.loading: set[int] = set()
        """Slots to which a copy is under way."""
        self.generations: dict[int, int] = {}
        self.pinned: list[Lease] = []
        self.newest: dict[str, int] = {}

    def take(self, uid: str) -> Lease | None:
        acquired = self.table.acquire(uid)
        if acquired is None:
            assert len({lease.slot for lease in self.pinned}) == SLOTS
            assert self.table.find(uid) is None
            return None
        lease, load, evict = acquired
        assert all(other.uid == uid for other in self.pinned if other.slot == lease.slot), (
            "a pinned slot was given away"
        )
        if evict is not None:
            assert lease.slot not in self.loading, "there is nothing to save of what has not come"
            self.kept[evict] = self.held[lease.slot][1]
        if load:
            assert lease.generation > self.generations.get(lease.slot, -1), "the slot's older leases are good again"
            self.generations[lease.slot] = lease.generation
            self.held[lease.slot] = (uid, self.kept.get(uid, 0))
            self.loading.add(lease.slot)
        assert self.held[lease.slot] == (uid, self.newest.get(uid, 0)), "stale weights in the slot"
        self.pinned.append(lease)
        return lease

    @rule(target=leases, uid=UIDS)
    def acquire(self, uid: str):
        lease = self.take(uid)
        return multiple() if lease is None else lease

    @rule(uid=UIDS)
    def prefetch(self, uid: str) -> None:
        lease = self.take(uid)
        if lease is not None:
            self.let_go(lease)

    @rule(lease=leases)
    def arrive(self, lease: Lease) -> None:
        if lease in self.pinned:
            self.loading.discard(lease.slot)
            self.table.loaded(lease)

    @rule(lease=leases)
    def change(self, lease: Lease) -> None:
        if lease not in self.pinned:
            return
        if lease.slot in self.loading:
            with pytest.raises(RuntimeError, match="before its weights were there"):
                self.table.changed(lease)
            return
        self.newest[lease.uid] = self.newest.get(lease.uid, 0) + 1
        self.held[lease.slot] = (lease.uid, self.newest[lease.uid])
        self.table.changed(lease)
        assert self.table.is_dirty(lease.uid)

    @rule(lease=consumes(leases))
    def release(self, lease: Lease) -> None:
        if lease in self.pinned:
            self.let_go(lease)
        else:
            with pytest.raises(RuntimeError, match="stale"):
                self.table.release(lease)

    def let_go(self, lease: Lease) -> None:
        self.pinned.remove(lease)
        self.table.release(lease)

    @rule(uid=UIDS)
    def drop(self, uid: str) -> None:
        if any(lease.uid == uid for lease in self.pinned):
            with pytest.raises(RuntimeError):
                self.table.drop(uid)
        else:
            self.table.drop(uid)
            self.kept.pop(uid, None)
            self.newest.pop(uid, None)

    @rule(uid=UIDS)
    def offload(self, uid: str) -> None:
        if all(lease.uid != uid for lease in self.pinned):
            if self.table.is_dirty(uid):
                slot = self.table.find(uid)
                assert slot is not None
                self.kept[uid] = self.held[slot][1]
            self.table.drop(uid)
            assert self.table.find(uid) is None

    @invariant()
    def integrity(self) -> None:
        self.table.check_integrity()
        counts = self.table.counts()
        assert sum(counts.values()) == SLOTS
        assert counts[SlotState.LOADING] <= len(self.loading)
        assert len(self.table.tenants) == SLOTS - counts[SlotState.EMPTY]


Slots.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSlots = Slots.TestCase


def test_a_lease_of_an_older_generation_is_refused() -> None:
    table = SlotTable(1)
    old = table.acquire("a")
    assert old is not None
    table.loaded(old.lease)
    table.release(old.lease)
    new = table.acquire("b")
    assert new is not None
    assert new.lease.slot == old.lease.slot
    for use in (table.changed, table.loaded, table.release):
        with pytest.raises(RuntimeError, match="stale"):
            use(old.lease)


def test_the_least_recently_used_goes_first_and_only_changed_weights_are_saved() -> None:
    table = SlotTable(2)
    for uid in ("a", "b"):
        acquired = table.acquire(uid)
        assert acquired is not None
        table.loaded(acquired.lease)
        if uid == "a":
            table.changed(acquired.lease)
        table.release(acquired.lease)
    third = table.acquire("c")
    assert third is not None
    assert third.evict == "a"
    fourth = table.acquire("d")
    assert fourth is not None
    assert fourth.evict is None, "b was clean"
    assert table.acquire("e") is None
    assert table.counts()[SlotState.EMPTY] == 0
