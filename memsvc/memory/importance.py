"""Which entries a memory can do without: their importance, a function of the log alone."""

import numpy as np
from numpy.typing import NDArray

HALVING_TOKENS = 16_000_000.0
"""Tokens written after an entry until it counts half: age alone moves an entry slowly."""
FEEDBACK_LIMIT = 8
"""Net feedback beyond this, either way, counts no more."""
EVICTED_SHARE = 10
"""One in so many entries of the largest number allowed leaves when that is passed."""

Floats = NDArray[np.float64]


def importance(surprise: Floats, tokens: Floats, age: Floats, feedback: Floats) -> Floats:
    """Return the importance of n entries, [n]; above 0.

    surprise · ln(1 + tokens) · 2^feedback · 2^(−age / 16,000,000). A long surprising entry is missed most: with room
    for half of a LoCoMo conversation's turns this keeps three quarters of those that answer its questions, and chance
    less than half (docs/benchmarks.md). What was never stepped is taken to surprise as much as the others do.

    Args:
        surprise: mean surprise of each entry's tokens when they were stepped; not a number where none was.
        tokens: how many tokens it has.
        age: tokens written since.
        feedback: times that it was called useful, less times that it was called useless.
    """
    known = surprise[np.isfinite(surprise)]
    usual = float(known.mean()) if len(known) else 1.0
    surprise = np.where(np.isfinite(surprise), surprise, usual)
    wanted = np.clip(feedback, -FEEDBACK_LIMIT, FEEDBACK_LIMIT)
    return np.maximum(surprise, 1e-12) * np.log1p(tokens) * np.exp2(wanted - age / HALVING_TOKENS)


def lowest(importance: Floats, count: int) -> NDArray[np.int64]:
    """Return the places of the `count` least important, ascending; of equals the earlier ones."""
    return np.sort(np.argsort(importance, kind="stable")[:count])


def surplus(living: int, most: int) -> int:
    """Return how many of the living must leave: none up to the most allowed, else down to nine tenths of it."""
    return 0 if living <= most else living - most + most // EVICTED_SHARE
