"""Which snapshots stay. Pure."""

from collections.abc import Iterable

from memsvc.store.types import Retention

NEWEST = 2
"""Kept whatever else is: should the newest be damaged, the other one serves."""


def kept(seqs: Iterable[int], keep: Retention) -> set[int]:
    """Return which of these snapshots stay."""
    ascending = sorted(set(seqs))
    if keep == Retention.ALL or not ascending:
        return set(ascending)
    stay = set(ascending[-NEWEST:])
    if keep == Retention.LOG_SPACED:
        newest = ascending.pop()
        oldest: dict[int, int] = {}  # for each n, of those at a distance in [2ⁿ, 2ⁿ⁺¹)
        for seq in ascending:
            oldest.setdefault((newest - seq).bit_length(), seq)
        stay.update(oldest.values())
    return stay
