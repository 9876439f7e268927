"""The context memory against the recurrence it stands for, forwards and backwards, in float64."""

import math

import pytest
import torch
from memsvc_kernels.fold import fold as fold_of_one

from memsvc.backbone.titans_mac.config import MAX_DEPTH, MIN_DEPTH
from memsvc.backbone.titans_mac.fold import fold
from memsvc.backbone.titans_mac.memory import ContextMemory
from memsvc.backbone.titans_mac.mlp import silu
from memsvc.backbone.titans_mac.state import MemoryState
from memsvc.backbone.titans_mac.step import second_order
from tests.backbone.titans_mac import reference
from tests.backbone.titans_mac.conftest import tiny

TOKENS = 96


def make(config, *, hard, seed=0):
    torch.manual_seed(seed)
    memory = ContextMemory(config).double()
    memory.hard = hard
    torch.nn.init.normal_(memory.rates.weight, std=0.5)
    memory.rates.bias.data[2:] = torch.tensor([-4.0, 0.0])
    memory.surprise.data.fill_(0.3)
    return memory


def empty(config, rows=1):
    shapes, m = config.memory.shapes, config.memory
    weights = tuple(torch.zeros(rows, *shape, dtype=torch.float64) for shape in shapes)
    inputs = torch.zeros(rows, m.conv - 1, config.width, dtype=torch.float64)
    inverse = torch.eye(m.remembered, dtype=torch.float64).repeat(rows, 1, 1)
    return MemoryState(weights, weights, inverse, inputs, torch.zeros(rows, 1, m.key, dtype=torch.float64))


def draw(config, seed):
    torch.manual_seed(seed)
    return torch.randn(2, TOKENS, config.width, dtype=torch.float64)


def close(found, expected, tolerance=1e-9):
    return bool((found - expected).abs().max() <= tolerance * (1 + expected.abs().max()))


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize(
    ("depth", "settings"),
    [
        *((depth, {}) for depth in (MIN_DEPTH, 3, 5, MAX_DEPTH)),
        (2, {"second_order": False}),
        (3, {"second_order": False, "gate": "surprise"}),
        (2, {"momentum": False}),
        (2, {"decay": False}),
        (2, {"gate": "open"}),
        (3, {"gate": "surprise"}),
        (2, {"curvature": 0.05}),
        (3, {"clip": 0.05}),
        (2, {"radius": 0.1}),
        (2, {"sure": 1.0}),
        (3, {"sure": 0.0, "gate": "open"}),
    ],
)
def test_a_pass_and_its_gradients_are_those_of_the_recurrence(depth, settings, hard):
    config = tiny(depth, **settings)
    memory, (x, embeddings) = make(config, hard=hard), draw(config, depth)
    result = memory(x[None], embeddings[None], empty(config))
    readouts, delta, momentum, inverse = reference.passed(memory, x, embeddings)
    assert close(result.readouts[0], readouts)
    assert all(close(d[0], expected) for d, expected in zip(result.state.delta, delta, strict=True))
    assert all(close(s[0], expected) for s, expected in zip(result.state.momentum, momentum, strict=True))
    assert not config.memory.second_order or close(result.state.inverse[0], inverse)
    assert max(float(d.detach().abs().max()) for d in delta) > 1e-4

    weight = torch.randn_like(readouts)
    names, parameters = zip(*memory.named_parameters(), strict=True)
    found = torch.autograd.grad((result.readouts[0] * weight).sum(), parameters, allow_unused=True)
    expected = torch.autograd.grad((readouts * weight).sum(), parameters, allow_unused=True)
    for name, one, other in zip(names, found, expected, strict=True):
        assert (one is None) == (other is None), name
        assert one is None or close(one, other, 1e-8), name
    # The memory's own weights, its projections and its rates all learn.
    learnt = {name for name, one in zip(names, found, strict=True) if one is not None and bool(one.abs().max() > 0)}
    assert {"query.weight", "value.weight", "rates.weight", "initial.0"} <= learnt


def test_an_input_too_long_for_lambda_counts_less_in_the_second_order_step():
    config = tiny()
    memory, (x, embeddings) = make(config, hard=True), draw(config, 3)
    memory.ridge.data.fill_(math.log(1e-5))
    result = memory(x[None], embeddings[None], empty(config))
    readouts, delta, _, inverse = reference.passed(memory, x, embeddings)
    assert close(result.readouts[0], readouts, 1e-6)
    assert close(result.state.delta[-1][0], delta[-1], 1e-6)
    assert close(result.state.inverse[0], inverse, 1e-6)


