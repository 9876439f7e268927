"""The benchmark of importance: its schedule, its policies, and its short form from end to end."""

import json

import numpy as np
import pytest
from memsvc_bench import importance
from memsvc_bench.importance import POLICIES, Step, at_random, choose
from memsvc_bench.report import Result

NAMES = ("Ada", "Ben")
THINGS = ("boat", "horse", "violin", "garden", "letter", "lamp", "bridge")


def conversation(name: str, turns: int) -> dict:
    texts = [
        f"I {'sold' if i % 2 else 'bought'} the {THINGS[i % 7]} number {i}" + "?" * (i % 5 == 0) for i in range(turns)
    ]
    spoken = [{"speaker": NAMES[i % 2], "dia_id": f"D1:{i}", "text": text} for i, text in enumerate(texts)]
    asked = [
        {"question": f"Who has the {THINGS[i % 7]} number {i}?", "evidence": [f"D1:{i}"], "category": 4}
        for i in range(0, turns, 9)
    ]
    return {"sample_id": name, "conversation": {"session_1": spoken}, "qa": asked}


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Result:
    file = tmp_path_factory.mktemp("data") / "locomo.json"
    file.write_text(json.dumps([conversation("a", 150), conversation("b", 200)]))
    return importance.bench(file, draws=2, encoder="kmer")


def test_every_policy_has_a_row_and_every_conversation(result):
    policies = (importance.OURS, importance.RANDOM, *POLICIES, importance.ALL)
    rows = [name for name, row in result.figures.items() if isinstance(row, dict)]
    assert rows == [*policies, "a", "b"]
    assert all(0 <= result.figures[policy]["@10"] <= 1 for policy in policies)


def test_at_most_half_is_kept_and_recall_stays_within_it(result):
    for policy in (importance.OURS, importance.RANDOM, *POLICIES):
        row = result.figures[policy]
        assert 0 < row["answers kept"] < 1
        assert row["@10"] <= row["answers kept"]
        assert row["entries kept"] <= 75 + 100
    assert result.figures[importance.ALL]["answers kept"] == 1


def test_importance_is_held_against_all_its_rivals(result):
    assert [check.name for check in result.checks] == [f"importance less {r}, @10" for r in importance.RIVALS]


def steps(sizes: list[int], rankings: dict[int, list[list[int]]]) -> list[Step]:
    return [Step(size, np.zeros(size), rankings.get(size, [])) for size in sizes]


def kept(policy: str, rankings: dict[int, list[list[int]]] | None = None) -> list[int]:
    found = choose(np.arange(30.0), steps([10, 20, 30], rankings or {}), 20, POLICIES[policy])
    return np.flatnonzero(found).tolist()


def test_leaving_goes_down_to_nine_tenths_once_the_cap_is_passed():
    assert kept("oldest leave") == list(range(12, 30))


def test_the_shortest_leave():
    assert kept("shortest leave") == list(range(12, 30))


def test_what_was_used_stays():
    assert kept("least used leave", {10: [list(range(10))]}) == [*range(10), *range(22, 30)]


def test_use_counts_for_each_turn_asked_since():
    # Those of the second record were all used once, by the one turn asked since; those of the first by it alone too.
    asked = {10: [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]], 20: [[*range(10, 20)]]}
    assert kept("least often used leave", asked) == [*range(12, 30)]


def test_only_what_is_there_is_used():
    assert set(kept("least used leave", {20: [[*range(19, -1, -1)]]})) >= set(range(10, 20))


def test_equal_draws_keep_equal_entries():
    draws = [
        choose(np.ones(30), steps([10, 20, 30], {}), 20, at_random(np.random.default_rng(1).random(30))) for _ in "ab"
    ]
    assert (draws[0] == draws[1]).all()
    assert draws[0].sum() == 18
