"""Which entries stand next to each other: one chain for each session, in the order of writing."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsvc.recall.columns import Column, run_starts

ALONE = 0
"""The number of the session "", which is none: its entries stand alone."""
NONE = np.iinfo(np.int64).max
"""The successor of the last entry of a session: behind every cut."""


class Chains(NamedTuple):
    """Per entry its neighbours in its session, [n] each."""

    before: NDArray[np.int64]
    """The one before it, or -1."""
    after: NDArray[np.int64]
    """The one after it, or something not below n."""

    @classmethod
    def of(cls, session: NDArray[np.int64], live: NDArray[np.bool_]) -> "Chains":
        """Link the living entries of each session [n]; the others have no neighbours."""
        members = np.flatnonzero(live & (session != ALONE))
        members = members[np.argsort(session[members], kind="stable")]
        linked = np.flatnonzero(session[members[1:]] == session[members[:-1]])
        before, after = np.full(len(session), -1), np.full(len(session), NONE)
        before[members[linked + 1]] = members[linked]
        after[members[linked]] = members[linked + 1]
        return cls(before, after)

    def around(self, entry: int, count: int) -> tuple[list[int], list[int]]:
        """Return up to `count` entries before and after one in its session, each in the order of writing."""
        earlier: list[int] = []
        at = entry
        while len(earlier) < count and (at := int(self.before[at])) >= 0:
            earlier.append(at)
        later: list[int] = []
        at = entry
        while len(later) < count and (at := int(self.after[at])) < len(self.after):
            later.append(at)
        return earlier[::-1], later


class Places(NamedTuple):
    """Where entries stand in their sessions when some share their texts, [n] each.

    A text that is repeated right after itself stands in one place, and counts once for its session: else it would lend
    to itself what its neighbours should lend it.
    """

    head: NDArray[np.int64]
    """The entry in whose place each stands: itself, or the first of the repeats that it is among."""
    chains: Chains
    """The order of the heads."""
    counts: NDArray[np.bool_]
    """The living that are the first of their session to have their text."""

    @classmethod
    def of(cls, session: NDArray[np.int64], live: NDArray[np.bool_], text: NDArray[np.int64]) -> "Places":
        """Place the living entries of each session [n] by their texts [n]."""
        members = np.flatnonzero(live & (session != ALONE))
        members = members[np.argsort(session[members], kind="stable")]
        pairs = session[members] * (int(text.max(initial=0)) + 1) + text[members]
        starts = run_starts(pairs)
        head = np.arange(len(session))
        head[members] = np.repeat(members[starts], np.diff(starts, append=len(members)))
        heads = np.zeros(len(session), bool)
        heads[members[starts]] = True
        counts = live & (session == ALONE)
        counts[members[np.unique(pairs, return_index=True)[1]]] = True
        return cls(head, Chains.of(session, heads), counts)


class Sessions:
    """Per entry its session, and the entries before and after it in that session (sessions may interleave)."""

    def __init__(self) -> None:
        self._session, self._before, self._after = Column(np.int64), Column(np.int64), Column(np.int64)
        self._last = Column(np.int64)  # per session, its last entry

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(c.nbytes for c in (self._session, self._before, self._after, self._last))

    @property
    def session(self) -> NDArray[np.int64]:
        """Per entry the number of its session, or ALONE."""
        return self._session.values

    def chains(self, count: int) -> Chains:
        """Return the neighbours of the first `count` entries, all of them living."""
        return Chains(self._before.values[:count], self._after.values[:count])

    def extend(self, session: NDArray[np.int64]) -> None:
        """Append entries by the numbers of their sessions."""
        first = len(self._session)
        self._last.extend(np.full(max(int(session.max(initial=ALONE)) + 1 - len(self._last), 0), -1))
        members = np.flatnonzero(session != ALONE)
        members = members[np.argsort(session[members], kind="stable")]
        starts = run_starts(session[members])
        heads, tails = members[starts], members[np.append(starts[1:], len(members))[: len(starts)] - 1]
        before = np.full(len(session), -1)
        before[members[1:]] = first + members[:-1]
        before[heads] = self._last.values[session[heads]]
        self._last.values[session[tails]] = first + tails
        self._session.extend(session)
        self._before.extend(before)
        self._after.extend(np.full(len(session), NONE))
        linked = np.flatnonzero(before >= 0)
        self._after.values[before[linked]] = first + linked


def neighbour_sum(scores: NDArray[np.float64], chains: Chains, weights: tuple[float, ...]) -> NDArray[np.float64]:
    """Return, per entry, the weighted scores of the entries 1, 2 ... places before and after it in its session.

    Args:
        scores: [n], of the first n entries; later ones do not exist here.
        chains: their order.
        weights: of the neighbours one place away, two places away, and so on.
    """
    n = len(scores)
    total = np.zeros(n)
    reached, padded = np.empty(n), np.zeros(n + 1)
    for direction in (chains.before, np.minimum(chains.after, n)):
        padded[:n] = scores
        for weight in weights:
            # Where there is no neighbour the index is -1 or n: both name the 0 at the end.
            np.take(padded, direction, out=reached, mode="wrap")
            if weight:
                total += weight * reached
            padded[:n] = reached
    return total


def best_mean(
    scores: NDArray[np.float64], session: NDArray[np.int64], best: int, live: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Return, per entry, the mean of its session's `best` highest scores, or of all where it has fewer.

    An entry without a session is a session of one: it takes its own score.

    Args:
        scores: [n].
        session: [n], numbers of sessions.
        best: how many.
        live: [n], which entries count; None for all.
    """
    size = np.bincount(session if live is None else session[live], minlength=int(session.max(initial=0)) + 1)
    left = scores.copy() if live is None else np.where(live, scores, -np.inf)
    total = np.zeros(len(size))
    for rank in range(best):
        highest = np.full(len(size), -np.inf)
        np.maximum.at(highest, session, left)
        total += np.where(size > rank, highest, 0.0)
        # Of equal scores only one is used up: assigned backwards, the first one stays.
        hits = np.flatnonzero((left == highest[session]) & np.isfinite(left))[::-1]
        used = np.full(len(size), -1)
        used[session[hits]] = hits
        left[used[used >= 0]] = -np.inf
    means = total / np.clip(size, 1, best)
    return np.where(session == ALONE, scores, means[session])
