"""Needles in DNA: behind a fixed motif, a key, a spacer and a payload."""

import random

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from memsvc.train.families import DNA, DnaFamily, FamilyName
from memsvc.train.source import Fact, Tokens
from memsvc.train.words import held_out

_BASES = "ACGT"
_MOTIF, _END = "GATTACAGGCTTAC", "TGCATG"
_KEY = 12
"""Bases of a key."""
_ORDER, _GENOMES = 4, 8
"""Bases that the next depends on; chains of their own."""
LENGTH = 250_000
"""Bases of each."""
_MUTATED = 2
"""Bases in which a near miss differs from the motif."""


class Dna:
    """Facts in made-up genomes: chains in which the next base depends on the last few, each of its own odds."""

    name = "dna"

    def __init__(self) -> None:
        self.tokenizer = _tokenizer()
        self._hay = {
            test: [self._encode(genome(f"{test}/{i}", LENGTH)) for i in range(1 if test else _GENOMES)]
            for test in (False, True)
        }

    def facts(self, rng: random.Random, count: int, family: FamilyName) -> list[Fact]:
        """Return facts with different keys."""
        return draw_facts(rng, count, DNA[family], self.tokenizer)

    def haystack(self, rng: random.Random, count: int, *, test: bool) -> list[int]:
        """Return so many bases of one genome, from a random place on; it is a ring."""
        hay = rng.choice(self._hay[test])
        start = rng.randrange(len(hay))
        found = list(hay[start : start + count])
        while len(found) < count:
            found += hay[: count - len(found)]
        return found

    def distractor(self, rng: random.Random, *, test: bool) -> Tokens:
        """Return a near miss: the motif with other bases in it, and what could be a fact behind it."""
        motif = list(_MOTIF)
        for i in rng.sample(range(len(motif)), _MUTATED):
            motif[i] = rng.choice([base for base in _BASES if base != motif[i]])
        form = DNA["disjoint" if test else "training"]
        return self._encode(
            "".join(motif) + _random(rng, _KEY) + rng.choice(form.spacers) + _random(rng, rng.choice(form.lengths))
        )

    def _encode(self, bases: str) -> Tokens:
        return tuple(self.tokenizer.encode(bases).ids)


def draw_facts(rng: random.Random, count: int, family: DnaFamily, tokenizer: Tokenizer) -> list[Fact]:
    """Return facts with different keys."""
    keys = dict[str, None]()
    while len(keys) < count:
        key = _random(rng, _KEY)
        if held_out(key) == family.test:
            keys[key] = None

    def encode(bases: str) -> Tokens:
        return tuple(tokenizer.encode(bases).ids)

    def fact(key: str) -> Fact:
        payload = encode(_random(rng, rng.choice(family.lengths)))
        asked = encode(f"{_MOTIF}{key}{rng.choice(family.spacers)}")
        return Fact(asked, payload, encode(_END), asked, encode(_END), free=0)

    return [fact(key) for key in keys]


def _tokenizer() -> Tokenizer:
    """Return one token per base, whatever its case; anything else is N."""
    tokenizer = Tokenizer(models.WordLevel({base: i for i, base in enumerate("ACGTN")}, unk_token="N"))  # noqa: S106  # it is the unknown base
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(base.lower(), base) for base in "ACGTN"])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def genome(seed: str, length: int) -> str:
    """Return so many bases of a chain of its own."""
    rng = random.Random(f"genome/{seed}")  # noqa: S311  # a seed, no secret
    odds = [[rng.gammavariate(4.0, 1.0) for _ in _BASES] for _ in range(len(_BASES) ** _ORDER)]
    state, bases = 0, []
    for _ in range(length):
        base = rng.choices(range(len(_BASES)), odds[state])[0]
        bases.append(_BASES[base])
        state = (state * len(_BASES) + base) % len(odds)
    return "".join(bases)


def _random(rng: random.Random, count: int) -> str:
    return "".join(rng.choices(_BASES, k=count))
