"""Which entries a memory can do without."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsvc.memory.importance import HALVING_TOKENS, importance, lowest, surplus


def of(surprise=0.5, tokens=20.0, age=0.0, feedback=0.0) -> float:
    return float(importance(*(np.array([v]) for v in (surprise, tokens, age, feedback)))[0])


def test_what_surprised_more_is_longer_newer_or_called_useful_matters_more() -> None:
    assert of(surprise=0.6) > of()
    assert of(tokens=30.0) > of()
    assert of(age=1000.0) < of()
    assert of(feedback=1.0) == pytest.approx(2 * of())
    assert of(feedback=-1.0) == pytest.approx(of() / 2)
    assert of(age=HALVING_TOKENS) == pytest.approx(of() / 2)
    assert of(feedback=100.0) == of(feedback=8.0), "nobody makes an entry last for ever"


def test_what_was_never_stepped_counts_as_the_others_do() -> None:
    values = importance(np.array([0.2, np.nan, 0.6]), np.full(3, 10.0), np.zeros(3), np.zeros(3))
    assert values[1] == pytest.approx(values[[0, 2]].mean())
    assert np.isfinite(importance(np.full(2, np.nan), np.ones(2), np.zeros(2), np.zeros(2))).all()


@given(st.lists(st.integers(0, 5), min_size=1), st.data())
def test_the_lowest_leave_and_of_equals_the_earlier(values, data) -> None:
    count = data.draw(st.integers(0, len(values)))
    leaving = lowest(np.array(values, float), count).tolist()
    assert leaving == sorted(sorted(range(len(values)), key=lambda i: (values[i], i))[:count])


@given(living=st.integers(0, 5000), most=st.integers(1, 2000))
def test_a_tenth_leaves_past_the_cap_and_none_before(living, most) -> None:
    count = surplus(living, most)
    assert (count > 0) == (living > most)
    if count:
        assert living - count == most - most // 10
