"""Products of numbers rounded to bfloat16: near the reference, with the state in float32."""

import pytest
import torch
from memsvc_kernels import Weights, backend

from memsvc.memory import reference
from memsvc.memory.config import MAX_LAYERS, MIN_LAYERS
from tests.kernels.arithmetic import CPU, ROUNDED, draw_weights

WIDTH, TOKENS, CHUNKS = 64, 32, 12
RATES = {"theta": 0.05, "eta": 0.8, "alpha": 0.01}
BOUNDS = {"curvature": 0.5, "radius": 16.0, "clip": 4.0}


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Return how far two tensors are apart, as a share of the second."""
    return float((ours.double() - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("layers", [MIN_LAYERS, 3, 6, MAX_LAYERS])
@pytest.mark.parametrize("shut", [False, True], ids=["all write", "some write"])
def test_a_stream_stays_near_the_reference(layers, shut):
    exact, generator = draw_weights(layers, WIDTH, 1, scale=0.0)
    weights = Weights(*(x.float() for x in exact))
    delta, momentum = exact.delta[0], exact.momentum[0]
    threshold = torch.zeros(TOKENS, dtype=torch.float64)
    threshold[::3] = torch.inf if shut else 0.0
    for _ in range(CHUNKS):
        keys = torch.randn(TOKENS, WIDTH, generator=generator, dtype=torch.float64)
        keys = torch.nn.functional.normalize(keys, dim=1)
        rates = {name: torch.full((TOKENS,), rate, dtype=torch.float64) for name, rate in RATES.items()}
        want = reference.step(exact.initial, delta, momentum, keys, keys, **rates, threshold=threshold, **BOUNDS)
        result = ROUNDED.step(weights, keys.float(), keys.float(), **RATES, threshold=threshold, **BOUNDS)
        assert result.wrote[0].equal(want.wrote)
        assert apart(result.surprise[0], want.surprise) < 0.01
        delta, momentum = want.delta, want.momentum
    assert apart(weights.delta[0], delta) < 0.02
    assert apart(weights.momentum[0], momentum) < 0.02
    assert weights.delta.dtype == weights.momentum.dtype == torch.float32


def test_what_is_small_beside_the_state_is_not_lost():
    """A hundred chunks, each too small to change a bfloat16 of what was learnt, add up all the same."""
    ways = []
    for arithmetic in (CPU, ROUNDED):
        weights, generator = draw_weights(2, WIDTH, 2, scale=1.0)
        weights = Weights(*(x.float() for x in weights))
        before = weights.delta.clone()
        for _ in range(100):
            keys = torch.randn(8, WIDTH, generator=generator) / WIDTH
            arithmetic.step(weights, keys, keys, theta=1e-5, eta=0.0, alpha=0.0, threshold=0.0)
        assert (weights.delta - before).norm() < 2.0**-9 * before.norm()
        ways.append(weights.delta - before)
    assert apart(ways[1], ways[0].double()) < 0.05


def test_other_products_are_refused():
    with pytest.raises(ValueError, match="products are float32 or bfloat16"):
        backend("cpu", torch.float16)
    with pytest.raises(ValueError, match="cuda multiplies in the weights' own type"):
        backend("cuda", torch.bfloat16)
