"""The family of facts that no training has seen has nothing of one that some training has."""

import random

import pytest
from memsvc_bench import fresh_family

from memsvc.train.families import DNA, FAMILIES
from memsvc.train.words import held_out


@pytest.mark.parametrize("kind", list(fresh_family.FAMILIES))
@pytest.mark.parametrize("other", ["training", "similar", "disjoint"])
def test_no_form_attribute_or_speaker_is_one_of_trainings(kind, other):
    fresh, trained = fresh_family.FAMILIES[kind], FAMILIES[kind][other]
    for name in ("statements", "questions", "attributes"):
        mine, theirs = ({form.strip().lower() for form in getattr(family, name)} for family in (fresh, trained))
        assert not mine & theirs
    assert not set(fresh.names) & set(trained.names) - {""}


def test_spacers_and_payloads_of_dna_are_new():
    for family in DNA.values():
        assert not set(fresh_family.DNA.spacers) & set(family.spacers)
        assert not set(fresh_family.DNA.lengths) & set(family.lengths)


@pytest.mark.parametrize("kind", list(fresh_family.FAMILIES))
def test_keys_are_those_that_training_may_not_see_and_values_are_of_all_lengths(kind):
    family = fresh_family.FAMILIES[kind]
    assert family.test
    needles = family.draw(random.Random(0), 300)
    assert {len(needle.value.strip()) for needle in needles} == {3, 4, 5, 6, 7, 8}
    words = {word.strip(".,:;?!'()").removesuffix("'s") for needle in needles[:1] for word in needle.question.split()}
    assert any(held_out(word) for word in words)


def test_the_digest_is_the_files():
    assert len(fresh_family.digest()) == 64
