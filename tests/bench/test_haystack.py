"""Haystacks: what they are made of."""

import pytest
from memsvc_bench import haystack
from tokenizers import Tokenizer, models, pre_tokenizers

from memsvc.train import dna
from memsvc.train.corpus import Document


@pytest.fixture
def letters():
    tokenizer = Tokenizer(models.WordLevel({chr(i): i for i in range(128)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return tokenizer


def test_a_file_of_dna_is_read_without_its_names(tmp_path, monkeypatch):
    # Genomes for training take seconds to make.
    monkeypatch.setattr(dna, "LENGTH", 100)
    path = tmp_path / "a.fasta"
    path.write_text(">chromosome ACGT\nACGT\nacgt\n")
    assert haystack.of_file("dna", dna.Dna().tokenizer, path) == [0, 1, 2, 3] * 2


@pytest.mark.parametrize(("content", "message"), [(b"", "no text"), (b"\xff\xfe", "no UTF-8")])
def test_a_file_without_text_is_refused(tmp_path, letters, content, message):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        haystack.of_file("text", letters, path)


def test_pieces_are_sprinkled_evenly():
    assert haystack.sprinkled([1, 2, 3, 4, 5], lambda: [0], 2) == [1, 2, 0, 3, 4, 0, 5, 0]


def test_prose_is_what_is_held_out_and_the_docstrings_of_libraries(monkeypatch, letters):
    asked = []
    monkeypatch.setattr(haystack, "documents", lambda *, test: asked.append(test) or [Document("a", "held out")])
    monkeypatch.setattr(haystack, "LIBRARIES", ("memsvc_client",))
    text = "".join(map(chr, haystack.unseen("text", letters, 10)))
    assert asked == [True]
    assert "held out" in text
    assert len(text) > 1000


def test_a_library_that_is_not_there_is_named(monkeypatch, letters):
    monkeypatch.setattr(haystack, "documents", lambda *, test: [])
    monkeypatch.setattr(haystack, "LIBRARIES", ("no_such_library",))
    with pytest.raises(ValueError, match="no_such_library"):
        haystack.unseen("text", letters, 10)
