"""The chunk step of each back end against the per-token reference, and what its bounds promise."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memsvc_kernels import Weights, backend
from memsvc_kernels.interface import largest_step

from memsvc.memory import reference
from memsvc.memory.config import MAX_LAYERS, MIN_LAYERS, MemoryConfig
from memsvc.memory.state import initial_weights
from tests.kernels.arithmetic import CPU, backends, draw_weights, each, each_and_rounded

DEPTHS = range(MIN_LAYERS, MAX_LAYERS + 1)
INF = math.inf


def reference_step(weights, keys, values, **rates):
    return reference.step(weights.initial, weights.delta[0], weights.momentum[0], keys, values, **rates)


def assert_equal(actual, expected):
    assert (actual - expected).abs().max() <= 1e-12 * max(1.0, float(expected.abs().max()))


SHARES = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))


@st.composite
def chunks(draw):
    """Draw a chunk's tokens as (which of a few vectors, sign), its rates, its gate and its bounds."""
    b = draw(st.integers(1, 12))

    def per_token(values):
        return draw(st.lists(values, min_size=b, max_size=b))

    return {
        "width": draw(st.integers(1, 7)),
        "seed": draw(st.integers(0, 2**31)),
        "tokens": per_token(st.tuples(st.integers(0, 9), st.sampled_from([-1.0, 1.0]))),
        "associate": draw(st.booleans()),
        "rates": [torch.tensor(per_token(SHARES), dtype=torch.float64) for _ in range(3)],
        # As a share of the token's own surprise: well below, well above, open, shut.
        "gate": torch.tensor(per_token(st.sampled_from([0.0, 0.9, 1.1, INF])), dtype=torch.float64),
        "all": draw(st.sampled_from([None, None, 0.0, INF])),
        "curvature": draw(st.one_of(st.just(INF), st.floats(0.01, 10))),
        "radius": draw(st.one_of(st.just(INF), st.floats(0.01, 3))),
        "clip": draw(st.one_of(st.just(INF), st.floats(0.01, 10))),
    }


@pytest.mark.parametrize(("arithmetic", "layers"), backends(cpu=DEPTHS, triton=DEPTHS))
def test_equals_the_per_token_reference(arithmetic, layers):
    @settings(max_examples=arithmetic.examples(25), deadline=None)
    @given(chunks())
    def equals(chunk):
        check_equals_the_reference(arithmetic, layers, chunk)

    equals()


def check_equals_the_reference(arithmetic, layers, chunk):
    weights, generator = draw_weights(layers, chunk["width"], chunk["seed"])
    pool = torch.randn(2, 10, chunk["width"], generator=generator, dtype=torch.float64)
    at, sign = zip(*chunk["tokens"], strict=True)
    keys, values = pool[:, list(at)] * torch.tensor(sign, dtype=torch.float64)[:, None]
    values = values if chunk["associate"] else keys
    theta, eta, alpha = chunk["rates"]
    bounds = {name: chunk[name] for name in ("curvature", "radius", "clip")}
    # Two chunks, so that the second starts from momentum the first left.
    for _ in range(2):
        surprise = CPU.surprise(weights, 0, keys, values)
        threshold = surprise * chunk["gate"] if chunk["all"] is None else torch.full_like(surprise, chunk["all"])
        threshold = threshold.nan_to_num(INF, posinf=INF)
        rates = {"theta": theta, "eta": eta, "alpha": alpha, "threshold": threshold, **bounds}
        expected = reference_step(weights, keys, values, **rates)
        result = arithmetic.step(weights, keys, values, **rates)
        assert_equal(weights.delta[0], expected.delta)
        assert_equal(weights.momentum[0], expected.momentum)
        assert_equal(result.surprise[0], expected.surprise)
        assert result.wrote[0].equal(expected.wrote)
        assert bool(result.finite[0]) is expected.finite is True
        assert arithmetic is not CPU or result.surprise[0].equal(surprise)


@each
@pytest.mark.parametrize(("bounds", "flag"), [({"curvature": 0.1}, 0), ({"clip": 0.1}, 1), ({"radius": 0.5}, 2)])
def test_each_bound_says_when_it_acted(arithmetic, bounds, flag):
    for loose in (False, True):
        weights, generator = draw_weights(3, 6, 1)
        keys = torch.randn(8, 6, generator=generator, dtype=torch.float64)
        limits = {name: 1e6 if loose else value for name, value in bounds.items()}
        result = arithmetic.step(weights, keys, keys, theta=0.5, eta=0.5, alpha=0.1, threshold=0.0, **limits)
        acted = [bool(x[0]) for x in (result.bounded, result.clipped, result.projected)]
        assert acted == [i == flag and not loose for i in range(3)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("arithmetic", "layers"), backends(cpu=DEPTHS, triton=(2, 5)))
def test_curvature_counts_identical_tokens_b_times_and_orthogonal_ones_once(arithmetic, layers, dtype):
    b, d, limit, theta = (32, 128, 1e-3, 1.0) if arithmetic.thorough else (8, 16, 1e-3, 1.0)
    largest = {}
    basis = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    for name, keys in (("identical", basis[:1].expand(b, d)), ("orthogonal", basis[:b])):
        moved = []
        for curvature in (limit, INF):
            zeros = [torch.zeros(1, layers, d, d, dtype=dtype) for _ in range(2)]
            weights = Weights(*zeros, initial_weights(MemoryConfig(layers=layers, width=d), dtype))
            k = keys.to(dtype)
            result = arithmetic.step(weights, k, k, theta=theta, eta=0.0, alpha=0.0, threshold=0.0, curvature=curvature)
            moved.append(float(weights.delta.norm()))
        # The bound scales the whole step, so the ratio of the two tells the Λ that it saw.
        largest[name] = limit * moved[1] / moved[0]
        # At start the error is the unit token itself, and √K_jj its surprise.
        own = float(result.surprise.square().max())
        assert 0.1 < own < 10
        largest[name] /= own
    assert largest["identical"] == pytest.approx(b, rel=0.3)
    assert 1 <= largest["orthogonal"] * 1.0001 < 2


