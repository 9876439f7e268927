"""What update, surprise and read promise their callers."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from memsvc.memory import reference
from memsvc.memory.config import MAX_LAYERS, MIN_LAYERS, MemoryConfig
from memsvc.memory.state import MemoryStack
from memsvc.memory.step import read, surprise, update

DEPTHS = range(MIN_LAYERS, MAX_LAYERS + 1)


def draw_tokens(*shape, seed=0, dtype=torch.float32):
    tokens = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return normalize(tokens, dim=-1).to(dtype)


def contents(stack, slot):
    return stack.delta[slot].numpy().tobytes() + stack.momentum[slot].numpy().tobytes()


@pytest.mark.parametrize("layers", DEPTHS)
def test_the_initial_memory_expects_nothing(layers):
    stack = MemoryStack(MemoryConfig(layers=layers, width=16), 2)
    x = draw_tokens(5, 16)
    assert read(stack, 0, x).eq(0).all()
    assert read(stack, None, x).eq(0).all()


@pytest.mark.parametrize("layers", DEPTHS)
def test_reading_is_the_forward_pass_of_what_was_written(layers):
    config = MemoryConfig(layers=layers, width=12, chunk=8, theta=2.0)
    stack = MemoryStack(config, 3, torch.float64)
    for i in range(4):
        update(stack, [1], [config], [0.0], draw_tokens(1, 8, 12, seed=i, dtype=torch.float64))
    x = draw_tokens(5, 12, seed=9, dtype=torch.float64)
    expected = reference.forward(stack.initial + stack.delta[1], x)
    assert expected.abs().max() > 1e-3
    assert (read(stack, 1, x) - expected).abs().max() < 1e-12
    assert read(stack, 0, x).eq(0).all()
    assert read(stack, None, x).eq(0).all()


@pytest.mark.parametrize("layers", DEPTHS)
def test_a_stream_of_chunks_equals_the_reference(layers):
    config = MemoryConfig(
        layers=layers, width=6, chunk=5, theta=1.0, eta=0.9, half_life=20.0, curvature=0.2, radius=0.25, clip=0.3
    )
    stack = MemoryStack(config, 2, torch.float64)
    delta, momentum = stack.delta[1].clone(), stack.momentum[1].clone()
    acted = torch.zeros(3)
    for i in range(12):
        tokens = draw_tokens(1, 5, 6, seed=i % 7, dtype=torch.float64)
        # Every third chunk a gate that lets part of it through.
        threshold = float(surprise(stack, 1, config, tokens[0]).median()) * 0.999 if i % 3 == 2 else 0.0
        expected = reference.step(
            stack.initial,
            delta,
            momentum,
            tokens[0],
            tokens[0],
            theta=torch.full((5,), config.theta / 5, dtype=torch.float64),
            eta=torch.full((5,), config.eta, dtype=torch.float64),
            alpha=torch.full((5,), config.alpha, dtype=torch.float64),
            threshold=torch.full((5,), threshold, dtype=torch.float64),
            curvature=config.curvature,
            radius=config.radius,
            clip=config.clip,
        )
        result = update(stack, [1], [config], [threshold], tokens)
        delta, momentum = expected.delta, expected.momentum
        assert (stack.delta[1] - delta).abs().max() < 1e-12
        assert (stack.momentum[1] - momentum).abs().max() < 1e-12
        assert result.wrote[0].equal(expected.wrote)
        flags = [bool(x[0]) for x in (result.bounded, result.clipped, result.projected, result.finite)]
        assert flags == list(expected[4:])
        acted += torch.tensor(flags[:3])
    assert acted[0] > 0
    assert acted[2] > 0


def test_surprise_is_the_gradient_norm_that_autograd_finds():
    config = MemoryConfig(layers=4, width=10, chunk=6, theta=3.0)
    stack = MemoryStack(config, 1, torch.float64)
    for i in range(5):
        update(stack, [0], [config], [0.0], draw_tokens(1, 6, 10, seed=i, dtype=torch.float64))
    tokens = draw_tokens(6, 10, seed=7, dtype=torch.float64)
    weights = (stack.initial + stack.delta[0]).requires_grad_()
    for token, seen in zip(tokens, update(stack, [0], [config], [math.inf], tokens[None]).surprise[0], strict=True):
        loss = 0.5 * (reference.forward(weights, token) - token).square().sum()
        (gradient,) = torch.autograd.grad(loss, weights)
        assert float(seen) == pytest.approx(float(gradient.norm()), rel=1e-12)


@pytest.mark.parametrize("n", [0, 1, 37, 64])
@pytest.mark.parametrize("width", [48, 384])
def test_a_tails_surprise_has_the_bits_that_its_chunk_will_have(n, width):
    config = MemoryConfig(layers=3, width=width, chunk=64, theta=1.0)
    stack = MemoryStack(config, 2)
    for i in range(3):
        update(stack, [1], [config], [0.0], draw_tokens(1, 64, width, seed=i))
    chunk = draw_tokens(1, 64, width, seed=4)
    before = contents(stack, 1)
    # A view that starts in the middle of an allocation, as a tail sliced from a buffer does.
    tail = torch.cat([torch.zeros(3, width), chunk[0, :n]])[3:]
    seen = surprise(stack, 1, config, tail)
    assert contents(stack, 1) == before
    assert seen.shape == (n,)
    assert seen.equal(update(stack, [1], [config], [0.0], chunk).surprise[0, :n])


@pytest.mark.parametrize(("width", "layers", "rows"), [(33, 4, 64), (384, 2, 8)])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_slot_is_bitwise_the_same_beside_any_neighbours(width, layers, rows, threads):
    torch.set_num_threads(threads)
    shape = {"layers": layers, "width": width, "chunk": 64}
    config = MemoryConfig(**shape, theta=1.0, half_life=1000.0)
    others = [MemoryConfig(**shape, theta=0.1 * (i + 1), eta=0.5, clip=0.1) for i in range(rows - 1)]
    alone, beside = MemoryStack(config, 1), MemoryStack(config, rows + 1)
    slots = [rows - 1, *range(rows - 1)]
    for i in range(3):
        own = draw_tokens(1, 64, width, seed=i)
        threshold = float(surprise(alone, 0, config, own[0]).median()) if i == 1 else 0.0
        a = update(alone, [0], [config], [threshold], own)
        neighbours = draw_tokens(rows - 1, 64, width, seed=100 + i)
        neighbours[0, 5] = math.nan
        tokens = torch.cat([own, neighbours])
        # Its row moves about in the call, too.
        order = torch.roll(torch.arange(rows), i * 3).tolist()
        configs = [config, *others]
        b = update(
            beside,
            [slots[j] for j in order],
            [configs[j] for j in order],
            [threshold if j == 0 else 0.4 for j in order],
            tokens[order],
        )
        at = order.index(0)
        assert all(x[0].equal(y[at]) for x, y in zip(a, b, strict=True))
        assert not b.finite[order.index(1)]
        assert contents(alone, 0) == contents(beside, rows - 1)
    assert contents(beside, rows) == bytes(len(contents(beside, rows)))
    x = draw_tokens(3, width, seed=50)
    assert read(alone, 0, x).equal(read(beside, rows - 1, x))


def test_tenants_of_one_stack_keep_their_own_settings():
    quick = MemoryConfig(width=24, chunk=16, theta=4.0, curvature=10.0)
    slow = MemoryConfig(width=24, chunk=16, theta=0.01, eta=0.5, clip=0.01)
    stack, single = MemoryStack(quick, 4), MemoryStack(slow, 4)
    for i in range(8):
        tokens = draw_tokens(1, 16, 24, seed=i)
        result = update(stack, [3, 1], [quick, slow], [0.0, 0.2], tokens.expand(2, -1, -1))
        update(single, [3], [quick], [0.0], tokens)
        update(single, [1], [slow], [0.2], tokens)
    assert [contents(stack, slot) for slot in range(4)] == [contents(single, slot) for slot in range(4)]
    x = draw_tokens(1, 24, seed=7)
    assert (x - read(stack, 3, x)).norm() < (x - read(stack, 1, x)).norm()
    assert bool(result.finite.all())


def test_what_is_written_again_and_again_surprises_less():
    config = MemoryConfig(width=64, chunk=16)
    stack = MemoryStack(config, 1)
    tokens = draw_tokens(1, 16, 64)
    seen = [float(update(stack, [0], [config], [0.0], tokens).surprise.mean()) for _ in range(100)]
    assert seen[-1] < 0.5 * seen[0]
    unlike = draw_tokens(1, 16, 64, seed=1)
    assert float(update(stack, [0], [config], [math.inf], unlike).surprise.mean()) > 2 * seen[-1]


def test_a_half_life_forgets_and_a_shut_gate_does_not():
    config = MemoryConfig(width=32, chunk=16, theta=2.0, half_life=32.0)
    stack = MemoryStack(config, 2)
    tokens = draw_tokens(1, 16, 32)
    for _ in range(20):
        update(stack, [0, 1], [config] * 2, [0.0] * 2, tokens.expand(2, -1, -1))
    before = contents(stack, 0), float(stack.delta[1].norm())
    for i in range(20):
        update(stack, [0, 1], [config] * 2, [math.inf, 0.0], 1e-6 * draw_tokens(2, 16, 32, seed=i + 1))
    assert contents(stack, 0) == before[0]
    # 320 tokens are ten half-lives.
    assert float(stack.delta[1].norm()) < 0.01 * before[1]


@pytest.mark.parametrize(
    ("slots", "configs", "thresholds", "shape"),
    [
        ([0, 0], 2, 2, (2, 8, 4)),
        ([0, 1], 1, 2, (2, 8, 4)),
        ([0, 1], 2, 1, (2, 8, 4)),
        ([0, 1], 2, 2, (2, 7, 4)),
        ([0, 1], 2, 2, (2, 8, 5)),
        ([0, 1], 2, 2, (1, 8, 4)),
        ([0, 9], 2, 2, (2, 8, 4)),
        ([0, -1], 2, 2, (2, 8, 4)),
    ],
)
def test_arguments_that_do_not_fit_are_refused_and_change_nothing(slots, configs, thresholds, shape):
    config = MemoryConfig(width=4, chunk=8)
    stack = MemoryStack(config, 2)
    with pytest.raises(ValueError, match="slots"):
        update(stack, slots, [config] * configs, [0.0] * thresholds, torch.ones(shape))
    assert stack.delta.eq(0).all()


def test_configs_of_another_shape_are_refused():
    config = MemoryConfig(width=4, chunk=8)
    stack = MemoryStack(config, 2)
    for other in (MemoryConfig(width=4, chunk=9), MemoryConfig(width=4, chunk=8, layers=3)):
        with pytest.raises(ValueError, match="every config"):
            update(stack, [0, 1], [config, other], [0.0] * 2, torch.ones(2, 8, 4))
    with pytest.raises(ValueError, match="a tail"):
        surprise(stack, 0, config, torch.ones(9, 4))
    with pytest.raises(ValueError, match="a tail"):
        surprise(stack, 0, config, torch.ones(3, 5))


def test_no_rows_are_no_work():
    stack = MemoryStack(MemoryConfig(width=4), 2)
    assert update(stack, [], [], [], torch.ones(0, 0, 4)).finite.shape == (0,)
