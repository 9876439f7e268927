"""When a call is tried again."""

import math

import pytest
from grpc import StatusCode
from memsvc_client import MemsvcError, NotFoundError, ResourceExhaustedError, RetryPolicy, UnavailableError
from memsvc_client._retry import Retry


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def retry(policy=None, timeout=30.0, uniform=lambda low, high: high):
    clock = Clock()
    return Retry(policy or RetryPolicy(), timeout, clock, uniform), clock


def test_backoff_doubles_up_to_its_longest_and_ends():
    tries, _ = retry(RetryPolicy(attempts=8, first=0.1, most=1.0))
    delays = [tries.delay(UnavailableError("down")) for _ in range(8)]
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, None])


def test_jitter_takes_up_to_half_of_a_backoff():
    drawn = []

    def uniform(low, high):
        drawn.append((low, high))
        return low

    tries, _ = retry(RetryPolicy(first=0.1), uniform=uniform)
    assert tries.delay(UnavailableError("down")) == 0.05
    assert drawn == [(0.05, 0.1)]


def test_a_named_delay_is_never_cut_short():
    tries, _ = retry(RetryPolicy(first=0.1), uniform=lambda low, high: low)
    assert tries.delay(ResourceExhaustedError("full", retry_after=3.0)) == 3.0
    tries, _ = retry(RetryPolicy(first=0.1))
    assert tries.delay(ResourceExhaustedError("full", retry_after=3.0)) == pytest.approx(3.1)


def test_a_named_delay_counts_no_attempts():
    tries, clock = retry(RetryPolicy(attempts=2), timeout=10.0)
    full = ResourceExhaustedError("full", retry_after=1.0)
    waited = 0
    while (delay := tries.delay(full)) is not None:
        clock.now += delay
        waited += 1
    assert waited == 9
    assert 0 < tries.remaining < 1.1


def test_nothing_is_waited_for_beyond_the_timeout():
    tries, clock = retry(timeout=1.0)
    assert tries.delay(UnavailableError("down", retry_after=2.0)) is None
    clock.now += 5
    assert tries.remaining == 0
    assert tries.delay(UnavailableError("down")) is None


@pytest.mark.parametrize(
    "error",
    [
        ResourceExhaustedError("too large"),
        ResourceExhaustedError("never", retry_after=math.inf),
        NotFoundError("no"),
        MemsvcError("cancelled", code=StatusCode.CANCELLED, retry_after=1.0),
    ],
)
def test_some_errors_are_final(error):
    tries, _ = retry()
    assert tries.delay(error) is None


def test_a_backoff_stays_finite_however_many_came_before():
    tries, _ = retry(RetryPolicy(attempts=10**6), timeout=1e9)
    for _ in range(5_000):
        delay = tries.delay(UnavailableError("down"))
    assert delay == 2.0


def test_what_is_known_to_pass_is_waited_for_until_the_timeout():
    tries, clock = retry(RetryPolicy(attempts=2, first=1.0, most=2.0), timeout=10.0)
    delays = []
    while (delay := tries.delay(UnavailableError("moving"), patient=True)) is not None:
        delays.append(delay)
        clock.now += delay
    assert delays == [1.0, 2.0, 2.0, 2.0, 2.0]
    tries, _ = retry(RetryPolicy(attempts=1))
    assert tries.delay(UnavailableError("moving"), patient=True) is None
    tries, _ = retry()
    assert tries.delay(NotFoundError("no such tenant"), patient=True) is None
