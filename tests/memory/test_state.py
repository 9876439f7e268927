"""The stack: what a slot costs, and how it goes to bytes and back."""

import hashlib
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.errors import DataLossError
from memsvc.memory.config import MemoryConfig
from memsvc.memory.state import MemoryStack, initial_weights
from memsvc.memory.step import update

CONFIG = MemoryConfig(layers=3, width=5, chunk=4)


def filled(config=CONFIG, slots=3, dtype=torch.float32):
    stack = MemoryStack(config, slots, dtype)
    generator = torch.Generator().manual_seed(1)
    for slot in range(slots):
        for tensor in (stack.delta, stack.momentum):
            tensor[slot] = torch.randn(tensor.shape[1:], generator=generator, dtype=dtype)
    return stack


def contents(stack, slot):
    return stack.delta[slot].numpy().tobytes() + stack.momentum[slot].numpy().tobytes()


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dump_and_load_keep_every_bit(dtype):
    stack = filled(dtype=dtype)
    for i, odd in enumerate([-0.0, float("inf"), float("nan"), 5e-324, 1.4e-45]):
        stack.delta[1, 0, 0, i] = odd
    other = MemoryStack(CONFIG, 2, dtype)
    other.load(0, stack.dump(1))
    assert contents(other, 0) == contents(stack, 1)
    assert other.dump(0) == stack.dump(1)
    assert other.delta[1].eq(0).all()


def test_a_loaded_slot_goes_on_as_the_first_would_have():
    config = MemoryConfig(width=16, chunk=8)
    tokens = torch.randn(4, 1, 8, 16, generator=torch.Generator().manual_seed(0))
    stack, other = MemoryStack(config, 1), MemoryStack(config, 5)
    for i in range(4):
        if i == 2:
            other.load(3, stack.dump(0))
        update(stack, [0], [config], [0.0], tokens[i])
        if i >= 2:
            update(other, [3], [config], [0.0], tokens[i])
    assert contents(other, 3) == contents(stack, 0)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_bytes_are_data_loss_and_change_nothing(data):
    stack = filled()
    before = contents(stack, 0)
    good = stack.dump(1)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = data.draw(
        st.sampled_from([good[:at], good + good[at:], good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :]])
    )
    with pytest.raises(DataLossError, match="packed weights"):
        stack.load(0, bad)
    assert contents(stack, 0) == before


@pytest.mark.parametrize(
    "other",
    [
        MemoryStack(MemoryConfig(layers=4, width=5), 1),
        MemoryStack(MemoryConfig(layers=3, width=6), 1),
        MemoryStack(MemoryConfig(layers=3, width=5, seed=1), 1),
        MemoryStack(CONFIG, 1, torch.float64),
    ],
)
def test_weights_of_another_architecture_do_not_load(other):
    with pytest.raises(DataLossError, match="another shape, type or seed"):
        filled().load(0, other.dump(0))


def test_a_cleared_slot_is_the_initial_memory_and_its_neighbours_stay():
    stack = filled()
    before = [contents(stack, slot) for slot in (0, 2)]
    stack.clear(1)
    assert contents(stack, 1) == bytes(len(before[0]))
    assert [contents(stack, slot) for slot in (0, 2)] == before
    stack.delta[1] = 1.0
    assert stack.delta[1].eq(1).all()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to tell resident memory")
def test_unused_slots_cost_no_memory():
    config = MemoryConfig(layers=2, width=384, chunk=64)
    tokens = torch.randn(1, 64, 384, generator=torch.Generator().manual_seed(0))
    slot = 2 * 2 * 384 * 384 * 4
    before = resident()
    stack = MemoryStack(config, 1000)
    assert resident() - before < 8 * slot
    update(stack, [500], [config], [0.0], tokens)
    assert resident() - before < 16 * slot
    for i in range(100, 200):
        stack.clear(i)
    assert resident() - before < 16 * slot
    for i in range(100, 140):
        stack.delta[i] = 1.0
    assert resident() - before > 20 * slot
    for i in range(100, 140):
        stack.clear(i)
    assert resident() - before < 16 * slot


def test_initial_weights_never_change():
    # Δ means nothing under another W0: these are the bytes that stored memories count on.
    weights = initial_weights(MemoryConfig(layers=3, width=8, seed=7), torch.float32)
    digest = hashlib.sha256(weights.numpy().astype("<f4").tobytes()).hexdigest()
    assert digest == "c7697c2a2d429d1f6c21704fd1560176c113ae979bbf937a75c3d342908fa0f1"
    assert weights[-1].eq(0).all()
    assert weights[:-1].std() == pytest.approx(8**-0.5, rel=0.2)
    assert torch.allclose(weights[0] @ weights[0].T, torch.eye(8), atol=1e-6)
    wide = initial_weights(MemoryConfig(layers=2, width=200), torch.float64)
    assert wide[0].std() == pytest.approx(200**-0.5, rel=0.02)
    assert wide[0].equal(initial_weights(MemoryConfig(layers=5, width=200), torch.float64)[0])
