"""What the benchmarks write is the same in every run, and what it says it is."""

import json

import numpy as np
import pytest
from memsvc_bench.service_texts import BLOCK, Synthetic, dialogue, passages, percentiles


def test_synthetic_entries_are_the_same_in_every_run():
    for one, other in zip(Synthetic(BLOCK + 7, 16).blocks(), Synthetic(BLOCK + 7, 16).blocks(), strict=True):
        assert one.texts == other.texts
        assert one.sessions == other.sessions
        assert np.array_equal(one.vectors, other.vectors)


def test_synthetic_entries_do_not_depend_on_how_many_there_are():
    few, many = next(Synthetic(BLOCK, 16).blocks()), next(Synthetic(3 * BLOCK, 16).blocks())
    assert few.texts == many.texts
    assert np.array_equal(few.vectors, many.vectors)


def test_synthetic_vectors_are_clustered_unit_rows():
    vectors = Synthetic(2000, 64).vectors()
    assert vectors.shape == (2000, 64)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    similar = vectors @ vectors.T - 2 * np.eye(2000)
    assert np.median(similar.max(1)) > 3 * np.median(np.abs(similar))


def test_synthetic_words_follow_zipf():
    texts = [text for block in Synthetic(2000, 4).blocks() for text in block.texts]
    words, counts = np.unique(" ".join(texts).split(), return_counts=True)
    ranked = np.sort(counts)[::-1]
    assert words[counts.argmax()] == "the"
    assert 5 < ranked[0] / ranked[9] < 20
    assert all(len(text.split()) == 20 for text in texts)


def test_queries_have_words_of_the_entries():
    synthetic = Synthetic(2000, 4)
    known = {word for block in synthetic.blocks() for text in block.texts for word in text.split()}
    queries = synthetic.queries(50)
    found = [word in known for query in queries for word in query.split()]
    assert len(set(queries)) == 50
    assert sum(found) > 0.8 * len(found)


def test_dialogue_without_a_file_is_made_of_sentences():
    turns = dialogue(None)
    assert len(turns) > 500
    assert {turn.partition(": ")[0] for turn in turns} == {"Ada", "Ben"}


def test_dialogue_of_a_file_is_its_turns(tmp_path):
    turns = [{"speaker": "Cy", "dia_id": f"D1:{i}", "text": f"text {i}"} for i in range(3)]
    sample = {"sample_id": "a", "conversation": {"session_1": turns}, "qa": []}
    file = tmp_path / "locomo.json"
    file.write_text(json.dumps([sample]))
    assert dialogue(file) == ["Cy: text 0", "Cy: text 1", "Cy: text 2"]


def test_passages_are_long():
    assert len(passages()) > 100
    assert min(map(len, passages())) >= 650


def test_percentiles_are_in_milliseconds():
    assert percentiles([i / 1000 for i in range(101)]) == pytest.approx({"p50_ms": 50, "p99_ms": 99, "max_ms": 100})
