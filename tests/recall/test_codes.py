import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.recall.codes import CODE_ERROR, Codes

from .build import unit


def codes_of(rows: np.ndarray, pieces: list[int]) -> Codes:
    codes = Codes(rows.shape[1])
    for piece in np.split(rows, pieces):
        codes.extend(piece)
    return codes


@pytest.mark.parametrize("dim", [16, 384, 1024])
def test_products_are_nearly_those_of_the_rows(dim) -> None:
    rng = np.random.default_rng(dim)
    rows, queries = unit(rng, 9_000, dim), unit(rng, 2, dim)
    off = codes_of(rows, []).products(queries, len(rows)) - queries.astype(np.float64) @ rows.T
    # A width of 16 has larger numbers, and so larger steps.
    assert np.sqrt(np.square(off).mean()) < (CODE_ERROR / 2 if dim > 16 else 2 * CODE_ERROR)
    assert abs(off.mean()) < CODE_ERROR / 20


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), cuts=st.lists(st.integers(0, 8_300), max_size=4), count=st.integers(1, 8_300))
def test_bits_depend_neither_on_the_pieces_nor_on_the_other_rows(seed, cuts, count) -> None:
    rng = np.random.default_rng(seed)
    rows, queries = unit(rng, 8_300), unit(rng, 2)
    whole = codes_of(rows, []).products(queries, len(rows))
    np.testing.assert_array_equal(codes_of(rows, sorted(cuts)).products(queries, count), whole[:, :count])
    np.testing.assert_array_equal(codes_of(rows[:count], []).products(queries, count), whole[:, :count])
    np.testing.assert_array_equal(codes_of(rows, []).products(queries[1:], count), whole[1:, :count])


def test_a_row_of_zeros_has_products_of_zero() -> None:
    rows = np.zeros((3, 16), np.float32)
    assert not codes_of(rows, []).products(unit(np.random.default_rng(0), 2), 3).any()
    assert not codes_of(unit(np.random.default_rng(0), 3), []).products(rows[:2], 3).any()
