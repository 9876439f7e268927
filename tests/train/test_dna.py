"""Needles in DNA."""

import random

import pytest

from memsvc.train.dna import Dna
from memsvc.train.families import DNA
from memsvc.train.words import held_out


@pytest.fixture(scope="module")
def dna():
    return Dna()


def text(dna, tokens):
    return dna.tokenizer.decode(list(tokens))


def test_bases_are_tokens_in_either_case_and_all_else_is_unknown(dna):
    assert dna.tokenizer.encode("acGT\nx").ids == [0, 1, 2, 3, 4, 4]
    assert text(dna, [0, 1, 2, 3]) == "ACGT"


def test_a_fact_is_asked_for_by_its_key(dna):
    for family in DNA:
        for fact in dna.facts(random.Random(0), 50, family):
            assert len(fact.value) in DNA[family].lengths
            key = text(dna, fact.before)[14:26]
            assert text(dna, fact.question)[14:26] == key
            assert held_out(key) == (family != "training")


def test_near_misses_lack_the_motif(dna):
    motif = text(dna, dna.facts(random.Random(0), 1, "training")[0].before)[:14]
    for seed in range(50):
        assert motif not in text(dna, dna.distractor(random.Random(seed), test=False))


def test_the_disjoint_family_shares_nothing_with_training():
    assert not set(DNA["training"].spacers) & set(DNA["disjoint"].spacers)
    assert not set(DNA["training"].lengths) & set(DNA["disjoint"].lengths)


def test_haystacks_are_genomes_of_their_own(dna):
    one, other = (text(dna, dna.haystack(random.Random(0), 3000, test=test)) for test in (False, True))
    assert set(one) == set("ACGT")
    assert not {one[i : i + 16] for i in range(2900)} & {other[i : i + 16] for i in range(2900)}
