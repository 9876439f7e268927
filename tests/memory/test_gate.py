"""The gate's threshold against a plain model of it."""

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.memory.config import MemoryConfig
from memsvc.memory.gate import SMOOTHING, WINDOW_TOKENS, GateState, observe


def config(gate, value):
    return MemoryConfig(gate=gate, gate_value=value)


def stream(tokens, seed=0):
    return np.random.default_rng(seed).gamma(2.0, size=tokens).astype(np.float32)


def fed(settings_, surprises, cuts):
    """Return the state after all, and every (tokens, threshold) on the way."""
    state, seen = GateState(), [(0, 0.0)]
    for part in np.split(surprises, cuts):
        state = observe(state, settings_, part)
        seen.append((state.tokens, state.threshold))
    return state, seen


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 20_000), st.lists(st.integers(0, 20_000), max_size=40), st.floats(0, 0.999))
def test_the_threshold_moves_every_4096_tokens_however_the_stream_is_cut(tokens, cuts, quantile):
    surprises = stream(tokens)
    moves = [0.0]
    for i in range(tokens // 4096):
        value = np.quantile(surprises[i * 4096 : (i + 1) * 4096].astype(np.float64), quantile)
        moves.append(value if i == 0 else moves[-1] + SMOOTHING * (value - moves[-1]))
    state, seen = fed(config("quantile", quantile), surprises, sorted(min(cut, tokens) for cut in cuts))
    assert state.tokens == tokens
    for n, threshold in seen:
        assert threshold == pytest.approx(moves[n // 4096], rel=1e-12)
    whole, _ = fed(config("quantile", quantile), surprises, [])
    assert whole == state


def test_the_window_is_4096_tokens():
    assert WINDOW_TOKENS == 4096


@pytest.mark.parametrize(("gate", "after"), [("fixed", 0.7), ("off", 0.0)])
def test_a_fixed_gate_is_open_for_4096_tokens_and_an_open_one_for_ever(gate, after):
    settings_ = config(gate, 0.7)
    state, seen = fed(settings_, stream(9000), range(100, 9000, 100))
    assert all(threshold == (after if n >= 4096 else 0.0) for n, threshold in seen)
    # Nothing is kept that no quantile needs.
    assert state == GateState(threshold=after, tokens=9000)


def test_the_share_that_writes_settles_at_what_the_quantile_leaves():
    settings_, state, surprises = config("quantile", 0.9), GateState(), stream(40_000)
    wrote = 0
    for chunk in surprises.reshape(-1, 64):
        wrote += int((chunk >= state.threshold).sum()) if state.tokens >= 8192 else 0
        state = observe(state, settings_, chunk)
    assert wrote / (40_000 - 8192) == pytest.approx(0.1, abs=0.02)


def test_a_gate_follows_a_stream_that_grows_calmer():
    settings_ = config("quantile", 0.5)
    state, _ = fed(settings_, stream(8192), [])
    high = state.threshold
    for i in range(4):
        state = observe(state, settings_, 0.1 * stream(4096, seed=i + 1))
    assert 0.1 * high < state.threshold < 0.2 * high


@given(st.integers(0, 9000))
@settings(max_examples=20, deadline=None)
def test_a_state_survives_msgpack_and_goes_on_the_same(at):
    settings_, surprises = config("quantile", 0.8), stream(10_000)
    state = observe(GateState(), settings_, surprises[:at])
    again = GateState.from_values(msgpack.unpackb(msgpack.packb(state.to_values())))
    assert again == state
    assert observe(again, settings_, surprises[at:]) == observe(state, settings_, surprises[at:])
