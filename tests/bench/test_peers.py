"""The benchmark beside other stores, in its short form: those that are not installed are named, the others measured."""

import json
from pathlib import Path

import numpy as np
import pytest
from memsvc_bench import peers
from memsvc_bench.corpus import Passage, Question, Stream
from memsvc_bench.peer_corpus import corpus
from memsvc_bench.peer_embedding import OurEmbedding
from memsvc_bench.peer_stores import PEERS, Peer
from memsvc_bench.report import Result

from tests.bench.test_importance import conversation

ALWAYS = ("cosine", "LangGraph InMemoryStore")
"""What the tests' own environment has."""
STREAMS = [
    Stream("a", [Passage("1", "a1"), Passage("1", "a2"), Passage("2", "a3")], [Question("?", frozenset({2}), "x")]),
    Stream("b", [Passage("1", "b1")], [Question("??", frozenset({0}), "x")]),
]


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Result:
    file = tmp_path_factory.mktemp("data") / "locomo.json"
    file.write_text(json.dumps([conversation("a", 100), conversation("b", 80)]))
    missing = Peer(name="elsewhere", packages=("elsewhere",), modules=("no_such_module",), store=PEERS["cosine"].store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peers, "PEERS", {**{name: PEERS[name] for name in ALWAYS}, "elsewhere": missing})
        return peers.bench(file, names=(*ALWAYS, "elsewhere"), scale=peers.QUICK)


def test_every_contender_has_a_row_and_who_is_missing_is_named(result):
    rows = [name for name, row in result.figures.items() if isinstance(row, dict) and "queries" in row]
    assert rows == [f"150 entries: {name}" for name in (peers.US, *ALWAYS)]
    assert result.figures["elsewhere"] == "not installed"
    assert result.figures["LangGraph InMemoryStore"].startswith("langgraph ")


def test_every_row_has_all_figures(result):
    for name, row in result.figures.items():
        if isinstance(row, dict) and "queries" in row:
            assert row["queries"] == peers.QUICK.queries, name
            assert all(row[figure] > 0 for figure in row if figure not in {"kept", "recall_at_10"}), name
            assert 0 <= row["recall_at_10"] <= 1
    assert result.figures["150 entries: cosine"]["found_at_once"] == 1


def test_stores_with_the_same_vectors_find_the_same(result):
    found = [result.figures[f"150 entries: {name}"]["recall_at_10"] for name in ALWAYS]
    assert found[0] == pytest.approx(found[1], abs=0.05)


def test_checks_every_target_of_the_issue(result):
    assert [check.target for check in result.checks] == [">= 1.5", "<= 1.5", ">= 1.6"]


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        (10_000, ["ingest over the fastest other", "recall p50 over the fastest other"]),
        (100_000, ["recall p50 over the fastest other"]),
        (1_000_000, ["recall p50, ms", "memory less mapped files, MB"]),
    ],
)
def test_each_size_has_its_own_targets(entries, names):
    row = {"entries_per_s": 9.0, "recall_p50_ms": 2.0, "memory_mb": 7.0}
    checks = peers.targets(entries, {peers.US: row, "cosine": row}, ["cosine"])
    assert [check.name for check in checks] == [f"{entries:,} entries: {name}" for name in names]


def test_refuses_a_peer_that_there_is_not(tmp_path):
    with pytest.raises(ValueError, match="no peer 'x'"):
        peers.bench(tmp_path / "none.json", names=["x"])


def test_recall_counts_the_answers_among_the_first_ten():
    questions = [Question("?", frozenset({1, 2}), "x"), Question("?", frozenset({3}), "x")]
    assert peers.recall_of(questions, [[1, *range(10, 19), 2], [3]]) == 0.75


@pytest.mark.parametrize("name", ALWAYS)
def test_a_store_finds_what_was_added_last(name, tmp_path: Path):
    store = PEERS[name].store(OurEmbedding("kmer", 1), tmp_path)
    store.add(0, ["the boat is on the lake", "the horse is in the stable"])
    store.ready()
    store.add(2, ["a violin hangs on the wall"])
    store.ready()
    assert store.find("the violin hangs on a wall", 1) == [2]
    assert sorted(store.find("the boat", 3)) == [0, 1, 2]


@pytest.mark.parametrize("name", ALWAYS)
def test_a_store_takes_one_text_twice_at_once(name, tmp_path: Path):
    store = PEERS[name].store(OurEmbedding("kmer", 1), tmp_path)
    store.add(0, ["the boat is on the lake", "the horse is in the stable", "the boat is on the lake"])
    store.ready()
    assert sorted(store.find("the boat is on the lake", 2)) == [0, 2]


def test_fewer_entries_are_the_first_and_ask_what_they_answer():
    stream = corpus(STREAMS, 2)
    assert [entry.text for entry in stream.entries] == ["a1", "a2"]
    assert list(stream.questions) == []
    assert [q.gold for q in corpus(STREAMS, 3).questions] == [{2}]


def test_more_entries_stand_between_sessions_and_answers_move_along():
    others = [Passage(f"doc {i // 2}", f"o{i}") for i in range(20)]
    stream = corpus(STREAMS, 14, others)
    assert len(stream.entries) == 14
    assert [stream.entries[i].text for q in stream.questions for i in q.gold] == ["a3", "b1"]
    texts = [entry.text for entry in stream.entries]
    assert texts.index("a2") == texts.index("a1") + 1
    assert texts.index("a3") > texts.index("a2") + 1
    assert np.all(np.diff([texts.index(f"o{i}") for i in range(10)]) > 0)


def test_more_entries_than_there_are_is_refused():
    with pytest.raises(ValueError, match="there are 6 entries, not 10"):
        corpus(STREAMS, 10, [Passage("d", "x"), Passage("d", "y")])
