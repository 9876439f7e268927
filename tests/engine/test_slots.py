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
        self.pinned: list[Lease] = []
        self.newest: dict[str, int] = {}

    @rule(target=leases, uid=UIDS)
    def acquire(self, uid: str):
        acquired = self.table.acquire(uid)
        if acquired is None:
            assert len({lease.slot for lease in self.pinned}) == SLOTS
            assert self.table.find(uid) is None
            return multiple()
        lease, load, evict = acquired
        assert all(other.uid == uid for other in self.pinned if other.slot == lease.slot), (
            "a pinned slot was given away"
        )
        if evict is not None:
            self.kept[evict] = self.held[lease.slot][1]
        if load:
            self.held[lease.slot] = (uid, self.kept.get(uid, 0))
            self.table.loaded(lease)
        assert self.held[lease.slot] == (uid, self.newest.get(uid, 0)), "stale weights in the slot"
        self.pinned.append(lease)
        return lease

    @rule(lease=leases)
    def change(self, lease: Lease) -> None:
        if lease not in self.pinned:
            return
        self.newest[lease.uid] = self.newest.get(lease.uid, 0) + 1
        self.held[lease.slot] = (lease.uid, self.newest[lease.uid])
        self.table.changed(lease)

    @rule(lease=consumes(leases))
    def release(self, lease: Lease) -> None:
        if lease in self.pinned:
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

    @invariant()
    def integrity(self) -> None:
        self.table.check_integrity()
        assert sum(self.table.counts().values()) == SLOTS


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
