"""The short form of the benchmarks of the past and of erasure."""

import pytest
from memsvc_bench import erasure, past


@pytest.fixture(scope="module")
def asked():
    return past.bench(scale=past.QUICK)


def test_every_point_is_what_it_was(asked) -> None:
    assert asked.ok
    assert asked.figures["points alike"] == past.QUICK.points
    assert asked.figures["entries"] == past.QUICK.turns


def test_what_is_kept_follows_from_the_policy(asked) -> None:
    rows = [asked.figures[f"snapshots: {retention}"] for retention in past.RETENTIONS]
    assert all(row["snapshots"] >= 1 and row["snapshot_bytes"] > 0 for row in rows)
    assert all(row["first_recall_p50_s"] <= row["first_recall_max_s"] for row in rows)


def test_an_erasure_is_timed_and_leaves_nothing() -> None:
    result = erasure.bench(scale=erasure.QUICK)
    assert result.ok
    assert set(result.figures) == {f"1,200 entries, the {place}" for place in erasure.PLACES}
    assert all(row["bytes_destroyed"] > 100 for row in result.figures.values())
