"""Entries that leave the index because there are too many, and come back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.recall.index import Index
from memsvc.recall.rank import RankConfig, rank

from .build import DIM, entries, index_of, query


def ranked(index: Index) -> list:
    return rank(index, query(1), RankConfig(), 1000)


def alive(index: Index) -> set[int]:
    return {hit.number for hit in ranked(index)}


def surprised(seed: int, count: int) -> Index:
    """An index whose entries surprised differently."""
    index = index_of(entries(seed, count), 7)
    for position in range(count):
        index.add_surprise(index.number(position), 0.1 + (position * 7919 % 101) / 100, 1, 1)
    return index


def test_those_of_least_importance_leave_and_no_others() -> None:
    index = surprised(1, 40)
    importance = dict(zip([index.number(i) for i in range(40)], index.importance().tolist(), strict=True))
    assert index.resample(30, seq=99) == 13
    stay = alive(index)
    assert (index.living, index.evicted, len(stay)) == (27, 13, 27)
    assert min(importance[n] for n in stay) >= max(v for n, v in importance.items() if n not in stay)
    assert all(index.is_evicted(n) == (n not in stay) for n in importance)
    assert index.resample(30, seq=100) == 0, "there is room again"


def test_the_rest_ranks_as_if_the_others_had_never_been() -> None:
    index = surprised(2, 30)
    index.resample(20, seq=99)
    stay = alive(index)
    fresh = index_of([e for e in entries(2, 30) if e.number in stay], 7)
    assert [(h.number, pytest.approx(h.score)) for h in ranked(fresh)] == [(h.number, h.score) for h in ranked(index)]


def test_the_most_important_come_back_first() -> None:
    index, whole = surprised(3, 40), surprised(3, 40)
    index.resample(20, seq=99)
    away = {index.number(i) for i in range(40)} - alive(index)
    importance = {index.number(i): v for i, v in enumerate(index.importance().tolist())}
    assert index.take_back(25) == 7
    back = away & alive(index)
    assert min(importance[n] for n in back) >= max(importance[n] for n in away - back)
    assert index.take_back(1000) == 15
    assert ranked(index) == ranked(whole)
    assert (index.living, index.evicted) == (40, 0)


def test_feedback_keeps_what_would_leave() -> None:
    index = surprised(4, 40)
    least = index.number(int(index.importance().argmin()))
    index.rate([least, 10_000], 1)
    for _ in range(7):
        index.rate([least], 1)
    index.resample(30, seq=99)
    assert not index.is_evicted(least)


def test_what_left_can_die_and_does_not_come_back() -> None:
    index = surprised(5, 20)
    index.resample(10, seq=99)
    gone = next(index.number(i) for i in range(20) if index.is_evicted(index.number(i)))
    assert index.hide([gone], seq=100) == 1
    assert index.living == 9
    index.take_back(1000)
    assert gone not in alive(index)
    assert index.living == 19


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), most=st.integers(1, 30), back=st.integers(0, 40))
def test_a_loaded_index_knows_who_left(seed, most, back) -> None:
    index = surprised(seed, 30)
    index.resample(most, seq=99)
    index.rate([index.number(3)], -2)
    loaded = Index.load(DIM, index.segments().values(), index.changing_bytes())
    for one in (index, loaded):
        one.take_back(back)
    assert ranked(loaded) == ranked(index)
    assert (loaded.living, loaded.evicted, loaded.content()) == (index.living, index.evicted, index.content())
