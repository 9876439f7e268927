"""The short form of the gate's benchmark."""

import json

from memsvc_bench import gate

from tests.bench.test_importance import conversation


def test_every_policy_is_measured_both_ways(tmp_path) -> None:
    file = tmp_path / "locomo.json"
    file.write_text(json.dumps([conversation("a", 300)]))
    result = gate.bench(file, encoder="kmer", rounds=1)
    rows = [result.figures[name] for name in gate.POLICIES]
    assert rows[0]["tokens_that_wrote"] == 1.0
    assert rows[0]["writing, share of off"] == 1.0
    assert rows[2]["tokens_that_wrote"] < 1.0
    assert all(0 <= row["dense @10"] <= 1 and 0 <= row["full @10"] <= 1 for row in rows)
