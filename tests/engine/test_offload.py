"""Offload changes when a memory steps and where its weights are, never what they become."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.engine import steps
from memsvc.engine.ingest import Ingest
from memsvc.engine.lane import Lane
from memsvc.engine.runner import Runner
from memsvc.engine.steps import OFFLOAD_WAIT_S
from memsvc.memory.config import MemoryConfig
from memsvc.memory.device import CpuDevice
from memsvc.memory.state import MemoryStack
from memsvc.memory.step import update
from memsvc.store.types import Record, RecordKind, StoredEntry
from memsvc.tenant.record import Content, encode_configure, encode_create, encode_payload
from memsvc.tenant.view import Segments, View
from tests.engine.conftest import create, running, state, turns
from tests.engine.fake_device import FakeDevice
from tests.engine.narrow import WIDTH, Narrow

CHUNK = 8
TENANTS = 5
UNIT_TOKENS = 100
FEW_TOKENS = 64
"""What makes steps due in the property, instead of 4,096."""


class World:
    """Tenants on one runner, whose logs are lists."""

    def __init__(self, *, slots: int, device, offload: bool) -> None:
        self.now = 0.0
        self.runner = Runner(Narrow(), slots, device)
        self.ingest = Ingest(self.runner, offload=offload, clock=lambda: self.now)
        self.logs: dict[str, list[Record]] = {}
        self.hashes: dict[tuple[str, int], str] = {}

    def attach(self, uid: str, view: View) -> None:
        def failed(error: BaseException) -> None:
            raise error

        self.ingest.attach(Lane(uid, view, lambda record: None, failed))

    def add(self, uid: str, kind: RecordKind, body: bytes = b"", text: str = "") -> None:
        if uid not in self.logs:
            self.logs[uid] = []
            self.attach(uid, View(WIDTH))
        seq = len(self.logs[uid]) + 1
        entries = ()
        if text:
            payload = encode_payload(f"e{seq}", Content(text=text))
            entries = (StoredEntry(number=seq, seq=seq, commit_us=seq, payload=payload),)
        record = Record(seq=seq, commit_us=seq, kind=kind, body=body, entries=entries)
        self.logs[uid].append(record)
        self.ingest.push(self.lane(uid), record)

    def create(self, uid: str, layers: int = 2) -> None:
        config = MemoryConfig(width=WIDTH, chunk=CHUNK, layers=layers)
        self.add(uid, RecordKind.CREATE, encode_create(config, self.runner.fingerprint))

    def write(self, uid: str, text: str) -> None:
        self.add(uid, RecordKind.WRITE, text=text)

    def lane(self, uid: str) -> Lane:
        lane = self.ingest.lane(uid)
        assert lane is not None
        return lane

    def view(self, uid: str) -> View:
        return self.lane(uid).view

    def note_hash(self, uid: str) -> None:
        """Note the state at the next boundary between two records."""

        def note() -> None:
            view = self.view(uid)
            self.hashes[uid, view.applied_seq] = view.state_hash(self.runner.weights(uid))

        self.ingest.at_boundary(uid, note)

    def reopen(self, uid: str) -> None:
        """At the next boundary, save the view, let it go, and take it in again with the rest of its log."""

        def reopen() -> None:
            segments = Segments(names=[], entries=0)
            snapshot = self.view(uid).snapshot(self.runner.weights(uid), "narrow", segments)
            self.ingest.detach(self.lane(uid))
            restored = View.restore(snapshot, WIDTH, "narrow")
            assert restored is not None
            self.attach(uid, restored[0])
            for record in self.logs[uid][snapshot.seq :]:
                self.ingest.push(self.lane(uid), record)

        self.ingest.at_boundary(uid, reopen)

    def run(self, units: int = 10**6) -> None:
        while units and self.ingest.unit(UNIT_TOKENS):
            units -= 1

    def drain(self) -> None:
        self.run()
        self.now += OFFLOAD_WAIT_S
        self.run()
        assert self.ingest.due_in() is None
        self.ingest.check_integrity()


def alone(log: list[Record]) -> dict[int, str]:
    """The state hash after each record of a tenant that has a runner for itself."""
    world = World(slots=1, device=CpuDevice(), offload=False)
    world.logs["t"] = []
    world.attach("t", View(WIDTH))
    hashes = {}
    for record in log:
        world.ingest.push(world.lane("t"), record)
        world.run()
        hashes[record.seq] = world.view("t").state_hash(world.runner.weights("t"))
    return hashes


TENANT = st.integers(0, TENANTS - 1).map("t{}".format)
TEXT = st.one_of(st.sampled_from(["acgtacgtacgtacgt", "catcatcat"]), st.text("acgt ", min_size=1, max_size=60))
ACTIONS = st.one_of(
    st.tuples(st.just("write"), TENANT, TEXT),
    st.tuples(st.just("write"), TENANT, TEXT),
    st.tuples(st.just("write"), TENANT, TEXT),
    st.tuples(st.just("query"), TENANT, TEXT),
    st.tuples(st.just("configure"), TENANT, st.sampled_from(["keep", "merge"])),
    st.tuples(st.sampled_from(["restart", "surprise", "norms", "hurry", "hash", "reopen"]), TENANT, st.just("")),
    st.tuples(st.just("units"), st.just(""), st.integers(1, 6)),
    st.tuples(st.just("sleep"), st.just(""), st.sampled_from([0.05, 0.1, 0.25])),
)


@settings(max_examples=80, deadline=None)
@given(
    actions=st.lists(ACTIONS, min_size=20, max_size=80),
    slots=st.integers(1, 3),
    offload=st.booleans(),
    late=st.one_of(st.none(), st.integers(0, 2**32)),
)
def test_every_state_is_that_of_a_tenant_alone(actions, slots, offload, late) -> None:
    device = CpuDevice() if late is None else FakeDevice(late)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "OFFLOAD_TOKENS", FEW_TOKENS)
        world = World(slots=slots, device=device, offload=offload)
        for i in range(TENANTS):
            world.create(f"t{i}", layers=2 + i % 2)
        world.run()
        for kind, uid, argument in actions:
            match kind:
                case "write":
                    world.write(uid, argument)
                case "query":
                    assert np.isfinite(world.runner.query(uid, argument).surprise).all()
                case "configure":
                    changes = {"theta": 0.01 * (1 + len(argument))}
                    world.add(uid, RecordKind.CONFIGURE, encode_configure(changes, {"duplicates": argument}))
                case "restart":
                    world.add(uid, RecordKind.RESTART)
                case "surprise":
                    assert np.isfinite(world.runner.tail_surprise(uid)).all()
                case "norms":
                    assert np.isfinite(world.runner.norms(uid)).all()
                case "hurry":
                    world.ingest.hurry(uid, len(world.logs[uid]))
                case "hash":
                    world.note_hash(uid)
                case "reopen":
                    world.reopen(uid)
                case "units":
                    world.run(argument)
                case "sleep":
                    world.now += argument
        world.drain()
        for uid in world.logs:
            world.note_hash(uid)
    if isinstance(device, FakeDevice):
        assert not device.hazards
    for uid, log in world.logs.items():
        expected = alone(log)
        noted = {seq: hash for (owner, seq), hash in world.hashes.items() if owner == uid}
        assert noted == {seq: expected[seq] for seq in noted}
        assert len(log) in noted


def test_weights_that_have_a_way_to_go_come_once_a_turn_and_not_with_every_chunk(monkeypatch) -> None:
    monkeypatch.setattr(steps, "OFFLOAD_TOKENS", FEW_TOKENS)
    world = World(slots=2, device=FakeDevice(), offload=True)
    for i in range(TENANTS):
        world.create(f"t{i}")
        world.write(f"t{i}", "acgtacgtacgtacgt" * 64)
    world.drain()
    chunks = world.view("t0").totals.chunks
    assert chunks * CHUNK > 3 * FEW_TOKENS
    turns_of_each = -(-chunks * CHUNK // FEW_TOKENS)
    assert world.runner.loads <= TENANTS * turns_of_each
    for uid, log in world.logs.items():
        assert world.view(uid).state_hash(world.runner.weights(uid)) == alone(log)[len(log)]


@pytest.fixture
def world() -> World:
    world = World(slots=2, device=CpuDevice(), offload=True)
    for uid in ("a", "b"):
        world.create(uid)
    world.run()
    return world


def test_steps_wait_for_their_time_and_the_weights_leave(world) -> None:
    world.write("a", "acgtacgtacgtacgt" * 4)
    world.run()
    assert world.view("a").applied_seq == 1
    assert world.view("a").totals.chunks == 0
    assert world.ingest.due_in() == pytest.approx(OFFLOAD_WAIT_S)
    world.now += OFFLOAD_WAIT_S / 2
    world.write("b", "c")
    world.run()
    assert world.view("b").applied_seq == 2, "what fills no chunk waits for nothing"
    assert world.ingest.due_in() == pytest.approx(OFFLOAD_WAIT_S / 2)
    world.now += OFFLOAD_WAIT_S / 2
    world.run()
    assert world.view("a").applied_seq == 2
    assert world.view("a").totals.chunks > 0
    assert world.runner.hot == 0


@pytest.mark.parametrize("someone", ["waits", "asks for the state", "has written 4,096 tokens"])
def test_steps_wait_no_longer_when(world, someone) -> None:
    world.write("a", "acgtacgtacgtacgt" * 4)
    world.run()
    match someone:
        case "waits":
            world.ingest.hurry("a", 2)
        case "asks for the state":
            world.note_hash("a")
        case _:
            world.write("a", "acgt" * 1024)
    world.run()
    assert world.view("a").applied_seq == len(world.logs["a"])
    assert world.ingest.due_in() is None


def test_a_wait_for_what_is_applied_hurries_nothing(world) -> None:
    world.ingest.hurry("a", 1)
    world.write("a", "acgtacgtacgtacgt" * 4)
    world.run()
    assert world.view("a").applied_seq == 1


def test_what_follows_a_change_of_settings_waits_for_it_and_not_for_the_time(world) -> None:
    world.write("a", "acgtacgtacgtacgt" * 4)
    world.add("a", RecordKind.CONFIGURE, encode_configure({}, {"duplicates": "merge"}))
    world.write("a", "acgtacgtacgtacgt" * 4)
    world.run()
    assert world.view("a").applied_seq == 4
    assert world.view("a").index.merged == 1
    world.note_hash("a")
    assert world.hashes["a", 4] == alone(world.logs["a"])[4]


def test_weights_that_are_gone_are_an_error_and_never_the_initial_ones(world) -> None:
    world.write("a", "acgtacgtacgtacgt" * 4)
    world.drain()
    (placement,) = world.runner._placements.values()
    placement.remove("a")
    for use in (partial(world.runner.query, "a", "acgt"), partial(world.runner.weights, "a")):
        with pytest.raises(RuntimeError, match="lost"):
            use()


def test_the_late_device_tells_a_race() -> None:
    device = FakeDevice()
    config = MemoryConfig(width=WIDTH, chunk=CHUNK)
    stack = MemoryStack(config, 2, device=device)
    stack.delta[0] = 1.0
    weights, out = stack.save(0)
    assert weights.delta.isnan().all(), "the host looks too early"
    out.finish()
    assert weights.delta.eq(1).all()
    back = stack.restore(1, weights)
    assert stack.delta[1].eq(0).all()
    tokens = torch.eye(CHUNK, WIDTH)[None]
    update(stack, [0], [config], [0.0], tokens)
    assert not device.hazards
    update(stack, [1], [config], [0.0], tokens)
    back.order()
    assert device.hazards == ["slot 1 is computed with while a copy of it is under way"]


async def test_an_engine_with_offload_has_the_hashes_of_one_without(tmp_path) -> None:
    hashes = []
    for offload in (False, True):
        async with running(tmp_path / str(offload), slots=2, offload=offload) as engine:
            for i in range(6):
                await create(engine, f"t{i}")
            for start in range(0, 30, 10):
                for i in range(6):
                    await engine.write(f"t{i}", turns(10, start + 100 * i), applied=i % 2 == 0)
                    await engine.reads.recall(f"t{i}", f"thing {start}", k=3)
            hashes.append([await state(engine, f"t{i}") for i in range(6)])
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == 6
