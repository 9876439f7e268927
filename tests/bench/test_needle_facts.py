"""The needle benchmark's facts that are no numbers of our own forms: RULER's, and plain ones."""

import random
import re
from functools import partial

import pytest
from memsvc_bench.needle import MODELS
from memsvc_bench.needle_facts import S_NIAH, facts
from memsvc_bench.needle_plan import FULL, passes
from memsvc_bench.plain_facts import FORMS

from memsvc.backbone.titans_mac import checkpoint
from memsvc.backbone.titans_mac.config import MacConfig
from memsvc.train.families import FAMILIES
from memsvc.train.words import held_out

VALUES = {
    "S-NIAH-PK": r" \d{7}",
    "S-NIAH-N": r" \d{7}",
    "S-NIAH-W": r" [a-z]+-[a-z]+",
    "S-NIAH-UUID": r" [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}


@pytest.fixture(scope="module")
def tokenizer():
    return checkpoint.load(MODELS / "text.safetensors").tokenizer


def drawn(kind, family, tokenizer, count=60):
    for fact in facts(kind, family, tokenizer)(random.Random(0), count):
        yield fact, *(tokenizer.decode(part) for part in (fact.before, fact.value, fact.after, fact.question))


@pytest.mark.parametrize("family", list(S_NIAH))
def test_rulers_needles_have_values_of_their_kind_for_different_keys(family, tokenizer):
    keys = set()
    for _, before, value, after, question in drawn("text", family, tokenizer):
        assert re.fullmatch(VALUES[family], value)
        assert after == "."
        keys.add(re.fullmatch(r" One of the special magic \w+s for (\w+) is:", before)[1])
        assert question.count(before.split()[-2]) == 2
    assert len(keys) == 60


def test_numbers_are_free_of_their_blank_and_spelt_values_count_whole(tokenizer):
    free = {family: {fact.free for fact, *_ in drawn("text", family, tokenizer, 5)} for family in S_NIAH}
    assert free == {"S-NIAH-PK": {1}, "S-NIAH-N": {1}, "S-NIAH-W": {0}, "S-NIAH-UUID": {0}}


def matched(told, form):
    """Return the form and the name, if the sentence is one of it."""
    found = re.fullmatch(re.escape(form.statement.format(key="KEY", value="|")).replace("KEY", r"(\w+)"), told)
    return found and (form, found[1])


@pytest.mark.parametrize("kind", ["text", "dialogue"])
def test_a_plain_fact_is_a_sentence_of_somebody_unknown_and_the_question_goes_on_with_its_value(kind, tokenizer):
    values = {value for form in FORMS for value in form.values}
    seen = set()
    for fact, before, value, after, question in drawn(kind, "plain", tokenizer, 200):
        told = f"{before} |{after}".split(": ")[-1].strip()
        form, name = next(found for found in map(partial(matched, told), FORMS) if found)
        assert held_out(name)
        assert value[0] == " "
        assert value[1:] in values
        assert value not in question
        assert fact.free == 0
        assert question.endswith(form.answer.format(key=name))
        seen.add(form)
        assert question.count("\n") == (2 if kind == "dialogue" else 0)
    assert seen == set(FORMS)


def test_what_is_english_is_asked_of_english_models():
    families = {
        kind: {each.family for each in passes(kind, FULL, MacConfig(vocabulary=5), [])}
        for kind in ("text", "dialogue", "dna")
    }
    assert families["text"] == {"similar", "fresh", "fresh, new lengths", "plain", *S_NIAH}
    assert families["dialogue"] == {"similar", "fresh", "fresh, new lengths", "plain"}
    assert families["dna"] == {"similar", "fresh"}
    plain = [each for each in passes("text", FULL, MacConfig(vocabulary=5), []) if each.family == "plain"]
    assert {each.condition for each in plain} == {"memory", "memory off"}
    assert sum(each.streams * each.needles for each in plain) == 400


@pytest.mark.parametrize("kind", ["text", "dialogue"])
def test_new_lengths_are_those_that_no_training_has(kind, tokenizer):
    lengths = {len(value.strip()) for _, _, value, *_ in drawn(kind, "fresh, new lengths", tokenizer, 200)}
    assert lengths == {3, 6}
    assert not lengths & set(FAMILIES[kind]["training"].lengths)
