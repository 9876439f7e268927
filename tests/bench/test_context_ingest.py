"""What a context memory costs ingest, in the short form: pairs of both kinds of text, and all of it in the memory."""

import pytest
from memsvc_bench import context_ingest
from memsvc_bench.report import Result


@pytest.fixture(scope="module")
def result() -> Result:
    return context_ingest.bench(scale=context_ingest.QUICK)


def test_both_kinds_of_text_are_written_with_and_without(result):
    assert result.command == "memsvc bench context"
    assert result.figures["model"].startswith("text@")
    for kind in ("passages", "facts"):
        row = result.figures[kind]
        assert row["characters"] >= context_ingest.QUICK.characters
        assert row["characters_per_s_with"] > 0
        assert row["characters_per_s_without"] > 0
        assert 0 < row["lowest_ratio"] <= row["time_ratio"] <= row["highest_ratio"]


def test_facts_write_and_ordinary_text_hardly_does(result):
    passages, facts = (result.figures[kind]["gate_share"] for kind in ("passages", "facts"))
    assert passages < 0.01 < facts < 1
