"""The short form of the benchmark of duplicates."""

import json

import pytest
from memsvc_bench import duplicates
from memsvc_bench.duplicates import AT_ONCE, COPIES, PLAIN
from memsvc_bench.report import Result

from tests.bench.test_importance import THINGS, conversation


def asking_for_many(name: str, turns: int) -> dict:
    """A conversation whose questions each have eight turns that answer them."""
    made = conversation(name, turns)
    for i, question in enumerate(made["qa"]):
        question["question"] = f"Who has the {THINGS[i % 7]}?"
        question["evidence"] = [f"D1:{turn}" for turn in range(i % 7, turns, 7)][:8]
    return made


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Result:
    file = tmp_path_factory.mktemp("data") / "locomo.json"
    file.write_text(json.dumps([asking_for_many("a", 90), asking_for_many("b", 60)]))
    return duplicates.bench(file, encoder="kmer")


def test_copies_that_merge_cost_nothing(result):
    plain, merged = result.figures[f"{PLAIN}, merge"], result.figures[f"{AT_ONCE}, merge"]
    assert merged["entries"] == COPIES * plain["entries"] == COPIES * 150
    assert merged["merged"] == merged["entries"] - 150
    assert merged["tokens_learnt"] == plain["tokens_learnt"]
    assert [merged[f"@{k}"] for k in (1, 5, 10, 20)] == [plain[f"@{k}"] for k in (1, 5, 10, 20)]


def test_copies_that_are_kept_crowd_others_out(result):
    plain, kept = result.figures[f"{PLAIN}, keep"], result.figures[f"{AT_ONCE}, keep"]
    assert kept["merged"] == 0
    assert kept["@20"] < plain["@20"]


def test_the_checks_are_of_recall_not_lost(result):
    assert [check.name for check in result.checks][:4] == [f"lost by merging @{k}" for k in (1, 5, 10, 20)]
    assert [check.value for check in result.checks][:5] == [0.0] * 5
