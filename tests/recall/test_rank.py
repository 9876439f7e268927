import math
import statistics
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.errors import InvalidArgumentError
from memsvc.recall.filter import Filter
from memsvc.recall.index import Index
from memsvc.recall.rank import Query, RankConfig, rank

from .build import entries, index_of, query, unit
from .test_lexical import naive_bm25

WEIGHTS = [f.name for f in fields(RankConfig) if f.name != "session_top"]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def z(scores):
    mean, std = statistics.fmean(scores), statistics.pstdev(scores)
    return [(s - mean) / (std + 1e-9) for s in scores]


def naive_scores(made, query, config):
    """reference/locomo_recall.py's formulas, entry by entry; an entry without a session is a session of one."""

    def dense(vector):
        return z([max(float(v @ vector) for v in e.vectors.astype(np.float64)) for e in made])

    surprise, cosine, lexical = (
        dense(query.surprise),
        dense(query.pooled),
        z(naive_bm25([e.text for e in made], query.text)),
    )
    own = [
        config.surprise * s + config.cosine * c + config.lexical * w
        for s, c, w in zip(surprise, cosine, lexical, strict=True)
    ]
    total = []
    for i, entry in enumerate(made):
        session = [j for j, e in enumerate(made) if e.session == entry.session] if entry.session else [i]
        at = session.index(i)
        score = own[i]
        for offset, weight in ((1, config.neighbour1), (2, config.neighbour2)):
            for place in (at - offset, at + offset):
                if 0 <= place < len(session):
                    score += weight * own[session[place]]
        best = sorted((own[j] for j in session), reverse=True)[: config.session_top]
        total.append(score + config.session * statistics.fmean(best))
    return total


@pytest.mark.parametrize("seed", range(12))
def test_scores_are_the_formulas(seed) -> None:
    made = entries(seed, 1 + 6 * seed)
    config = RankConfig(session_top=1 + seed % 4)
    if seed % 3 == 1:  # a signal switched off
        config = replace(config, **{WEIGHTS[seed % len(WEIGHTS)]: 0.0})
    wanted = naive_scores(made, query(seed), config)
    hits = rank(index_of(made), query(seed), config, len(made))
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
    found = {h.number: h.score for h in hits}
    np.testing.assert_allclose([found[e.number] for e in made], wanted, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), count=st.integers(0, 40), cut=st.integers(-1, 60), k=st.integers(1, 50))
def test_as_of_is_an_index_that_was_never_added_to(seed, count, cut, k) -> None:
    made = entries(seed, count)
    past = index_of([e for e in made if e.seq <= cut], 3)
    wanted = Filter.parse(role="user", metadata_json='{"x": {"$ne": 1}}')
    for filter in (None, wanted):
        assert rank(index_of(made), query(seed), RankConfig(), k, filter, as_of=cut) == rank(
            past, query(seed), RankConfig(), k, filter
        )


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999), k=st.integers(1, 30), conditions=st.sampled_from(["", '{"x": 1}', '{"y": {"$gt": "a"}}'])
)
def test_a_filter_selects_and_changes_no_score(seed, k, conditions) -> None:
    made = entries(seed, 30)
    index = index_of(made)
    wanted = Filter.parse(session="s1" if seed % 2 else None, role="user", after_us=300, metadata_json=conditions)
    matching = {e.number for e in made if wanted.matches(e.session, e.role, e.time_us, e.metadata_json)}
    everything = rank(index, query(seed), RankConfig(), 30)
    assert rank(index, query(seed), RankConfig(), k, wanted) == [h for h in everything if h.number in matching][:k]


@pytest.mark.parametrize("seed", range(5))
def test_the_parts_sum_to_the_score_and_the_k_best_lead_the_k_plus_one_best(seed) -> None:
    index = index_of(entries(seed, 50))
    hits = rank(index, query(seed), RankConfig(), 20)
    assert len(hits) == 20
    for hit in hits:
        assert math.isclose(hit.surprise + hit.cosine + hit.lexical + hit.context, hit.score, abs_tol=1e-12)
    for k in (1, 5, 19):
        assert rank(index, query(seed), RankConfig(), k) == hits[:k]


def test_of_equal_scores_the_lower_number_comes_first() -> None:
    same = unit(np.random.default_rng(0), 1)
    made = [
        e._replace(vectors=same, spans=np.array([[0, 5]], np.int32), text="river", session="") for e in entries(3, 20)
    ]
    for k in (3, 20):
        assert [h.number for h in rank(index_of(made), query(1), RankConfig(), k)] == [e.number for e in made][:k]


