"""Ranking as it is with many entries: by codes first. What holds of few has to hold of many."""

import numpy as np
import pytest

from memsvc.recall import vectors
from memsvc.recall.rank import RankConfig, rank

from .build import entries, index_of, query, unit
from .test_rank import (  # noqa: F401  # run here, too
    naive_scores,
    one_thread,
    test_a_filter_selects_and_changes_no_score,
    test_a_signal_switched_off_adds_nothing,
    test_an_entry_without_a_session_is_a_session_of_one,
    test_as_of_is_an_index_that_was_never_added_to,
    test_context_lifts_the_neighbour_of_a_hit_above_a_stranger,
    test_nothing_is_found_where_nothing_is,
    test_of_equal_scores_the_lower_number_comes_first,
    test_the_parts_sum_to_the_score_and_the_k_best_lead_the_k_plus_one_best,
    test_the_span_is_the_passage_that_the_dense_signals_like_best,
)
from .test_repeats import test_a_hit_is_the_best_that_the_filter_selects_and_names_the_others  # noqa: F401


@pytest.fixture(autouse=True, scope="module")
def by_codes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "EXACT_ROWS", 0)
        yield


@pytest.mark.parametrize("seed", range(2, 12))
def test_scores_are_nearly_the_formulas(seed) -> None:
    made = entries(seed, 6 * seed)
    wanted = naive_scores(made, query(seed), RankConfig())
    found = {h.number: h.score for h in rank(index_of(made), query(seed), RankConfig(), len(made))}
    np.testing.assert_allclose([found[e.number] for e in made], wanted, atol=0.02)


def test_the_best_are_the_best_by_the_vectors_themselves(monkeypatch) -> None:
    made = entries(0, 3_000)
    index, found = index_of(made, 500), {}
    for exact_rows in (0, 10_000):
        monkeypatch.setattr(vectors, "EXACT_ROWS", exact_rows)
        found[exact_rows] = [[h.number for h in rank(index, query(seed), RankConfig(), 10)] for seed in range(40)]
    same = [len({*codes} & {*exact}) for codes, exact in zip(*found.values(), strict=True)]
    assert np.mean(same) > 9.9
    assert sum(codes[0] == exact[0] for codes, exact in zip(*found.values(), strict=True)) >= 39


def test_vectors_that_are_all_alike_say_nothing() -> None:
    rng = np.random.default_rng(0)
    same = unit(rng, 1)
    made = [
        e._replace(vectors=same + np.float32(1e-6) * unit(rng, 1), spans=np.array([[0, 5]], np.int32))
        for e in entries(3, 200)
    ]
    for hit in rank(index_of(made), query(1), RankConfig(), 200):
        assert abs(hit.surprise) < 1
        assert abs(hit.cosine) < 1
