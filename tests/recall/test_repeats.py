"""Entries that share a text: found once, each with its own session, role, time and metadata."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.recall import rank as module
from memsvc.recall.filter import Filter
from memsvc.recall.index import Index
from memsvc.recall.rank import RankConfig, rank
from memsvc.recall.rows import NewEntry

from .build import DIM, entries, index_of, query

OWN = RankConfig(neighbour1=0, neighbour2=0, session=0)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def repeated(entry: NewEntry, number: int, **changes) -> NewEntry:
    nothing = {"vectors": entry.vectors[:0], "spans": entry.spans[:0], "tokens": 0}
    return entry._replace(number=number, seq=number, repeats=entry.number, **nothing, **changes)


def numbered(made: list[NewEntry]) -> list[NewEntry]:
    return [entry._replace(number=i, seq=i) for i, entry in enumerate(made, 1)]


def with_copies(made: list[NewEntry], copies: int) -> list[NewEntry]:
    """Each entry followed at once by copies of it, under numbers in the order of writing."""
    out: list[NewEntry] = []
    for entry in made:
        first = entry._replace(number=len(out) + 1, seq=len(out) + 1)
        out += [first, *(repeated(first, first.number + i) for i in range(1, copies))]
    return out


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), count=st.integers(1, 30), copies=st.integers(2, 5), k=st.integers(1, 12))
def test_copies_written_at_once_change_no_score_and_no_order(seed, count, copies, k) -> None:
    made = numbered(entries(seed, count))
    once, often = index_of(made), index_of(with_copies(made, copies))
    assert often.passages == once.passages
    for asked in range(3):
        alone = rank(once, query(asked), RankConfig(), k)
        among = rank(often, query(asked), RankConfig(), k)
        assert [copies * (hit.number - 1) + 1 for hit in alone] == [hit.number for hit in among]
        assert [hit[1:-1] for hit in alone] == [hit[1:-1] for hit in among]
        assert all(hit.also == tuple(range(hit.number + 1, hit.number + copies)) for hit in among)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), data=st.data())
def test_a_hit_is_the_best_that_the_filter_selects_and_names_the_others(seed, data) -> None:
    dice = st.integers(0, 14)
    made = numbered(entries(seed, 15))
    for number in range(16, 40):
        first = made[data.draw(dice)]
        made.append(repeated(first, number, session=data.draw(st.sampled_from(["", "s0", "s1"])), role="user"))
    index = index_of(made)
    dead = data.draw(st.sets(st.integers(1, 39)))
    index.hide(dead, 40)
    text = {e.number: e.repeats or e.number for e in made}
    for filter in (None, Filter.parse(session="s1"), Filter.parse(role="user")):
        chosen = [
            e.number
            for e in made
            if e.number not in dead
            and (filter is None or filter.matches(e.session, e.role, e.time_us, e.metadata_json))
        ]
        hits = rank(index, query(seed), RankConfig(), 100, filter)
        assert sorted(text[hit.number] for hit in hits) == sorted({text[number] for number in chosen})
        for hit in hits:
            assert sorted([hit.number, *hit.also]) == [n for n in chosen if text[n] == text[hit.number]]
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert rank(index, query(seed), RankConfig(), 3, filter) == hits[:3]


def test_of_those_that_share_a_text_the_one_in_the_better_place_is_the_hit() -> None:
    made = numbered(entries(5, 12, sessions=1))
    asked = query(5)
    found = rank(index_of(made), asked, OWN, 12)
    best, worst = found[0].number, found[-1].number
    made = [e._replace(session="near" if e.number == best else "far") for e in made]
    made.append(repeated(made[worst - 1], 13, session="near"))
    (hit,) = [h for h in rank(index_of(made), asked, RankConfig(), 12) if h.number in {worst, 13}]
    assert (hit.number, hit.also) == (13, (worst,))
    assert hit.context > 0


def test_the_first_may_die_and_the_repeat_is_found_as_before() -> None:
    made = numbered(entries(6, 10))
    index = index_of([*made, repeated(made[3], 11, session="other")])
    before = {hit.number for hit in rank(index, query(1), OWN, 20)}
    index.hide([4], 12)
    hits = rank(index, query(1), OWN, 20)
    assert before == {hit.number for hit in index_hits(made)}
    assert {hit.number for hit in hits} == before - {4} | {11}
    assert not any(hit.also for hit in hits)
    index.hide([11], 13)
    assert {hit.number for hit in rank(index, query(1), OWN, 20)} == before - {4}
    # As of then it is there again.
    assert {hit.number for hit in rank(index, query(1), OWN, 20, as_of=12)} == before - {4} | {11}
    assert {hit.number for hit in rank(index, query(1), OWN, 20, as_of=10)} == before


def index_hits(made: list[NewEntry]) -> list:
    return rank(index_of(made), query(1), OWN, 20)


def test_the_newest_of_very_many_are_named(monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST_ALSO", 3)
    made = numbered(entries(7, 5))
    index = index_of([*made, *(repeated(made[0], n) for n in range(6, 20))])
    (hit,) = [h for h in rank(index, query(2), OWN, 5) if h.number == 1]
    assert hit.also == (17, 18, 19)


def test_a_passage_is_of_the_text_as_the_hit_has_it() -> None:
    made = numbered(entries(8, 6))
    same, longer = (repeated(made[2], 7 + i, session="x") for i in range(2))
    longer = longer._replace(text=made[2].text + "    ")
    index = index_of([*made, same, longer])
    spans = {}
    for gone in ([], [3], [3, 7]):
        index.hide(gone, 9)
        (hit,) = [h for h in rank(index, query(3), OWN, 9) if h.number in {3, 7, 8}]
        spans[hit.number] = hit.span
    assert spans[7] == spans[3]
    assert spans[8] == (0, len(longer.text))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), data=st.data())
def test_a_loaded_index_shares_the_same_texts(seed, data) -> None:
    made = numbered(entries(seed, 12))
    for number in range(13, 13 + data.draw(st.integers(1, 20))):
        made.append(repeated(made[data.draw(st.integers(0, number - 2))], number))
    saves = sorted(data.draw(st.sets(st.integers(1, len(made)))) | {len(made)})
    index, segments, since = Index(DIM), {}, 0
    for save in saves:
        index.add(made[since:save])
        segments |= index.segments(since)
        since = save
    loaded = Index.load(DIM, segments.values(), index.changing_bytes())
    assert loaded.segments() == index.segments()
    assert rank(loaded, query(seed), RankConfig(), 99) == rank(index, query(seed), RankConfig(), 99)
    assert loaded.merged == index.merged == len(made) - 12
    assert loaded.content() == index.content()
    assert np.array_equal(loaded.learnt_passages, index.learnt_passages)


def test_a_repeat_of_what_is_not_there_is_refused_and_nothing_is_added() -> None:
    made = numbered(entries(9, 4))
    index = index_of(made)
    with pytest.raises(ValueError, match="not here"):
        index.add([repeated(made[0], 5)._replace(repeats=17)])
    assert len(index) == 4


def test_a_repeat_is_as_long_as_its_text_for_its_importance() -> None:
    made = numbered(entries(10, 3))
    index = index_of([*made, repeated(made[0], 4)])
    assert index.importance()[3] == pytest.approx(index.importance()[2], rel=1e-4)