@each
def test_bounds_hold_of_what_was_done(arithmetic):
    depths = st.sampled_from([2, 3, 5, 12])

    @settings(max_examples=arithmetic.examples(60), deadline=None)
    @given(st.integers(0, 2**31), depths, st.floats(0.01, 2), st.floats(0.01, 3), st.floats(0.01, 100))
    def hold(seed, layers, curvature, clip, theta):
        check_bounds(arithmetic, seed, layers, curvature=curvature, clip=clip, theta=theta)

    hold()


def check_bounds(arithmetic, seed, layers, *, curvature, clip, theta):
    weights, generator = draw_weights(layers, 6, seed)
    keys, values = torch.randn(2, 9, 6, generator=generator, dtype=torch.float64)
    start, before = (weights.initial + weights.delta)[0], weights.momentum.clone()
    # With η = 1 the momentum takes the plain sum of the steps; with η = 0, Δ does.
    arithmetic.step(weights, keys, values, theta=theta, eta=1.0, alpha=0.0, threshold=0.0, clip=clip, radius=0.7)
    assert (weights.momentum - before).norm() <= clip * (1 + 1e-9)
    assert torch.linalg.vector_norm(weights.delta, dim=(2, 3)).max() <= 0.7 * (1 + 1e-12)

    weights, _ = draw_weights(layers, 6, seed)
    before = weights.delta.clone()
    arithmetic.step(weights, keys, values, theta=theta, eta=0.0, alpha=0.0, threshold=0.0, curvature=curvature)
    gradients = [reference.gradients(start, k, v) for k, v in zip(keys, values, strict=True)]
    share = float((weights.delta - before).norm() / (theta * torch.stack([g for g, _ in gradients]).sum(0)).norm())
    rows = torch.stack([tangent for _, tangent in gradients]).flatten(1)
    assert share <= 1 + 1e-9
    assert share * theta * float((rows @ rows.T).abs().sum(1).max()) <= curvature * (1 + 1e-9)


@each_and_rounded
@pytest.mark.parametrize("bad", [math.nan, INF, -INF, 1e300])
@pytest.mark.parametrize("threshold", [0.0, INF])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_chunk_that_is_not_finite_leaves_every_byte_of_its_slot(arithmetic, bad, threshold, dtype):
    weights, generator = draw_weights(3, 5, 3, slots=2)
    weights = Weights(*(x.to(dtype) for x in weights))
    weights.momentum[0, 0, 0, 0] = -0.0
    before = [x.clone() for x in weights]
    keys = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    keys[2, 1] = bad
    result = arithmetic.step(
        weights, keys, keys, theta=0.1, eta=0.9, alpha=0.1, threshold=threshold, curvature=0.5, clip=1.0
    )
    assert not result.finite[0]
    assert not result.wrote.any()
    for now, then in zip(weights, before, strict=True):
        assert now.numpy().tobytes() == then.numpy().tobytes()


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_too_large_to_stay_finite_are_not_taken(arithmetic, dtype):
    weights, generator = draw_weights(2, 5, 3)
    weights = Weights(*(x.to(dtype) for x in weights))
    before = weights.delta.clone()
    keys = torch.randn(4, 5, generator=generator, dtype=torch.float64).to(dtype)
    rates = {"theta": largest_step(dtype), "eta": 0.9, "alpha": 0.0, "threshold": 0.0}
    assert not arithmetic.step(weights, keys, keys, **rates).finite[0]
    assert weights.delta.equal(before)
    assert arithmetic.step(weights, keys, keys, **rates, curvature=0.5).finite[0]
    assert weights.delta.isfinite().all()


@each
def test_no_error_is_no_step(arithmetic):
    weights = Weights(
        torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4), initial_weights(MemoryConfig(layers=3, width=4), torch.float32)
    )
    zeros = torch.zeros(2, 4)
    result = arithmetic.step(
        weights, zeros, zeros, theta=1.0, eta=0.5, alpha=0.0, threshold=0.0, curvature=0.1, clip=0.1
    )
    assert result.finite[0]
    assert result.surprise.eq(0).all()
    # Both tokens write all the same: momentum moves on by 1/2 + 1/4 and halves twice.
    assert weights.delta.eq(0.75).all()
    assert weights.momentum.eq(0.25).all()


@each
def test_a_shut_gate_changes_nothing(arithmetic):
    weights, generator = draw_weights(4, 5, 3)
    weights.momentum[0, 0, 0, 0] = -0.0
    before = [x.numpy().tobytes() for x in weights]
    keys = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    result = arithmetic.step(weights, keys, keys, theta=0.1, eta=0.0, alpha=1.0, threshold=INF, radius=0.01)
    assert result.finite[0]
    assert not result.wrote.any()
    assert [x.numpy().tobytes() for x in weights] == before


def test_an_unknown_device_has_no_back_end():
    with pytest.raises(ValueError, match="no back end for device meta"):
        backend("meta")
