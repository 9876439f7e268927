"""The facts of the needle benchmark, by family."""

import random
import uuid
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from tokenizers import Tokenizer

from memsvc.train import dna, prose
from memsvc.train.families import DNA, FAMILIES
from memsvc.train.family import Family
from memsvc.train.needle import Draw
from memsvc.train.source import Fact
from memsvc_bench import fresh_family

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
S_NIAH: Mapping[str, str] = MappingProxyType({"S-NIAH-1": "noise", "S-NIAH-2": "unseen", "S-NIAH-3": "unseen"})
"""RULER's single needles (arXiv:2404.06654), and the haystack of each. Keys are our pseudo-words, since the others' are
English. The third asks for 32 letters and digits: no training has such values."""


def facts(kind: str, family: str, tokenizer: Tokenizer) -> Draw:
    """Return what draws a family's facts.

    Args:
        kind: `text`, `dialogue` or `dna`.
        family: `similar`, `fresh`, or one of `S_NIAH`.
        tokenizer: of the model.
    """
    if family == "S-NIAH-3":
        return partial(_uuids, tokenizer=tokenizer)
    if kind == "dna":
        form = fresh_family.DNA if family == "fresh" else DNA["similar"]
        return partial(dna.draw_facts, family=form, tokenizer=tokenizer)
    families = {"fresh": fresh_family.FAMILIES[kind], "similar": FAMILIES[kind]["similar"]}
    return partial(prose.draw_facts, family=families.get(family, _NIAH), tokenizer=tokenizer)


def _uuids(rng: random.Random, count: int, tokenizer: Tokenizer) -> list[Fact]:
    family = Family(
        attributes=("uuid",), statements=_NIAH.statements, questions=_NIAH.questions, lengths=(1,), test=True
    )
    values = (f" {uuid.UUID(int=rng.getrandbits(128), version=4)}" for _ in range(count))
    needles = [needle._replace(value=value) for needle, value in zip(family.draw(rng, count), values, strict=True)]
    # The first letter may be one token with the blank.
    return [prose.to_fact(needle, tokenizer)._replace(free=0) for needle in needles]