def test_the_second_order_step_is_finite_where_inputs_are_far_longer_than_lambda_and_alike():
    """As in a memory of eight layers in training: in float32 the factorisation failed."""
    torch.manual_seed(0)
    one = torch.nn.functional.normalize(torch.randn(256), dim=-1)
    inputs = 18_000 * (one + 1e-5 * torch.randn(1, 24, 256))
    ones = torch.ones(1, 24)
    directions, inverse = second_order(torch.eye(256)[None], inputs, ones, ones, torch.tensor(6.0))
    assert bool(directions.isfinite().all())
    assert bool(inverse.isfinite().all())
    assert bool(directions.ne(0).any(-1).all())
    # The direction that was written is taken, the others are free.
    assert float(one @ inverse[0] @ one) == pytest.approx(0.0, abs=1e-3)
    assert float(inverse[0].diagonal().sum()) == pytest.approx(255, abs=0.5)


@pytest.mark.parametrize("parts", [1, 3])
def test_second_order_steps_are_the_ridge_regression_in_which_each_token_counts_as_it_is_weighted(parts):
    torch.manual_seed(parts)
    a, v = torch.randn(1, 24, 16, dtype=torch.float64), torch.randn(1, 24, 5, dtype=torch.float64)
    write, weight, ridge = torch.rand(1, 24).round().double(), torch.rand(1, 24).double(), torch.tensor(0.7).double()
    counted = (write * weight)[0, :, None]
    expected = torch.linalg.solve(ridge * torch.eye(16) + (counted * a[0]).T @ a[0], (counted * a[0]).T @ v[0]).T
    w, inverse = torch.zeros(5, 16).double(), torch.eye(16).double()[None]
    for rows in torch.arange(24).chunk(parts):
        directions, inverse = second_order(inverse, a[:, rows], write[:, rows], weight[:, rows], ridge)
        error = (a[0, rows] @ w.T - v[0, rows]) * write[0, rows, None]
        w = w - error.T @ directions[0]
    assert close(w, expected)


def test_serving_takes_the_same_steps_as_training():
    config = tiny()
    memory, x = make(config, hard=True), draw(config, 1)
    trained = memory(x, x.flip(0), empty(config, 2))
    with torch.no_grad():
        served = memory(x, x.flip(0), empty(config, 2))
    assert 0 < float(served.write.mean()) < 1
    assert close(served.readouts, trained.readouts)
    assert all(close(a, b) for a, b in zip(served.state.delta, trained.state.delta, strict=True))


@torch.no_grad()
def test_tokens_that_do_not_write_leave_no_trace():
    config = tiny()
    memory, x = make(config, hard=True), draw(config, 1)
    memory.rates.weight.data[3] = 0.0
    memory.rates.bias.data[3] = -100.0
    state = memory(x, x, empty(config, 2)).state
    assert all(bool(w.eq(0).all()) for w in (*state.delta, *state.momentum))


@torch.no_grad()
def test_a_chunk_that_is_not_finite_leaves_its_row_as_it_was():
    config = tiny(gate="open")
    memory, x = make(config, hard=True), draw(config, 1)
    alone = memory(x, x, empty(config, 2)).state
    x[1, -1] = math.inf
    state = memory(x, x, empty(config, 2)).state
    assert all(bool(w.isfinite().all()) for w in (*state.delta, *state.momentum))
    assert all(bool(a[0].eq(b[0]).all()) for a, b in zip(state.delta, alone.delta, strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_the_fold_is_that_of_the_kernels(seed):
    torch.manual_seed(seed)
    write, eta, alpha = torch.rand(3, 2, 9, dtype=torch.float64)
    write[0].round_()
    eta[:, ::3], alpha[:, ::4] = 0.0, 1.0
    found = fold(write, eta, alpha)
    for i in range(2):
        expected = fold_of_one(write[i].tolist(), eta[i].tolist(), alpha[i].tolist())
        for one, other in zip(found, expected, strict=True):
            assert close(one[i], torch.tensor(other, dtype=torch.float64), 1e-12)


def test_silu_and_its_slope_have_true_derivatives():
    x = torch.linspace(-6, 6, 25, dtype=torch.float64).requires_grad_()
    activation, slope = silu(x)
    assert close(activation, torch.nn.functional.silu(x), 1e-12)
    (derivative,) = torch.autograd.grad(torch.nn.functional.silu(x).sum(), x)
    assert close(slope, derivative, 1e-12)
    assert torch.autograd.gradcheck(silu, (x,))
