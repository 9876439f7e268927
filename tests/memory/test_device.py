"""What every device promises of its copies: their order, and who may overtake whom."""

from functools import partial

import pytest
import torch

from memsvc.memory.config import MemoryConfig
from memsvc.memory.cuda import CudaDevice
from memsvc.memory.device import CpuDevice, Pair
from memsvc.memory.state import MemoryStack
from memsvc.memory.step import read, surprise, update
from tests.engine.fake_device import FakeDevice

SIZE = 512
"""A copy of [8, SIZE, SIZE] takes a GPU a while."""
CONFIG = MemoryConfig(width=16, chunk=16)

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
DEVICES = [
    pytest.param(CpuDevice, id="cpu"),
    *(pytest.param(partial(FakeDevice, seed), id=f"late {seed}") for seed in range(3)),
    pytest.param(CudaDevice, marks=gpu, id="cuda"),
]


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param()


def numbers(start: int) -> torch.Tensor:
    return torch.arange(start, start + 8 * SIZE**2, dtype=torch.float32).view(8, SIZE, SIZE)


def filled(device, start: int) -> torch.Tensor:
    """Host memory of the device's."""
    buffer = device.buffer((8, SIZE, SIZE), torch.float32)
    buffer.copy_(numbers(start))
    return buffer


def busy(device) -> None:
    """Keep the device computing for a while after this returns, if it can."""
    x = torch.eye(4096 if device.place.type == "cuda" else 8, device=device.place)
    for _ in range(20):
        x = x @ x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_buffer_is_host_memory_of_its_own(device, dtype):
    one, other = (device.buffer((2, 3, 5), dtype) for _ in range(2))
    assert one.shape == (2, 3, 5)
    assert one.dtype == dtype
    assert one.device.type == "cpu"
    assert one.is_contiguous()
    assert one.data_ptr() != other.data_ptr()
    one.numpy()[...] = 1.0
    other.numpy()[...] = 2.0
    assert one.eq(1).all()


def test_tensors_are_where_the_device_says(device):
    stack = MemoryStack(CONFIG, 2, device=device)
    assert {t.device for t in stack.weights} == {device.place}
    assert device.apart or device.place.type == "cpu"


def test_a_copy_comes_after_all_that_was_computed_before(device):
    x = torch.zeros(8, SIZE, SIZE, device=device.place)
    busy(device)
    x += 1
    out = device.buffer(x.shape, x.dtype)
    device.copy([Pair(out, x)]).finish()
    assert out.eq(1).all()


def test_what_is_computed_after_the_order_comes_after_the_copy(device):
    x = torch.zeros(8, SIZE, SIZE, device=device.place)
    busy(device)
    copy = device.copy([Pair(x, filled(device, 5))])
    copy.order()
    assert x.add(1).cpu().equal(numbers(6))


def test_what_a_copy_takes_may_change_after_the_order(device):
    x = numbers(0).to(device.place)
    busy(device)
    out = device.buffer(x.shape, x.dtype)
    copy = device.copy([Pair(out, x)])
    copy.order()
    x.zero_()
    copy.finish()
    assert out.equal(numbers(0))


def test_a_copy_fills_all_pairs(device):
    one, other = (torch.zeros(8, SIZE, SIZE, device=device.place) for _ in range(2))
    copy = device.copy([Pair(one, filled(device, 1)), Pair(other, filled(device, 2))])
    copy.finish()
    assert one.cpu().equal(numbers(1))
    assert other.cpu().equal(numbers(2))


def test_copies_are_carried_out_in_their_order(device):
    x = numbers(1).to(device.place)
    out, again = (device.buffer(x.shape, x.dtype) for _ in range(2))
    device.copy([Pair(out, x)])
    device.copy([Pair(x, filled(device, 2))])
    device.copy([Pair(again, x)]).finish()
    assert out.equal(numbers(1)), "it left before the next came"
    assert again.equal(numbers(2)), "and that one came before it was taken"


def test_ends_may_be_let_go_before_a_copy_is_done(device):
    kept = []
    for start in range(20):
        x = torch.zeros(8, SIZE, SIZE, device=device.place)
        copy = device.copy([Pair(x, filled(device, start))])
        copy.order()
        kept.append(x[0, 0, 0].clone())
        del x
    assert [float(first) for first in kept] == list(range(20))


def test_finishing_and_ordering_twice_changes_nothing(device):
    x = torch.zeros(8, SIZE, SIZE, device=device.place)
    copy = device.copy([Pair(x, filled(device, 3))])
    for _ in range(2):
        copy.order()
        copy.finish()
    assert x.cpu().equal(numbers(3))


def test_weights_come_back_to_another_slot_bit_for_bit_and_go_on_alike(device):
    tokens = torch.nn.functional.normalize(torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0)), dim=3)
    stay, move = (MemoryStack(CONFIG, slots, device=device) for slots in (1, 3))
    slot = 0
    for i in range(4):
        results = [update(s, [at], [CONFIG], [0.0], tokens[i]) for s, at in ((stay, 0), (move, slot))]
        assert results[0].surprise.equal(results[1].surprise)
        weights, copy = move.save(slot)
        copy.order()
        move.clear(slot)
        slot = (slot + 1) % 3
        move.restore(slot, weights).order()
        assert move.dump(slot) == stay.dump(0)
        copy.finish()
        assert move.pack(weights) == stay.dump(0)
    other = MemoryStack(CONFIG, 1, device=device)
    other.load(0, stay.dump(0))
    assert other.dump(0) == stay.dump(0)


def test_what_the_memory_says_is_near_the_cpus(device):
    tokens = torch.nn.functional.normalize(torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(0)), dim=2)
    stacks = [MemoryStack(CONFIG, 1, device=each) for each in (CpuDevice(), device)]
    for _ in range(3):
        for stack in stacks:
            update(stack, [0], [CONFIG], [0.0], tokens)
    close = {"rtol": 1e-4, "atol": 1e-5}
    theirs, ours = (surprise(stack, 0, CONFIG, tokens[0, :5]) for stack in stacks)
    torch.testing.assert_close(ours, theirs, **close)
    theirs, ours = (read(stack, 0, tokens[0]) for stack in stacks)
    torch.testing.assert_close(ours.cpu(), theirs, **close)
    assert read(stacks[1], None, tokens[0]).eq(0).all()
