"""Made-up DNA: a Markov chain with families of repeats, and fragments of it as a sequencer would read them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ORDER = 3
"""Bases that the next depends on."""
EVENNESS = 4.0
"""Of the chain's odds, drawn from a Dirichlet law: the larger, the nearer to fair."""
FAMILIES, COPIES = 10, 10
"""Kinds of repeats; copies of each in every COPIES_PER bases."""
COPIES_PER = 200_000
REPEAT_BASES = 300
MUTATED = 0.1
"""Share of a copy's bases that are others."""
FRAGMENT_BASES = 150
LEAST_BASES = 50
"""An entry that holds fewer of a fragment's bases does not answer it: a third of one is."""

Bases = NDArray[np.uint8]
_LETTERS = np.frombuffer(b"ACGT", np.uint8)


class Fragment(NamedTuple):
    """Part of a genome, with errors."""

    text: str
    start: int
    """Its first base, counted over all contigs."""
    gold: frozenset[int]
    """Which entries hold it, of all contigs' in order."""


def genome(contigs: int, bases: int, rng: np.random.Generator) -> list[str]:
    """Return so many contigs of so many bases of one genome."""
    total = contigs * bases
    sequence = _chain(total, rng)
    for _ in range(FAMILIES):
        repeat = _chain(REPEAT_BASES, rng)
        for place in rng.integers(0, total - REPEAT_BASES, max(1, COPIES * total // COPIES_PER)):
            sequence[place : place + REPEAT_BASES] = _mutated(repeat, MUTATED, rng)
    return [_text(sequence[start : start + bases]) for start in range(0, total, bases)]


def fragments(
    contigs: Sequence[str], entry_bases: int, count: int, *, errors: float, rng: np.random.Generator
) -> list[Fragment]:
    """Return fragments from random places, none across two contigs.

    Args:
        contigs: of one length.
        entry_bases: of the entries that they are cut into.
        count: of fragments.
        errors: share of a fragment's bases that are others.
        rng: says where, and which bases are others.
    """
    length, found = len(contigs[0]), []
    for _ in range(count):
        contig, start = int(rng.integers(len(contigs))), int(rng.integers(length - FRAGMENT_BASES))
        stop = start + FRAGMENT_BASES
        letters = np.frombuffer(contigs[contig][start:stop].encode(), np.uint8)
        read = _mutated(np.searchsorted(_LETTERS, letters).astype(np.uint8), errors, rng)
        first = contig * length // entry_bases
        gold = frozenset(
            first + entry
            for entry in range(start // entry_bases, (stop - 1) // entry_bases + 1)
            if min(stop, (entry + 1) * entry_bases) - max(start, entry * entry_bases) >= LEAST_BASES
        )
        found.append(Fragment(_text(read), contig * length + start, gold))
    return found


def _chain(bases: int, rng: np.random.Generator) -> Bases:
    # One chain for all of a genome would do; a repeat of another chain stands out, as real ones do.
    odds = np.cumsum(rng.dirichlet([EVENNESS] * 4, 4**ORDER), axis=1)[:, :3].tolist()
    draws = rng.random(bases).tolist()
    sequence = np.empty(bases, np.uint8)
    state = 0
    for i, draw in enumerate(draws):
        first, second, third = odds[state]
        base = (draw >= first) + (draw >= second) + (draw >= third)
        sequence[i] = base
        state = (state * 4 + base) % 4**ORDER
    return sequence


def _mutated(sequence: Bases, share: float, rng: np.random.Generator) -> Bases:
    others = rng.integers(1, 4, len(sequence)) * (rng.random(len(sequence)) < share)
    return ((sequence + others) % 4).astype(np.uint8)


def _text(sequence: Bases) -> str:
    return _LETTERS[sequence].tobytes().decode()
