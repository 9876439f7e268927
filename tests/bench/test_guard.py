"""The guard against slower paths, in its short form: what it compares, and that it fails."""

from contextlib import nullcontext

import pytest
from memsvc_bench import guard
from memsvc_bench.report import Result


@pytest.fixture(scope="module")
def result() -> Result:
    return guard.bench(scale=guard.QUICK)


def test_every_pair_has_a_row_and_a_check(result):
    rows = {name: row for name, row in result.figures.items() if isinstance(row, dict)}
    assert [check.name for check in result.checks] == list(rows)
    assert len(rows) == 6
    for check in result.checks:
        assert check.value == pytest.approx(rows[check.name]["ours_us"] / rows[check.name]["bare_us"])


class Clock:
    """Stands still but for what is waited for."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(guard, "time", clock)
    return clock


def test_the_fastest_turn_counts_and_the_first_does_not(clock):
    waits = iter([0.5, 3.0, 2.0])
    assert guard.fastest([lambda: clock.wait(next(waits)), lambda: clock.wait(7.0)], 2) == [2.0, 7.0]


@pytest.mark.parametrize(("most", "ok"), [(3.0, True), (1.5, False)])
def test_a_path_that_takes_too_long_fails(clock, monkeypatch, most, ok):
    pair = guard.Guard("a path over its work", lambda: clock.wait(2.0), lambda: clock.wait(1.0), most)
    monkeypatch.setattr(guard, "_guards", lambda scale: nullcontext([pair]))
    assert guard.bench(scale=guard.QUICK).ok is ok
