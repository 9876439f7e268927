from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.errors import InvalidArgumentError
from memsvc.recall.encoder import load_encoder
from memsvc.recall.passages import OVERLAP, Frame

KMER = load_encoder("kmer", threads=1)


@settings(max_examples=200, deadline=None)
@given(
    tokens=st.integers(0, 700),
    window=st.integers(12, 300),
    prefix=st.lists(st.integers(1, 9), max_size=2),
    suffix=st.lists(st.integers(1, 9), max_size=2),
)
def test_each_token_is_new_in_one_passage_and_the_spans_cover_the_text(tokens, window, prefix, suffix) -> None:
    frame = Frame(tuple(prefix), tuple(suffix), window, blank=0)
    ids = np.arange(100, 100 + tokens, dtype=np.int32)
    # Tokens of two characters with a space between them, and a space at either end.
    bounds = np.stack([1 + 3 * np.arange(tokens), 3 + 3 * np.arange(tokens)], 1).astype(np.int32)
    length = 3 * tokens + 1
    passages = frame.cut(ids, bounds, length)
    assert np.concatenate([p.ids[frame.content(p)] for p in passages]).tolist() == ids.tolist()
    assert passages[0].start == 0
    assert passages[-1].end == length
    for before, after in pairwise(passages):
        assert before.start < after.start <= before.end < after.end
        assert 0 < after.skip <= OVERLAP
    for p in passages:
        assert 1 <= len(p.ids) <= window
        assert p.ids.dtype == np.int32
        content = p.ids[len(prefix) : len(p.ids) - len(suffix)]
        assert [*prefix, *content, *suffix] == p.ids.tolist()
        if tokens:  # what a passage says it spans is what it holds
            first, last = content[0] - 100, content[-1] - 100
            assert p.start == (bounds[first, 0] if p is not passages[0] else 0)
            assert p.end == (bounds[last, 1] if p is not passages[-1] else length)


def test_kmer_tokens_are_overlapping_six_grams() -> None:
    (one,), (two,) = (KMER.split([text])[0].passages for text in ("ACGTACG", "acgtac"))
    assert len(one.ids) == 2
    assert one.ids[0] == two.ids[0] != one.ids[1]
    assert KMER.count_tokens(["", "a", "ACGTAC", "ACGTACG", "é" * 4]) == [0, 1, 1, 2, 3]
    for text in ("", "a", "ACGTACGTT", "é" * 9):
        split = KMER.split([text])[0]
        assert (split.tokens, split.unknown) == (KMER.count_tokens([text])[0], 0)


def test_kmer_spans_are_code_points() -> None:
    text = "我的猫很可爱" * 100
    passages = KMER.split([text])[0].passages
    assert len(passages) > 5
    for before, after in pairwise(passages):
        assert before.start < after.start < before.end
    assert passages[-1].end == len(text)
    # A passage's own text has its tokens: the cut falls where it says.
    inner = passages[2]
    again = KMER.split([text[inner.start : inner.end]])[0].passages[0]
    assert set(inner.ids.tolist()) <= set(again.ids.tolist()) | set(KMER.split([text])[0].passages[1].ids.tolist())


def encode(text: str):
    passages = KMER.split([text])[0].passages
    return [KMER.encode([p])[0] for p in passages]


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=400))
def test_kmer_vectors_are_unit_and_of_every_token(text) -> None:
    split = KMER.split([text])[0]
    encoded = encode(text)
    assert sum(len(e.states) for e in encoded) == split.tokens
    for e in encoded:
        assert e.states.dtype == e.pooled.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(e.states, axis=1), 1, atol=1e-5)
        assert np.linalg.norm(e.pooled) == pytest.approx(1, abs=1e-5)


def test_kmer_similarity_is_shared_six_grams() -> None:
    rng = np.random.default_rng(0)
    gene = "".join(rng.choice(list("ACGT"), 200))
    mutated = gene[:100] + "A" + gene[101:]
    other = "".join(rng.choice(list("ACGT"), 200))
    a, b, c = (encode(text)[0].pooled for text in (gene, mutated, other))
    assert a @ b > 0.9
    assert abs(a @ c) < 0.4


def test_kmer_bits_do_not_change() -> None:
    """Logs carry the fingerprint; under one fingerprint the bits must stay what they are."""
    assert KMER.fingerprint == "kmer-1 k=6 dim=384 window=256"
    encoded = encode("ACGTACG")[0]
    signs = np.packbits(encoded.states[:, :64] > 0, axis=1)
    assert signs.tobytes().hex() == "d9cf49d70fe281f76e0b3b228ba24b5a"


@pytest.mark.parametrize("name", ["", "bert", "hf:", "MINILM", "kmer:8"])
def test_another_kind_of_encoder_is_refused_by_name(name) -> None:
    with pytest.raises(InvalidArgumentError, match="encoder"):
        load_encoder(name, threads=1)
