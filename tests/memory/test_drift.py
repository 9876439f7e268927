"""Drift: what sets off a restart, what does not, and what a restart changes."""

from dataclasses import replace

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.errors import InvalidArgumentError
from memsvc.memory.config import MemoryConfig
from memsvc.memory.drift import HISTORY_WINDOWS, WINDOW_TOKENS, DriftState, effective, observe, restart
from memsvc.memory.presets import PRESETS, changed, preset

CONFIG = MemoryConfig(drift=True, drift_sigma=4.0, drift_windows=3)
CALM = WINDOW_TOKENS * (HISTORY_WINDOWS + 2)


def stream(*parts: tuple[float, int], seed: int = 0) -> np.ndarray:
    """Surprises around some levels, so many tokens each."""
    rng = np.random.default_rng(seed)
    return np.concatenate([level + 0.1 * rng.standard_normal(n) for level, n in parts]).astype(np.float32)


def run(state: DriftState, config: MemoryConfig, surprise: np.ndarray, chunk: int = 128):
    """Observe chunk by chunk; return the state, and at which tokens a restart began and ended."""
    began, ended = [], []
    for at in range(0, len(surprise), chunk):
        state, jump, over = observe(state, config, surprise[at : at + chunk])
        began += [at + chunk] if jump else []
        ended += [at + chunk] if over else []
    return state, began, ended


def test_a_jump_restarts_within_the_windows_it_takes_and_once() -> None:
    surprise = stream((1.0, CALM), (2.0, CONFIG.restart_tokens + CALM))
    _, began, ended = run(DriftState(), CONFIG, surprise)
    assert len(began) == len(ended) == 1
    assert CALM < began[0] <= CALM + (CONFIG.drift_windows + 1) * WINDOW_TOKENS
    assert 0 <= ended[0] - began[0] - CONFIG.restart_tokens < 2 * 128


def test_what_goes_on_as_before_or_calms_down_restarts_nothing() -> None:
    for surprise in (stream((1.0, 60 * CALM)), stream((2.0, CALM), (1.0, CALM))):
        assert run(DriftState(), CONFIG, surprise)[1] == []


def test_a_short_jump_is_none() -> None:
    surprise = stream((1.0, CALM), (2.0, WINDOW_TOKENS), (1.0, CALM))
    assert run(DriftState(), CONFIG, surprise)[1] == []


def test_nothing_restarts_a_restart_and_a_new_history_is_needed_after_it() -> None:
    jumps = [(float(level), 4 * WINDOW_TOKENS) for level in range(2, 9)]
    state, began, _ = run(restart(DriftState(history=(1.0,) * HISTORY_WINDOWS), CONFIG), CONFIG, stream(*jumps))
    assert began == []
    assert state.history != ()
    assert len(state.history) < HISTORY_WINDOWS


def test_it_can_be_switched_off() -> None:
    surprise = stream((1.0, CALM), (2.0, CALM))
    state, began, _ = run(DriftState(), replace(CONFIG, drift=False), surprise)
    assert began == []
    assert not state.restart_left


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(1, 700), min_size=1, max_size=60), seed=st.integers(0, 99))
def test_how_the_stream_is_cut_does_not_show(cuts, seed) -> None:
    surprise = stream((1.0, CALM), (1.5, sum(cuts)), seed=seed)
    whole, _, _ = run(DriftState(), replace(CONFIG, drift=False), surprise, chunk=64)
    state, at = DriftState(), 0
    for n in [CALM, *cuts]:
        state = observe(state, replace(CONFIG, drift=False), surprise[at : at + n]).state
        at += n
    assert state.tokens == whole.tokens
    assert state.running == whole.running
    assert state.history == pytest.approx(whole.history, rel=1e-12)


def test_a_restart_learns_with_another_momentum_and_four_times_the_effective_step() -> None:
    state = restart(DriftState(), CONFIG)
    assert state.clear_due
    now = effective(state, CONFIG)
    assert now.eta == 0.5
    assert now.theta / (1 - now.eta) == pytest.approx(4 * CONFIG.theta / (1 - CONFIG.eta))
    assert effective(DriftState(), CONFIG) is CONFIG


def test_the_state_goes_to_values_and_back() -> None:
    state, _, _ = run(DriftState(), CONFIG, stream((1.0, CALM + 100)))
    assert DriftState.from_values(msgpack.unpackb(msgpack.packb(state.to_values()))) == state


def test_a_change_of_momentum_keeps_the_effective_step_unless_theta_is_given() -> None:
    now = changed(CONFIG, {"eta": 0.98})
    assert now.theta / (1 - now.eta) == pytest.approx(CONFIG.theta / (1 - CONFIG.eta))
    assert changed(CONFIG, {"eta": 0.98, "theta": 0.5}).theta == 0.5
    assert changed(CONFIG, {"half_life": 100.0}) == replace(CONFIG, half_life=100.0)


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"layers": 8}, "layers"), ({"eta": 1.0}, "eta"), ({"theta": -1.0}, "theta"), ({"drift_windows": 0}, "windows")],
)
def test_a_wrong_change_names_its_field(changes, field) -> None:
    with pytest.raises(InvalidArgumentError, match=field):
        changed(CONFIG, changes)


def test_presets_are_the_documented_ones() -> None:
    assert preset("default", CONFIG) == CONFIG
    shapes = {name: (p.layers, p.eta, p.theta) for name in PRESETS if (p := preset(name, CONFIG))}
    assert shapes["long-doc"] == (8, 0.995, 1e-3)
    assert shapes["genomics"] == (12, 0.992, 5e-4)
    assert shapes["dialogue"] == (6, 0.996, 2e-3)
    with pytest.raises(InvalidArgumentError, match=r"memory\.preset"):
        preset("novel", CONFIG)
