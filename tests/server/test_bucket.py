"""What a token bucket promises, whatever is asked of it when."""

from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.server.bucket import SLACK, Bucket

rates = st.floats(0.01, 1e9)
spans = st.floats(0.01, 3600)
amounts = st.floats(0, 1e10)
pauses = st.floats(0, 1e5)
requests = st.lists(st.tuples(pauses, amounts), max_size=50)


def near(a: float, b: float, scale: float) -> bool:
    """Whether two figures are equal but for rounding, and what may be missing from a bucket of that scale."""
    return abs(a - b) <= 1e-6 * max(abs(a), abs(b)) + 2 * SLACK * scale


@settings(deadline=None)
@given(rates, spans, requests)
def test_no_more_is_taken_than_flows_in_and_fits_in(rate, span, asked) -> None:
    """But for what the largest taking has beyond what fits in: that much is owed."""
    capacity, now, taken = rate * span, 100.0, 0.0
    bucket = Bucket(rate, capacity, now)
    for pause, amount in asked:
        now += pause
        if not bucket.wait(amount, now):
            bucket.take(amount, now)
            taken += amount
            beyond = max(0.0, max(amount for _, amount in asked) - capacity)
            most = capacity + rate * (now - 100.0) + beyond
            assert taken <= most * (1 + len(asked) * SLACK) + 1e-6


@settings(deadline=None)
@given(rates, spans, requests, amounts)
def test_who_waits_as_long_as_told_may_take_and_not_much_sooner(rate, span, asked, amount) -> None:
    now = 0.0
    bucket = Bucket(rate, rate * span, now)
    for pause, each in asked:
        now += pause
        if not bucket.wait(each, now):
            bucket.take(each, now)
    told = bucket.wait(amount, now)
    assert bucket.wait(amount, now + told * (1 + 1e-6)) == 0
    if told > 1e-3 * span:
        assert near(bucket.wait(amount, now + told / 2), told / 2, span)


@settings(deadline=None)
@given(rates, spans, amounts)
def test_a_full_bucket_lets_anything_pass_once_and_whatever_it_owes_is_paid(rate, span, amount) -> None:
    capacity = rate * span
    bucket = Bucket(rate, capacity, 0.0)
    assert bucket.wait(amount, 0.0) == 0
    bucket.take(amount, 0.0)
    assert near(bucket.wait(capacity, 0.0), amount / rate, span)


@settings(deadline=None)
@given(rates, spans, st.lists(st.tuples(st.floats(-1e5, 1e5), amounts), max_size=30))
def test_a_clock_that_steps_back_gives_nothing_away(rate, span, steps) -> None:
    """It stands still until it is where it was."""
    stepping, standing = Bucket(rate, rate * span, 0.0), Bucket(rate, rate * span, 0.0)
    now = latest = 0.0
    for step, amount in steps:
        now += step
        latest = max(latest, now)
        assert stepping.wait(amount, now) == standing.wait(amount, latest)
        stepping.take(amount, now)
        standing.take(amount, latest)


@settings(deadline=None)
@given(rates, spans, rates, spans, amounts)
def test_what_is_in_it_stays_when_it_is_changed_as_far_as_it_fits(rate, span, then, longer, amount) -> None:
    bucket = Bucket(rate, rate * span, 0.0)
    bucket.take(amount, 0.0)
    left = rate * span - amount
    bucket.change(then, then * longer, 0.0)
    wanted = then * longer
    assert near(bucket.wait(wanted, 0.0) * then, max(0.0, wanted - min(left, wanted)), wanted)
