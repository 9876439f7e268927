"""Tests hold nothing that training has seen."""

import random
import re

import pytest

from memsvc.train.corpus import documents
from memsvc.train.families import FAMILIES, distractor
from memsvc.train.words import draw, held_out

WORD = re.compile(r"\w+")


def skeletons(family):
    """A family's forms without what is filled in."""
    return {" ".join(WORD.findall(re.sub(r"{\w+}", "", form))) for form in (*family.statements, *family.questions)}


@pytest.mark.parametrize("families", FAMILIES.values(), ids=FAMILIES)
def test_the_disjoint_family_shares_nothing_with_training(families):
    training, disjoint = families["training"], families["disjoint"]
    assert not skeletons(training) & skeletons(disjoint)
    assert not set(training.attributes) & set(disjoint.attributes)
    assert not set(training.lengths) & set(disjoint.lengths)
    assert not set(filter(None, training.names)) & set(disjoint.names)
    assert not training.test
    assert disjoint.test


@pytest.mark.parametrize("families", FAMILIES.values(), ids=FAMILIES)
def test_the_similar_family_has_keys_of_its_own(families):
    assert not families["training"].test
    assert families["similar"].test
    assert set(families["similar"].lengths) == {5}


def test_keys_of_tests_are_never_drawn_for_training():
    rng = random.Random(0)
    training, test = (draw(rng, 500, test=kept) for kept in (False, True))
    assert len(set(training)) == len(set(test)) == 500
    assert not any(map(held_out, training))
    assert all(map(held_out, test))
    assert held_out("Bazu") == held_out("bazu")
    for _ in range(50):
        text = distractor(rng, test=False)
        assert not any(held_out(word) for word in WORD.findall(text) if word.lower() in set(test))


def test_needles_ask_for_what_they_state():
    rng = random.Random(1)
    for family in (family for families in FAMILIES.values() for family in families.values()):
        for needle in family.draw(rng, 100):
            statement = f"{needle.before}{needle.value}{needle.after}"
            assert statement.startswith(family.lead)
            assert statement.endswith(".")
            assert re.fullmatch(r" [1-9]\d*", needle.value)
            assert len(needle.value) - 1 in family.lengths
            shared = set(WORD.findall(statement)) & set(WORD.findall(needle.question))
            assert any(held_out(word) == family.test for word in shared)
            assert "{" not in statement + needle.question


def test_the_haystacks_of_tests_are_files_that_training_never_sees():
    training, test = (documents(test=kept) for kept in (False, True))
    assert not {d.name for d in training} & {d.name for d in test}
    assert not {d.text for d in training} & {d.text for d in test}
    assert sum(len(d.text) for d in training) > 1_000_000
    assert sum(len(d.text) for d in test) > 100_000
