"""The facts of the needle benchmark, by family."""

import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from tokenizers import Tokenizer

from memsvc.train import dna, prose
from memsvc.train.families import DNA, FAMILIES
from memsvc.train.family import Family
from memsvc.train.needle import Draw
from memsvc.train.source import Fact
from memsvc_bench import fresh_family, plain_facts

_NIAH = Family(
    attributes=("number",),
    statements=("One of the special magic {attribute}s for {key} is: {value}.",),
    questions=(
        "What is the special magic {attribute} for {key} mentioned in the provided text?"
        " The special magic {attribute} for {key} mentioned in the provided text is",
    ),
    lengths=(7,),
    test=True,
)
S_NIAH: Mapping[str, str] = MappingProxyType(
    {"S-NIAH-PK": "noise", "S-NIAH-N": "unseen", "S-NIAH-W": "unseen", "S-NIAH-UUID": "unseen"}
)
"""RULER's single needles (arXiv:2404.06654) by the names that Titans' paper gives them (arXiv:2501.00663, table 2), and
the haystack of each: pass-keys in noise; numbers, words, and 32 letters and digits in prose. Keys are our pseudo-words,
since the others' are English. No training has words or letters as values."""
_ADJECTIVES = ("amber", "brisk", "clever", "dusty", "eager", "frosty", "gentle", "humble", "ivory", "jolly", "mellow")
_NOUNS = ("anchor", "basket", "candle", "donkey", "engine", "falcon", "garden", "hammer", "island", "kettle", "lantern")


def facts(kind: str, family: str, tokenizer: Tokenizer) -> Draw:
    """Return what draws a family's facts.

    Args:
        kind: `text`, `dialogue` or `dna`.
        family: `similar`, `fresh`, the same with values as long as no training's, `plain`, or one of `S_NIAH`.
        tokenizer: of the model.
    """
    if family in _SPELT:
        return partial(_spelt, tokenizer=tokenizer, attribute=family)
    if family == "plain":
        return partial(plain_facts.draw_facts, kind=kind, tokenizer=tokenizer)
    if kind == "dna":
        form = fresh_family.DNA if family == "fresh" else DNA["similar"]
        return partial(dna.draw_facts, family=form, tokenizer=tokenizer)
    fresh = fresh_family.FAMILIES[kind]
    new = tuple(sorted(set(fresh.lengths) - set(FAMILIES[kind]["training"].lengths)))
    families = {
        "fresh": fresh,
        "fresh, new lengths": replace(fresh, lengths=new),
        "similar": FAMILIES[kind]["similar"],
    }
    return partial(prose.draw_facts, family=families.get(family, _NIAH), tokenizer=tokenizer)


def _word(rng: random.Random) -> str:
    """Return what RULER's words are: an adjective and a noun."""
    return f"{rng.choice(_ADJECTIVES)}-{rng.choice(_NOUNS)}"


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


_SPELT: Mapping[str, tuple[str, Callable[[random.Random], str]]] = MappingProxyType(
    {"S-NIAH-W": ("word", _word), "S-NIAH-UUID": ("uuid", _uuid)}
)
"""What is asked for, and what draws it, where values are no numbers."""


def _spelt(rng: random.Random, count: int, tokenizer: Tokenizer, attribute: str) -> list[Fact]:
    name, value = _SPELT[attribute]
    needles = replace(_NIAH, attributes=(name,)).draw(rng, count)
    # The first letter may be one token with the blank.
    return [prose.to_fact(each._replace(value=f" {value(rng)}"), tokenizer)._replace(free=0) for each in needles]
