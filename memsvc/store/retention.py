"""Which snapshots stay. Pure."""

from collections.abc import Iterable

from memsvc.store.types import Retention

NEWEST = 2
"""Kept whatever else is: should the newest be damaged, the other one serves."""


def left(seqs: Iterable[int], saved: int, keep: Retention, drop_from: int | None) -> set[int]:
    """Return which snapshots stay once one is saved beside these; all others go that are at or after `drop_from`."""
    return kept([saved, *(seq for seq in seqs if drop_from is None or seq < drop_from)], keep)


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
