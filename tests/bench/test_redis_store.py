"""The benchmark of the store in Redis in its short form: it runs end to end, and what does not depend on time holds."""

import pytest
from memsvc_bench import redis_store
from memsvc_bench.report import Result


@pytest.fixture(scope="module")
def result() -> Result:
    return redis_store.bench(seed=7, scale=redis_store.QUICK)


def test_says_what_repeats_it(result):
    assert result.command == "memsvc bench redis --seed 7"


def test_measures_every_load_beside_its_peers(result):
    rows = [row for row in result.figures.values() if isinstance(row, dict) and "share_of_raw" in row]
    assert len(rows) == len(redis_store.QUICK.tenants) * len(redis_store.QUICK.sizes)
    for row in rows:
        assert row["share_of_raw"] == pytest.approx(row["records_per_s"] / row["raw_records_per_s"])
        assert row["sqlite_records_per_s"] > 0
        assert 1 <= row["records_per_commit"] <= redis_store.WRITERS


def test_measures_latency_with_one_writer_and_with_many(result):
    rows = {name: row for name, row in result.figures.items() if isinstance(row, dict) and "p99_ms" in row}
    assert len(rows) == 2 * len(redis_store.QUICK.tenants) * len(redis_store.QUICK.sizes)
    assert all(0 < row["p50_ms"] <= row["p99_ms"] <= row["max_ms"] for row in rows.values())


def test_checks_the_share_of_every_load(result):
    shares = [check.target for check in result.checks if "share" in check.name]
    assert shares == [">= 0.7"] * len(redis_store.QUICK.tenants)


def test_measures_cold_recalls_takeovers_and_room(result):
    cold, takeover, size = (
        {name: row for name, row in result.figures.items() if name.startswith(f"{part}, ")}
        for part in ("cold", "takeover", "size")
    )
    assert cold
    assert all(row["second_s"] > 0 and row["first_s"] > 0 for row in cold.values())
    assert set(takeover) == {"takeover, killed, lease of 1 s", "takeover, stopped, lease of 1 s"}
    assert size
    assert all(row["bytes"] > 0 for row in size.values())