@pytest.mark.parametrize("name", ["surprise", "cosine", "lexical"])
def test_a_signal_switched_off_adds_nothing(name) -> None:
    hits = rank(index_of(entries(2, 30)), query(2), RankConfig(**{name: 0.0}), 30)
    assert {getattr(h, name) for h in hits} == {0.0}
    assert len({h.score for h in hits}) > 1


def test_without_context_an_entry_has_its_own_score() -> None:
    config = RankConfig(neighbour1=0, neighbour2=0, session=0)
    assert {h.context for h in rank(index_of(entries(2, 30)), query(2), config, 30)} == {0.0}


def test_the_span_is_the_passage_that_the_dense_signals_like_best() -> None:
    rng = np.random.default_rng(5)
    asked = unit(rng, 1)[0]
    made = [
        e._replace(vectors=unit(rng, 3), spans=np.array([[0, 9], [5, 14], [12, 30]], np.int32)) for e in entries(5, 9)
    ]
    vectors = unit(rng, 3)
    vectors[1] = asked
    made[4] = made[4]._replace(vectors=vectors)
    best = rank(index_of(made), Query("", asked, asked), RankConfig(), 1)[0]
    assert (best.number, best.span) == (made[4].number, (5, 14))


def test_context_lifts_the_neighbour_of_a_hit_above_a_stranger() -> None:
    rng = np.random.default_rng(1)
    asked, other = unit(rng, 2)
    plain = [
        e._replace(session="a" if i < 5 else "b", text="", vectors=other[None], spans=np.zeros((1, 2), np.int32))
        for i, e in enumerate(entries(1, 10))
    ]
    plain[2] = plain[2]._replace(vectors=asked[None])
    numbers = [e.number for e in plain]
    order = [h.number for h in rank(index_of(plain), Query("", asked, asked), RankConfig(), 10)]
    assert order[:3] == [numbers[i] for i in (2, 1, 3)]
    assert set(order[:5]) == set(numbers[:5])


def test_an_entry_without_a_session_is_a_session_of_one() -> None:
    made = entries(4, 25)
    alone = [e._replace(session="") for e in made]
    single = [e._replace(session=f"own {i}") for i, e in enumerate(made)]
    assert rank(index_of(alone), query(4), RankConfig(), 25) == rank(index_of(single), query(4), RankConfig(), 25)


def test_nothing_is_found_where_nothing_is() -> None:
    assert rank(index_of([]), query(0), RankConfig(), 5) == []
    assert rank(index_of(entries(0, 5)), query(0), RankConfig(), 5, as_of=0) == []
    assert rank(index_of(entries(0, 5)), query(0), RankConfig(), 5, Filter.parse(session="none")) == []


def test_bits_do_not_depend_on_how_many_rows_there_are() -> None:
    # More rows than one block of the vectors holds, with d large enough for it to be small.
    rng = np.random.default_rng(0)
    made = [
        e._replace(vectors=unit(rng, 1, 8192), spans=np.zeros((1, 2), np.int32)) for e in entries(0, 150, passages=1)
    ]
    index, queries = Index(8192), unit(rng, 2, 8192)
    index.add(made)
    whole = index.texts.products(queries, 150)
    np.testing.assert_allclose(whole, queries.astype(np.float64) @ index.texts.vectors.slice(0, 150).T, atol=1e-5)
    for count in (1, 63, 64, 65, 149):
        np.testing.assert_array_equal(index.texts.products(queries, count), whole[:, :count])


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_a_weight_that_is_none_is_refused_by_name(name, value) -> None:
    with pytest.raises(InvalidArgumentError, match=f"rank.{name}"):
        RankConfig(**{name: value})


def test_session_top_is_at_least_one() -> None:
    with pytest.raises(InvalidArgumentError, match="session_top"):
        RankConfig(session_top=0)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 30), data=st.data())
def test_the_dead_leave_no_trace_and_the_past_still_has_them(seed, count, data) -> None:
    made = entries(seed, count)
    numbers = [entry.number for entry in made]
    dead = data.draw(st.sets(st.sampled_from(numbers)))
    index, asked = index_of(made), query(seed)
    last = made[-1].seq
    before = rank(index, asked, RankConfig(), count)
    index.hide(dead, last + 1)
    living = [entry for entry in made if entry.number not in dead]
    found = rank(index, asked, RankConfig(), count)
    assert index.living == len(living) == len(found)
    assert {r.number for r in found} == {entry.number for entry in living}
    if living:
        wanted = dict(zip((e.number for e in living), naive_scores(living, asked, RankConfig()), strict=True))
        assert [r.score for r in found] == pytest.approx([wanted[r.number] for r in found], abs=1e-5)
    assert rank(index, asked, RankConfig(), count, as_of=last) == before
    loaded = Index.load(index.dim, index.segments().values(), index.changing_bytes())
    assert rank(loaded, asked, RankConfig(), count) == found
    assert loaded.content() == index.content()
