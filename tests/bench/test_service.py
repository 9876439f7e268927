"""The service's benchmark in its short form: it runs end to end, and what does not depend on time holds."""

import json

import pytest
from memsvc_bench import service
from memsvc_bench.report import Result


@pytest.fixture(scope="module")
def result() -> Result:
    return service.bench(scale=service.QUICK)


def test_says_what_repeats_it(result):
    assert result.command == "memsvc bench service"
    assert result.machine["cores"] > 0


def test_measures_both_kinds_of_text_beside_the_encoder(result):
    for kind in ("dialogue", "documents"):
        row = result.figures[kind]
        assert row["tokens"] >= service.QUICK.tokens
        rates = {name: rate for name, rate in row.items() if name.endswith("tokens_per_s")}
        assert len(rates) == 3
        assert all(rate > 0 for rate in rates.values())
        assert row["us_per_token_outside_encoder"] == pytest.approx(
            1e6 / row["service_tokens_per_s"] - 1e6 / row["encoder_fp32_tokens_per_s"]
        )


def test_measures_every_latency_that_has_a_target(result):
    rows = [row for name, row in result.figures.items() if isinstance(row, dict) and "p99_ms" in row]
    assert len(rows) == 7
    for row in rows:
        assert 0 < row["p50_ms"] <= row["p99_ms"] <= row["max_ms"]


def test_checks_every_target_of_the_issue(result):
    names = [check.name for check in result.checks]
    assert len(names) == len(set(names)) == 11
    assert {check.name: check for check in result.checks}["recall saturated p99, ms"].target == "<= 150"


def test_what_waits_stays_within_the_window(result):
    assert {check.name: check.ok for check in result.checks}["saturated: pending bytes"]


def test_result_is_json(result):
    assert {"machine", "command", "figures", "checks"} == set(json.loads(result.to_json()))
