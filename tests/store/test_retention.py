"""Which snapshots stay: whatever they were, and as they are saved one after another."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from memsvc.store.retention import kept
from memsvc.store.types import Retention

seqs = st.sets(st.integers(1, 2_000) | st.integers(1, 2**40), max_size=60)


@given(seqs, st.sampled_from(Retention))
def test_the_two_newest_always_stay(given, keep) -> None:
    stay = kept(given, keep)
    assert set(sorted(given)[-2:]) <= stay <= given
    assert kept(stay, keep) == stay, "the next time drops nothing more"


@given(seqs)
def test_none_and_all(given) -> None:
    assert kept(given, Retention.NONE) == set(sorted(given)[-2:])
    assert kept(given, Retention.ALL) == given


@given(seqs.filter(bool))
def test_few_are_kept(given) -> None:
    assert len(kept(given, Retention.LOG_SPACED)) <= 2 + math.log2(max(given))


@given(seqs.filter(bool))
def test_what_is_dropped_has_one_before_it_less_than_twice_as_far(given) -> None:
    stay, newest = kept(given, Retention.LOG_SPACED), max(given)
    assert min(given) in stay
    for seq in given - stay:
        nearest = max(s for s in stay if s < seq)
        assert newest - nearest < 2 * (newest - seq)


@given(st.integers(1, 100) | st.sampled_from([1, 2, 16]), st.integers(3, 200))
def test_saving_at_a_steady_pace_leaves_no_wide_gap(step, saves) -> None:
    saved: list[int] = []
    stay: set[int] = set()
    for count in range(1, saves):
        saved.append(count * step)
        stay = kept({*stay, count * step}, Retention.LOG_SPACED)
    newest = saved[-1]
    assert saved[0] in stay
    distances = sorted(newest - seq for seq in stay)[1:]
    widest = 4 if step & (step - 1) == 0 else 8  # a pace out of step with the powers of two may leave one of them empty
    assert all(after < widest * before for before, after in pairwise(distances))
    assert len(stay) <= 3 + math.log2(saves), "whatever the step"


@given(st.sets(st.integers(1, 400), min_size=1))
def test_the_first_of_all_stays_however_they_come(given) -> None:
    stay: set[int] = set()
    for seq in sorted(given):
        stay = kept({*stay, seq}, Retention.LOG_SPACED)
    assert min(given) in stay
