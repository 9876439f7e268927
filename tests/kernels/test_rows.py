"""Rows of one call: chunks of the same slot, of other slots, and of fewer tokens than there is room for."""

import pytest
import torch
from memsvc_kernels import Bounds, Rates

from memsvc.memory import reference
from tests.kernels.arithmetic import backends, draw_weights, each, each_and_rounded

B, TOKENS, WIDTH = 5, 6, 7
SLOTS = [2, 0, 2, 3, 2]
RATES = {"theta": 0.3, "eta": 0.8, "alpha": 0.05, "threshold": 0.0}
BOUNDS = {"curvature": 0.4, "radius": 1.5, "clip": 0.6}


def draw_rows(seed=4):
    """Return weights of four slots, and keys and values of B rows."""
    weights, generator = draw_weights(3, WIDTH, seed, slots=4)
    return weights, *torch.randn(2, B, TOKENS, WIDTH, generator=generator, dtype=torch.float64)


def step_rows(arithmetic, weights, rows, keys, values, *, counts=None):
    """Step some of the rows in one call; thetas differ."""
    rates = [torch.full((B, TOKENS), rate, dtype=torch.float64) for rate in RATES.values()]
    rates[0] *= torch.arange(1, B * TOKENS + 1).view(B, TOKENS) / (B * TOKENS)
    bounds = [torch.full((len(rows),), bound, dtype=torch.float64) for bound in BOUNDS.values()]
    return arithmetic.chunk_step(
        weights,
        [SLOTS[row] for row in rows],
        keys[rows],
        values[rows],
        rates=Rates(*(rate[rows] for rate in rates)),
        bounds=Bounds(*bounds),
        counts=counts,
    )


@each_and_rounded
def test_a_row_has_the_bits_that_it_has_alone_and_chunks_of_a_slot_step_in_order(arithmetic):
    together, keys, values = draw_rows()
    result = step_rows(arithmetic, together, list(range(B)), keys, values)
    apart, *_ = draw_rows()
    for row in range(B):
        surprise = arithmetic.surprise(apart, SLOTS[row], keys[row], values[row])
        alone = step_rows(arithmetic, apart, [row], keys, values)
        assert all(one[0].equal(all_[row]) for one, all_ in zip(alone, result, strict=True))
        assert surprise.equal(alone.surprise[0])
    for one, all_ in zip(apart, together, strict=True):
        assert one.equal(all_)
    untouched, *_ = draw_rows()
    assert together.delta[1].equal(untouched.delta[1])
    assert not together.delta[[0, 2, 3]].eq(untouched.delta[[0, 2, 3]]).flatten(1).all(1).any()


@each
def test_what_lies_behind_a_rows_tokens_does_not_count(arithmetic):
    counts = [1, 4, TOKENS]
    rows = [0, 1, 3]
    weights, keys, values = draw_rows()
    for row, count in zip(rows, counts, strict=True):
        keys[row, count:], values[row, count:] = torch.nan, torch.inf
    expected, *_ = draw_rows()
    result = step_rows(arithmetic, weights, rows, keys, values, counts=counts)
    assert result.finite.all()
    for i, (row, count) in enumerate(zip(rows, counts, strict=True)):
        slot = SLOTS[row]
        rates = {name: torch.full((count,), rate, dtype=torch.float64) for name, rate in RATES.items()}
        rates["theta"] *= torch.arange(row * TOKENS + 1, row * TOKENS + count + 1) / (B * TOKENS)
        want = reference.step(
            expected.initial,
            expected.delta[slot],
            expected.momentum[slot],
            keys[row, :count],
            values[row, :count],
            **rates,
            **BOUNDS,
        )
        torch.testing.assert_close(weights.delta[slot], want.delta, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(weights.momentum[slot], want.momentum, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(result.surprise[i, :count], want.surprise, rtol=1e-12, atol=1e-12)
        assert result.wrote[i].tolist() == [j < count for j in range(TOKENS)]


@pytest.mark.parametrize(("arithmetic", "layers"), backends(cpu=range(2, 13), triton=(2, 5, 12)))
def test_reads_equal_the_reference_each_row_by_its_slot(arithmetic, layers):
    weights, generator = draw_weights(layers, WIDTH, 5, slots=3)
    x = torch.randn(4, 20, WIDTH, generator=generator, dtype=torch.float64)
    slots = [2, None, 0, 2]
    out = arithmetic.read(weights, slots, x)
    for row, slot in enumerate(slots):
        if slot is None:
            assert out[row].eq(0).all()
        else:
            # The last layer of W0 is zero, so W0 + Δ is the whole memory.
            want = reference.forward(weights.initial + weights.delta[slot], x[row])
            torch.testing.assert_close(out[row], want, rtol=1e-11, atol=1e-11)
    assert arithmetic.read(weights, slots[:1], x[:1]).equal(out[:1])
    assert arithmetic.read(weights, slots[:1], x[:1, :0]).shape == (1, 0, WIDTH)
