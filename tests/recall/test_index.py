import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.errors import DataLossError
from memsvc.recall import index as module
from memsvc.recall.filter import Filter
from memsvc.recall.index import Index
from memsvc.recall.rank import RankConfig, rank

from .build import DIM, entries, index_of, query, unit


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def everything(index: Index) -> list:
    wanted = Filter.parse(session="s1", metadata_json='{"x": {"$ne": 2.5}}')
    return [rank(index, query(s), RankConfig(), 1000, filter) for s in range(3) for filter in (None, wanted)]


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 999),
    count=st.integers(0, 40),
    saves=st.lists(st.integers(0, 40), max_size=4),
    entries_each=st.integers(1, 9),
    passages_each=st.integers(1, 9),
)
def test_a_loaded_index_ranks_the_same_in_any_segmentation(seed, count, saves, entries_each, passages_each) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SEGMENT_ENTRIES", entries_each)
        patch.setattr(module, "SEGMENT_PASSAGES", passages_each)
        made, index, segments, since = entries(seed, count), Index(DIM), {}, 0
        for save in [*sorted(min(save, count) for save in saves), count]:
            index.add(made[since:save])
            segments |= index.segments(since)
            since = save
        assert sorted(segments) == list(segments)
        loaded = Index.load(DIM, segments.values())
        assert everything(loaded) == everything(index)
        # Whole and loaded are one thing: what is added later, and what is saved of either, is the same too.
        later = [e._replace(number=e.number + 1000, seq=e.seq + 1000) for e in entries(seed + 1, 12)]
        index.add(later)
        loaded.add(later)
        assert everything(loaded) == everything(index)
        assert loaded.segments() == index.segments()


def test_segments_are_small_and_a_saved_one_is_never_written_again() -> None:
    made = entries(1, 5000, passages=1)
    index = index_of(made[:4500], 500)
    first = index.segments()
    index.add(made[4500:])
    assert places(first) == ["index-000000000000-000000004096", "index-000000004096-000000004500"]
    assert places(index.segments(4500)) == ["index-000000004500-000000005000"]
    assert index.segments(5000) == {}
    assert index.segments().items() >= {name: first[name] for name in list(first)[:1]}.items()


def places(segments: dict[str, bytes]) -> list[str]:
    """The names of segments, as far as they say what entries these have."""
    return [name.rpartition("-")[0] for name in segments]


def test_other_entries_in_the_same_places_make_a_segment_of_another_name() -> None:
    """A log of which an entry is destroyed comes to an index without it when it is folded again."""
    made = entries(1, 8200, passages=1)
    before, after = index_of(made, 500).segments(), index_of(made[1:], 500).segments()
    assert places(before)[:2] == places(after)[:2]
    assert not before.keys() & after.keys()


def test_an_entry_of_very_many_passages_has_a_segment_of_its_own() -> None:
    rng = np.random.default_rng(0)
    made = entries(1, 3)
    made[1] = made[1]._replace(vectors=unit(rng, 5000), spans=np.zeros((5000, 2), np.int32))
    segments = index_of(made).segments()
    assert len(segments) == 3
    assert everything(Index.load(DIM, segments.values())) == everything(index_of(made))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_is_noticed(data) -> None:
    index = index_of(entries(1, 10))
    (segment,) = index.segments().values()
    kind = data.draw(st.sampled_from(["cut", "longer", "header", "empty", "newer"]))
    damaged = {
        "cut": segment[: data.draw(st.integers(0, len(segment) - 1))],
        "longer": segment + b"\0",
        "header": bytearray(segment),
        "empty": b"",
        "newer": b"\x03" + segment[1:],
    }[kind]
    if kind == "header":
        damaged[data.draw(st.integers(0, 7))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DataLossError):
        Index.load(DIM, [bytes(damaged)])


def test_segments_that_do_not_fit_are_refused() -> None:
    made = entries(1, 20)
    (first,), (second,) = index_of(made[:10]).segments().values(), index_of(made).segments(10).values()
    assert len(Index.load(DIM, [first, second])) == 20
    with pytest.raises(DataLossError, match="follow"):
        Index.load(DIM, [second, first])
    with pytest.raises(DataLossError, match="follow"):
        Index.load(DIM + 1, [first])
    with pytest.raises(DataLossError, match="surprise"):
        Index.load(DIM, [first], b"\0" * 24)


def test_any_byte_of_a_segment_may_be_wrong_without_a_crash() -> None:
    """The store's checksum finds a flipped bit; without it the worst is an error of ours, or another index."""
    (segment,) = index_of(entries(2, 6)).segments().values()
    for at in range(0, len(segment), 3):
        damaged = bytearray(segment)
        damaged[at] ^= 0x5A
        try:
            loaded = Index.load(DIM, [bytes(damaged)])
        except DataLossError:
            continue
        assert loaded.dim == DIM


def test_surprise_adds_up_and_survives_a_load() -> None:
    index = index_of(entries(3, 10))
    a, b = index.number(2), index.number(7)
    assert index.surprise_of(a) == (0.0, 0, 0)
    index.add_surprise(a, 6.0, 3, 3)
    index.add_surprise(a, 2.0, 1, 0)
    index.add_surprise(b, 0.5, 2, 1)
    before = index.segments()
    loaded = Index.load(DIM, before.values(), index.changing_bytes())
    for each in (index, loaded):
        assert each.surprise_of(a) == (8.0, 4, 3)
        assert each.surprise_of(b) == (0.5, 2, 1)
    assert index.segments() == before
    with pytest.raises(KeyError):
        index.surprise_of(10**6)


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_are_the_session_in_the_order_of_writing(seed) -> None:
    made = entries(seed, 40)
    for index in (index_of(made), Index.load(DIM, index_of(made).segments().values())):
        for entry in made:
            session = [e.number for e in made if e.session == entry.session] if entry.session else [entry.number]
            at = session.index(entry.number)
            for n in (0, 1, 3):
                assert index.neighbours(entry.number, n) == (session[max(at - n, 0) : at], session[at + 1 : at + 1 + n])


def test_counts_and_bytes() -> None:
    made = entries(1, 30)
    index = index_of(made)
    assert len(index) == 30
    assert index.passages == sum(len(e.vectors) for e in made)
    assert Index(DIM).nbytes < 4096
    assert index.nbytes > 4 * DIM * index.passages


@pytest.mark.parametrize(
    "change",
    [
        {"number": 1},
        {"seq": 0},
        {"vectors": np.zeros((1, DIM + 1), np.float32)},
        {"vectors": np.zeros((0, DIM), np.float32), "spans": np.zeros((0, 2), np.int32)},
        {"spans": np.zeros((9, 2), np.int32)},
    ],
)
def test_an_entry_that_does_not_fit_is_refused_and_nothing_is_added(change) -> None:
    made = entries(1, 12)
    index = index_of(made[:10])
    before = everything(index)
    with pytest.raises(ValueError, match=r"entr|passage"):
        index.add([made[10], made[11]._replace(**change)])
    assert len(index) == 10
    assert everything(index) == before
