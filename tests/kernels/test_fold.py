"""The closed form against the recurrence that it solves."""

from hypothesis import given
from hypothesis import strategies as st
from memsvc_kernels.fold import fold

SHARES = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))
TOKENS = st.lists(st.tuples(SHARES, SHARES, SHARES), min_size=1, max_size=40)


@given(TOKENS, st.floats(-2, 2), st.floats(-2, 2))
def test_the_closed_form_solves_the_recurrence_for_any_gate_momentum_and_decay(tokens, delta, momentum):
    # Each token's gradient is a dimension of its own, so every coefficient is seen by itself.
    end = fold(*map(list, zip(*tokens, strict=True)))
    size = len(tokens)
    s, d = [0.0] * size + [momentum, 0.0], [0.0] * size + [0.0, delta]
    for j, (w, eta, alpha) in enumerate(tokens):
        s = [(1 - w * (1 - eta)) * x for x in s]
        s[j] -= w
        d = [(1 - w * alpha) * x + w * y for x, y in zip(d, s, strict=True)]
    for j, (w, _, _) in enumerate(tokens):
        assert abs(-w * end.momentum[j] - s[j]) <= 1e-13
        assert abs(-w * end.delta[j] - d[j]) <= 1e-13 * size
    assert abs(end.keep_momentum * momentum - s[size]) <= 1e-13
    assert abs(end.carry * momentum - d[size]) <= 1e-13 * size
    assert abs(end.keep_delta * delta - d[size + 1]) <= 1e-13


@given(TOKENS)
def test_a_token_that_does_not_write_can_be_left_out(tokens):
    every = fold(*map(list, zip(*tokens, strict=True)))
    writing = [j for j, (w, _, _) in enumerate(tokens) if w]
    some = fold(*([tokens[j][i] for j in writing] for i in range(3)))
    assert [every.momentum[j] for j in writing] == list(some.momentum)
    assert [every.delta[j] for j in writing] == list(some.delta)
    assert every[2:] == some[2:]
